package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const pulledLetters = 80

func (b *bed) startPullConsumer(group, topic, tags string) (rocketmq.PullConsumer, error) {
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(b.resolver()), consumer.WithGroupName(group),
		consumer.WithInstance(b.newInstance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return nil, err
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	b.shutdowns = append(b.shutdowns, func() { _ = c.Shutdown() })
	return c, nil
}

// pullFromQueues: the pull consumer reads queue by queue, from where it wants, and hears clearly when there is nothing
// to give.
func pullFromQueues(b *bed) error {
	const queueCount, pullMax = 4, 7
	topic, err := b.createTopic("letters", queueCount)
	if err != nil {
		return err
	}
	letters := mixedLetters(topic, "pulled", pulledLetters)
	results, err := b.sendAll(letters)
	if err != nil {
		return err
	}
	lengths := map[int]int64{}
	for _, result := range results {
		lengths[result.MessageQueue.QueueId]++
	}
	c, err := b.startPullConsumer(b.newName("pullers"), topic, "*")
	if err != nil {
		return err
	}
	queues, err := b.queuesOf(topic)
	if err != nil {
		return err
	}
	b.checks.equal(queueCount, len(queues), "the route shows all queues")
	in := newInbox()
	for _, queue := range queues {
		if err := readToTheEnd(b.checks, c, queue, lengths[queue.QueueId], pullMax, in); err != nil {
			return err
		}
	}
	in.checkExactly(b.checks, "the pull consumer", letters)

	queue, end := queues[0], lengths[queues[0].QueueId]
	beyond, err := c.PullFrom(context.Background(), queue, end+1000, pullMax)
	if err != nil {
		return fmt.Errorf("pull beyond the end: %w", err)
	}
	b.checks.equal(primitive.PullOffsetIllegal, beyond.Status, "pull beyond the end")
	b.checks.equal(end, beyond.NextBeginOffset, "it points back to the end")
	if err := checkNoMatch(b, topic, queue, end); err != nil {
		return err
	}
	return checkLongPoll(b, c, queue, end)
}

func readToTheEnd(c *checks, puller rocketmq.PullConsumer, queue *primitive.MessageQueue, length int64, pullMax int,
	in *inbox) error {
	for offset := int64(0); offset < length; {
		result, err := puller.PullFrom(context.Background(), queue, offset, pullMax)
		if err != nil {
			return fmt.Errorf("pull from %v at %d: %w", queue, offset, err)
		}
		messages := result.GetMessageExts()
		consecutive := result.Status == primitive.PullFound && len(messages) > 0 && len(messages) <= pullMax &&
			result.NextBeginOffset == offset+int64(len(messages))
		for i, message := range messages {
			consecutive = consecutive && message.QueueOffset == offset+int64(i)
		}
		if !consecutive {
			return fmt.Errorf("pull from %v at %d gave %v", queue, offset, result)
		}
		in.add("puller", messages...)
		offset = result.NextBeginOffset
	}
	c.that(true, fmt.Sprintf("queue %d was read to its end", queue.QueueId), "")
	return nil
}

func checkNoMatch(b *bed, topic string, queue *primitive.MessageQueue, end int64) error {
	c, err := b.startPullConsumer(b.newName("pickers"), topic, "no-such-tag")
	if err != nil {
		return err
	}
	result, err := c.PullFrom(context.Background(), queue, 0, 7)
	if err != nil {
		return fmt.Errorf("pull of a tag that nobody sent: %w", err)
	}
	b.checks.equal(primitive.PullNoMsgMatched, result.Status, "pull of a tag that nobody sent")
	b.checks.that(result.NextBeginOffset > 0 && result.NextBeginOffset <= end, "it moves past what does not match",
		"next offset %d of %d", result.NextBeginOffset, end)
	return nil
}

func checkLongPoll(b *bed, c rocketmq.PullConsumer, queue *primitive.MessageQueue, end int64) error {
	type answer struct {
		result *primitive.PullResult
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := c.PullFrom(context.Background(), queue, end, 7)
		answers <- answer{result, err}
	}()
	select {
	case early := <-answers:
		return fmt.Errorf("a pull at the end of the queue did not wait: %v, %v", early.result, early.err)
	case <-time.After(200 * time.Millisecond):
	}
	p, err := b.directedProducer()
	if err != nil {
		return err
	}
	l := newLetter(queue.Topic, "awaited", "t", "k")
	if _, err := sendOne(p, l, queue); err != nil {
		return err
	}
	select {
	case a := <-answers:
		if a.err != nil {
			return fmt.Errorf("waiting pull: %w", a.err)
		}
		var ids []string
		for _, message := range a.result.GetMessageExts() {
			ids = append(ids, letterIDOf(message))
		}
		b.checks.equal([]string{l.id}, ids, "a new message ends the waiting of a pull")
	case <-time.After(soon):
		b.checks.fail("a new message did not end the waiting of a pull in %v", soon)
	}
	return nil
}

// pollAndAcknowledge: Poll and ACK read all of a topic; a successor in the group goes on after what was acknowledged.
func pollAndAcknowledge(b *bed) error {
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	group := b.newName("pollers")
	letters := mixedLetters(topic, "polled", pulledLetters)
	if _, err := b.sendAll(letters); err != nil {
		return err
	}
	first, err := b.startPullConsumer(group, topic, "*")
	if err != nil {
		return err
	}
	in := newInbox()
	pollInto(first, in, pulledLetters, patient)
	in.checkExactly(b.checks, "the polling consumer", letters)
	if err := leaveGroup(first); err != nil {
		return err
	}

	later := mixedLetters(topic, "later", pulledLetters/4)
	if _, err := b.sendAll(later); err != nil {
		return err
	}
	successor, err := b.startPullConsumer(group, topic, "*")
	if err != nil {
		return err
	}
	successorIn := newInbox()
	pollInto(successor, successorIn, len(later), patient)
	// Old messages, if the acknowledgement were lost, would come with the same polls or the next.
	pollInto(successor, successorIn, pulledLetters*2, 500*time.Millisecond)
	successorIn.checkExactly(b.checks, "the successor in the group", later)
	return nil
}

func pollInto(c rocketmq.PullConsumer, in *inbox, distinct int, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for in.distinct() < distinct && time.Now().Before(deadline) {
		request, err := c.Poll(context.Background(), 200*time.Millisecond)
		if err != nil {
			continue // nothing came in this time
		}
		in.add("poller", request.GetMsgList()...)
		c.ACK(context.Background(), request, consumer.ConsumeSuccess)
	}
}
