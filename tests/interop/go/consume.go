package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// consumeConcurrently: a concurrent push consumer gets all, promptly, once; its successor in the group goes on where
// it stopped.
func consumeConcurrently(b *bed) error {
	const letters, lettersMeanwhile = 200, 20
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	group := b.newName("readers")
	in := newInbox()
	first, err := b.collect(group, topic, "*", "first", in, consumer.WithConsumeMessageBatchMaxSize(8))
	if err != nil {
		return err
	}
	opening := newLetter(topic, "opening", "t", "k")
	if _, err := b.sendAll([]letter{opening}); err != nil {
		return err
	}
	b.checks.that(in.awaitAll([]string{opening.id}, patient), "a started consumer receives", "nothing came in %v", patient)
	prompt := newLetter(topic, "prompt", "t", "k")
	sent := time.Now()
	if _, err := b.sendAll([]letter{prompt}); err != nil {
		return err
	}
	b.checks.that(in.awaitAll([]string{prompt.id}, soon), "a waiting consumer is woken by a new message",
		"it did not come in %v", soon)
	b.checks.note("woken after %d ms", time.Since(sent).Milliseconds())

	many := mixedLetters(topic, "many", letters)
	if _, err := b.sendAll(many); err != nil {
		return err
	}
	in.awaitDistinct(letters+2, patient)
	in.checkExactly(b.checks, "the consumer", append([]letter{opening, prompt}, many...))
	if err := leaveGroup(first); err != nil {
		return err
	}

	meanwhile := mixedLetters(topic, "meanwhile", lettersMeanwhile)
	if _, err := b.sendAll(meanwhile); err != nil {
		return err
	}
	successor := newInbox()
	if _, err := b.collect(group, topic, "*", "successor", successor); err != nil {
		return err
	}
	successor.awaitDistinct(lettersMeanwhile, patient)
	// A wrong start offset shows as old messages, which would come within the same pulls.
	time.Sleep(300 * time.Millisecond)
	successor.checkExactly(b.checks, "the successor in the group", meanwhile)
	return nil
}

// consumeOrderly: an orderly consumer gets each queue in the order of sending and one message at a time, also when a
// message has to be tried twice.
func consumeOrderly(b *bed) error {
	const queues, lettersPerQueue, suspendedIndex, suspendMillis = 4, 50, 20, 100
	topic, err := b.createTopic("letters", queues)
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	toSuspend := map[string]bool{}
	inHand := map[int]int{}
	overlaps := 0
	in := newInbox()
	handle := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		queue := messages[0].Queue.QueueId
		mutex.Lock()
		inHand[queue]++
		if inHand[queue] > 1 {
			overlaps++
		}
		suspend := toSuspend[letterIDOf(messages[0])]
		delete(toSuspend, letterIDOf(messages[0]))
		mutex.Unlock()
		defer func() {
			mutex.Lock()
			inHand[queue]--
			mutex.Unlock()
		}()
		if suspend {
			if orderly, known := primitive.GetOrderlyCtx(ctx); known {
				orderly.SuspendCurrentQueueTimeMillis = suspendMillis
			}
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		in.add("reader", messages...)
		return consumer.ConsumeSuccess, nil
	}
	letters := make([][]letter, queues)
	var all []letter
	for index := 0; index < lettersPerQueue; index++ {
		for queue := 0; queue < queues; queue++ {
			l := newLetter(topic, fmt.Sprintf("q%d-%d", queue, index), fmt.Sprintf("t%d", queue), fmt.Sprintf("k%d", index))
			if index == suspendedIndex {
				toSuspend[l.id] = true
			}
			letters[queue] = append(letters[queue], l)
			all = append(all, l)
		}
	}
	if _, err := b.startConsumer(b.newName("readers"), topic, "*", handle, consumer.WithConsumerOrder(true)); err != nil {
		return err
	}
	if err := sendToQueues(b, topic, letters); err != nil {
		return err
	}
	in.awaitDistinct(len(all), patient)
	in.checkExactly(b.checks, "the orderly consumer", all)
	for queue, deliveries := range in.byQueue() {
		var found []string
		for _, d := range deliveries {
			found = append(found, d.letterID())
		}
		b.checks.equal(idsOf(letters[queue]), found, "queue %d came in the order of sending", queue)
	}
	mutex.Lock()
	defer mutex.Unlock()
	b.checks.equal(0, len(toSuspend), "suspended messages came back")
	b.checks.equal(0, overlaps, "no two messages of a queue were in hand at once")
	return nil
}

// sendToQueues sends letters[i] to the i-th queue, taking turns.
func sendToQueues(b *bed, topic string, letters [][]letter) error {
	p, err := b.directedProducer()
	if err != nil {
		return err
	}
	queues, err := b.queuesOf(topic)
	if err != nil {
		return err
	}
	for index := range letters[0] {
		for i := range letters {
			if _, err := sendOne(p, letters[i][index], queues[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// consumeBroadcast: two broadcasting consumers of one group each get every message.
func consumeBroadcast(b *bed) error {
	const count = 60
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	group := b.newName("listeners")
	first, second := newInbox(), newInbox()
	for name, in := range map[string]*inbox{"first": first, "second": second} {
		_, err := b.collect(group, topic, "*", name, in, consumer.WithConsumerModel(consumer.BroadCasting))
		if err != nil {
			return err
		}
	}
	letters := mixedLetters(topic, "news", count)
	if _, err := b.sendAll(letters); err != nil {
		return err
	}
	first.awaitDistinct(count, patient)
	second.awaitDistinct(count, patient)
	first.checkExactly(b.checks, "the first listener", letters)
	second.checkExactly(b.checks, "the second listener", letters)
	return nil
}

// subscribeToTags: each group gets the messages of the tags that it subscribed to, and no others.
func subscribeToTags(b *bed) error {
	const lettersPerTag = 20
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	byTag := map[string][]letter{}
	var all []letter
	for i := 0; i < lettersPerTag; i++ {
		for _, tag := range []string{"A", "B", "C", ""} {
			l := newLetter(topic, fmt.Sprintf("tag-%s-%d", tag, i), tag, fmt.Sprintf("key%d", i))
			byTag[tag] = append(byTag[tag], l)
			all = append(all, l)
		}
	}
	if _, err := b.sendAll(all); err != nil {
		return err
	}
	join := func(parts ...[]letter) (joined []letter) {
		for _, part := range parts {
			joined = append(joined, part...)
		}
		return joined
	}
	subscriptions := []struct {
		expression string
		expected   []letter
		in         *inbox
	}{
		{"*", all, newInbox()}, // first, for it shows when all have had the time to arrive
		{"A||B", join(byTag["A"], byTag["B"]), newInbox()},
		{"A || C", join(byTag["A"], byTag["C"]), newInbox()},
		{"C", byTag["C"], newInbox()},
		{"D", nil, newInbox()},
	}
	for i := len(subscriptions) - 1; i >= 0; i-- {
		s := subscriptions[i]
		if _, err := b.collect(b.newName(fmt.Sprintf("readers%d", i)), topic, s.expression, "reader", s.in); err != nil {
			return err
		}
	}
	for _, s := range subscriptions {
		s.in.awaitDistinct(len(s.expected), patient)
		s.in.checkExactly(b.checks, "subscriber of "+s.expression, s.expected)
	}
	return nil
}
