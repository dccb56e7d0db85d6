// Program interop tells stories with the published Go client against a running cluster, named by the environment
// (INTEROP_REGISTRY_ADDRESS, INTEROP_BROKER_ADDRESS, INTEROP_CLUSTER_COMMAND; run.sh sets them): all at once, then one
// by one those that take the broker away. Exit code 0 when every check holds, 1 when one does not, 2 for a wrong
// command line.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const scenarioTimeMax = 110 * time.Second

// scenario is one story. It returns an error when it cannot be told to the end; all facts go through bed.checks.
type scenario struct {
	name string
	run  func(*bed) error
	// disturbsOthers: it takes the broker away, and runs after all others, alone.
	disturbsOthers bool
}

var scenarios = []scenario{
	{name: "send.sync", run: func(b *bed) error { return sendAndFind(b, sendSync) }},
	{name: "send.async", run: func(b *bed) error { return sendAndFind(b, sendAsync) }},
	{name: "send.oneway", run: func(b *bed) error { return sendAndFind(b, sendOneway) }},
	{name: "send.batch", run: func(b *bed) error { return sendAndFind(b, sendBatch) }},
	{name: "consume.concurrent", run: consumeConcurrently},
	{name: "consume.orderly", run: consumeOrderly},
	{name: "consume.broadcast", run: consumeBroadcast},
	{name: "tags", run: subscribeToTags},
	{name: "pull", run: pullFromQueues},
	{name: "pull.poll", run: pollAndAcknowledge},
	{name: "rebalance", run: shareQueues},
	{name: "retry", run: retryAtConsumersLevel},
	{name: "retry.table", run: retryAtBrokersLevel},
	{name: "retry.dead", run: retryUntilDead},
	{name: "retry.orderly", run: retryInPlace},
	{name: "delay.levels", run: delayAtAllLevels},
	{name: "admin", run: administerTopics},
	{name: "restart", run: outliveBroker, disturbsOthers: true},
}

func main() {
	logPath := flag.String("log", os.DevNull, "file for the client's log")
	flag.Parse()
	if err := rlog.SetOutputPath(*logPath); err != nil {
		fmt.Fprintf(os.Stderr, "log %s: %v\n", *logPath, err)
		os.Exit(2)
	}
	started := time.Now()
	cluster := clusterFromEnvironment()
	runID := strconv.FormatInt(started.UnixMilli(), 36)
	chosen := choose(flag.Args())

	var together, alone []scenario
	for _, s := range chosen {
		if s.disturbsOthers {
			alone = append(alone, s)
		} else {
			together = append(together, s)
		}
	}
	all := runTogether(cluster, runID, together)
	for _, s := range alone {
		all = append(all, runTogether(cluster, runID, []scenario{s})...)
	}
	passed, failed := 0, 0
	for _, c := range all {
		p, f := c.counts()
		passed += p
		failed += f
	}
	fmt.Printf("%d scenarios, %d checks passed, %d failed, %.1f s\n", len(all), passed, failed,
		time.Since(started).Seconds())
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func choose(names []string) []scenario {
	if len(names) == 0 {
		return scenarios
	}
	var chosen []scenario
	for _, name := range names {
		found := false
		for _, s := range scenarios {
			if s.name == name {
				chosen = append(chosen, s)
				found = true
			}
		}
		if !found {
			fmt.Fprintf(os.Stderr, "no such scenario: %s; there are", name)
			for _, s := range scenarios {
				fmt.Fprintf(os.Stderr, " %s", s.name)
			}
			fmt.Fprintln(os.Stderr)
			os.Exit(2)
		}
	}
	return chosen
}

func runTogether(cluster *cluster, runID string, group []scenario) []*checks {
	all := make([]*checks, len(group))
	var running sync.WaitGroup
	for i, s := range group {
		all[i] = &checks{scenario: s.name}
		running.Add(1)
		go func(s scenario, c *checks) {
			defer running.Done()
			runWithLimit(cluster, runID, s, c)
		}(s, all[i])
	}
	running.Wait()
	return all
}

func runWithLimit(cluster *cluster, runID string, s scenario, c *checks) {
	started := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				c.fail("panic: %v\n%s", p, debug.Stack())
			}
		}()
		b := newBed(cluster, runID, s.name, c)
		defer b.close()
		if err := s.run(b); err != nil {
			c.fail("%v", err)
		}
	}()
	select {
	case <-ended:
		c.note("took %.1f s", time.Since(started).Seconds())
	case <-time.After(scenarioTimeMax):
		c.fail("did not end in %v", scenarioTimeMax)
	}
}
