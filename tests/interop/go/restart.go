package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
)

// traffic is what senders did while the broker went and came.
type traffic struct {
	checks       *checks
	mutex        sync.Mutex
	acknowledged []letter
	attempts     int64
	failures     int64
	stop         chan struct{}
}

// outliveBroker: the broker is killed, started, stopped and started while clients send and consume without being told:
// they carry on by themselves, and every acknowledged message reaches a concurrent and an orderly consumer. A message
// may come twice: what was consumed but not yet committed when the broker went.
func outliveBroker(b *bed) error {
	const senders = 3
	// This client gives up a pull that was under way when the connection broke only when its time is over, sends
	// heartbeats every 30 s and rebalances every 20 s, whatever happens.
	const catchUpMax = 60 * time.Second
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	concurrent, orderly := newInbox(), newInbox()
	if _, err := b.collect(b.newName("readers"), topic, "*", "concurrent", concurrent); err != nil {
		return err
	}
	_, err = b.collect(b.newName("orderly-readers"), topic, "*", "orderly", orderly, consumer.WithConsumerOrder(true),
		consumer.WithRebalanceLockInterval(time.Second))
	if err != nil {
		return err
	}
	p, err := b.producer()
	if err != nil {
		return err
	}
	t := &traffic{checks: b.checks, stop: make(chan struct{})}
	var running sync.WaitGroup
	for i := 0; i < senders; i++ {
		running.Add(1)
		go func(sender int) {
			defer running.Done()
			t.sendOn(p, topic, sender)
		}(i)
	}
	err = t.comeAndGo(b.cluster, senders)
	close(t.stop)
	running.Wait()
	if err != nil {
		return err
	}
	b.checks.note("%d sent, %d acknowledged, %d failed", t.attempts, len(t.acknowledged), t.failures)
	deadline := time.Now().Add(catchUpMax)
	t.checkInbox("the concurrent consumer", concurrent, deadline)
	t.checkInbox("the orderly consumer", orderly, deadline)
	return nil
}

func (t *traffic) comeAndGo(c *cluster, senders int64) error {
	t.awaitProgress("before anything happens")
	for _, end := range []struct{ verb, name string }{{"kill-broker", "kill -9"}, {"stop-broker", "stop"}} {
		if err := c.call(end.verb); err != nil {
			return err
		}
		t.awaitFailure(senders, "the "+end.name+" hits the senders")
		if err := c.call("start-broker"); err != nil {
			return err
		}
		t.awaitProgress("after " + end.name + " and start")
	}
	return nil
}

// sendOn sends until told to stop; a failed send is not repeated, its message counts as not acknowledged.
func (t *traffic) sendOn(p rocketmq.Producer, topic string, sender int) {
	for i := 0; ; i++ {
		l := newLetter(topic, fmt.Sprintf("sender%d-%d", sender, i), "t", fmt.Sprintf("k%d", i))
		pause := 2 * time.Millisecond
		atomic.AddInt64(&t.attempts, 1)
		if _, err := sendOne(p, l, nil); err == nil {
			t.mutex.Lock()
			t.acknowledged = append(t.acknowledged, l)
			t.mutex.Unlock()
		} else {
			atomic.AddInt64(&t.failures, 1)
			pause = 50 * time.Millisecond
		}
		select {
		case <-t.stop:
			return
		case <-time.After(pause):
		}
	}
}

func (t *traffic) acknowledgedCount() int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return len(t.acknowledged)
}

func (t *traffic) awaitProgress(when string) {
	const perPhase = 200
	started := time.Now()
	goal := t.acknowledgedCount() + perPhase
	t.checks.that(until(func() bool { return t.acknowledgedCount() >= goal }, patient), "sends succeed "+when,
		"acknowledged %d, wanted %d, failed %d", t.acknowledgedCount(), goal, atomic.LoadInt64(&t.failures))
	t.checks.note("%d sends %s took %d ms", perPhase, when, time.Since(started).Milliseconds())
}

func (t *traffic) awaitFailure(count int64, fact string) {
	before := atomic.LoadInt64(&t.failures)
	t.checks.that(until(func() bool { return atomic.LoadInt64(&t.failures) >= before+count }, patient), fact,
		"no send failed while the broker was away")
}

func (t *traffic) checkInbox(who string, in *inbox, deadline time.Time) {
	started := time.Now()
	in.awaitAll(idsOf(t.acknowledged), time.Until(deadline))
	t.checks.note("%s was waited for %d ms after the last send", who, time.Since(started).Milliseconds())
	in.checkContent(t.checks, who, t.acknowledged)
	unacknowledged := in.distinct()
	for _, l := range t.acknowledged {
		if in.has(l.id) {
			unacknowledged--
		}
	}
	t.checks.note("%s: %d duplicates, %d that were stored without an acknowledgement", who, in.duplicates(),
		unacknowledged)
}
