package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
)

// sharing is the state of the rebalance scenario.
type sharing struct {
	*bed
	topic   string
	in      *inbox
	letters []letter
	rounds  int
}

// shareQueues: a second consumer joins a group, and the broker's notice makes both share the queues soon (clients ask
// by themselves only every 20 s), each queue with one of them; when it leaves, the first has all again. Nothing is
// lost on the way.
func shareQueues(b *bed) error {
	const queues, steadyPerQueue = 4, 30
	topic, err := b.createTopic("letters", queues)
	if err != nil {
		return err
	}
	s := &sharing{bed: b, topic: topic, in: newInbox()}
	group := b.newName("sharers")
	if _, err := b.collect(group, topic, "*", "first", s.in); err != nil {
		return err
	}
	if _, err := s.awaitOwners(map[string]int{"first": queues}, "one consumer has all queues"); err != nil {
		return err
	}
	second, err := b.collect(group, topic, "*", "second", s.in)
	if err != nil {
		return err
	}
	owners, err := s.awaitOwners(map[string]int{"first": queues / 2, "second": queues / 2},
		"two consumers share the queues")
	if err != nil {
		return err
	}
	if err := s.checkSteadyState(owners, steadyPerQueue); err != nil {
		return err
	}
	if err := second.Shutdown(); err != nil {
		return err
	}
	if _, err := s.awaitOwners(map[string]int{"first": queues}, "the one that stays has all queues again"); err != nil {
		return err
	}
	s.in.awaitAll(idsOf(s.letters), patient)
	s.in.checkContent(b.checks, "the group", s.letters)
	b.checks.note("%d duplicates while queues changed hands, of %d", s.in.duplicates(), len(s.letters))
	return nil
}

// awaitOwners sends one letter to each queue again and again until they arrive at the wanted numbers of queues per
// consumer. Returns who owns which queue.
func (s *sharing) awaitOwners(wanted map[string]int, fact string) (map[int]string, error) {
	const sharedWithin = 12 * time.Second
	started := time.Now()
	var owners map[int]string
	var failure error
	settled := until(func() bool {
		owners = map[int]string{}
		s.rounds++
		ids, err := s.send(fmt.Sprintf("round%d", s.rounds), 1)
		if err != nil {
			failure = err
			return true
		}
		if !s.in.awaitAll(ids, soon) {
			return false
		}
		queuesByOwner := map[string]int{}
		for _, d := range s.deliveriesOf(ids) {
			if _, known := owners[d.message.Queue.QueueId]; !known {
				queuesByOwner[d.consumer]++
			}
			owners[d.message.Queue.QueueId] = d.consumer
		}
		return reflect.DeepEqual(queuesByOwner, wanted)
	}, sharedWithin)
	if failure != nil {
		return nil, failure
	}
	s.checks.that(settled, fact, "owners %v after %v", owners, sharedWithin)
	s.checks.note("%s after %d ms", fact, time.Since(started).Milliseconds())
	return owners, nil
}

// checkSteadyState: once the queues are shared, each message comes once, and only to the owner of its queue.
func (s *sharing) checkSteadyState(owners map[int]string, perQueue int) error {
	ids, err := s.send("steady", perQueue)
	if err != nil {
		return err
	}
	s.in.awaitAll(ids, patient)
	deliveries := s.deliveriesOf(ids)
	s.checks.equal(len(ids), len(deliveries), "with queues shared, each message comes once")
	var misplaced []string
	for _, d := range deliveries {
		if d.consumer != owners[d.message.Queue.QueueId] {
			misplaced = append(misplaced, fmt.Sprintf("%s of queue %d came to %s", d.letterID(), d.message.Queue.QueueId,
				d.consumer))
		}
	}
	s.checks.that(len(misplaced) == 0, "each queue is at one consumer", "%s", some(misplaced))
	return nil
}

func (s *sharing) deliveriesOf(ids []string) []delivery {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	var found []delivery
	for _, d := range s.in.deliveries() {
		if wanted[d.letterID()] {
			found = append(found, d)
		}
	}
	return found
}

func (s *sharing) send(prefix string, perQueue int) ([]string, error) {
	queues, err := s.queuesOf(s.topic)
	if err != nil {
		return nil, err
	}
	letters := make([][]letter, len(queues))
	var ids []string
	for i := range letters {
		for n := 0; n < perQueue; n++ {
			letters[i] = append(letters[i], newLetter(s.topic, fmt.Sprintf("%s-q%d-%d", prefix, i, n), "t", "k"))
		}
		s.letters = append(s.letters, letters[i]...)
		ids = append(ids, idsOf(letters[i])...)
	}
	return ids, sendToQueues(s.bed, s.topic, letters)
}

// administerTopics: a topic that is created has a route and is in the list; deleted, it is gone from both.
func administerTopics(b *bed) error {
	const queues = 3
	ctx := context.Background()
	topic, err := b.createTopic("short-lived", queues)
	if err != nil {
		return err
	}
	a, err := b.topicAdmin()
	if err != nil {
		return err
	}
	listed := func() (bool, error) {
		list, err := a.FetchAllTopicList(ctx)
		if err != nil {
			return false, err
		}
		for _, name := range list.TopicList {
			if name == topic {
				return true, nil
			}
		}
		return false, nil
	}
	found, err := listed()
	if err != nil {
		return fmt.Errorf("topic list: %w", err)
	}
	b.checks.that(found, "a created topic is in the registry's list", "it is not")
	if _, err := b.sendAll(mixedLetters(topic, "sent", queues)); err != nil {
		return err
	}
	err = a.DeleteTopic(ctx, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(b.cluster.brokerAddress),
		admin.WithNameSrvAddr([]string{b.cluster.registryAddress}))
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	b.checks.that(until(func() bool {
		found, err := listed()
		return err == nil && !found
	}, soon), "a deleted topic leaves the list", "it is still there after %v", soon)
	return nil
}
