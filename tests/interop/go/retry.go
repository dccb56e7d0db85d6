package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	always = math.MaxInt32
	// lateMax: on a busy machine a message may come this much later than it should; nothing may come too early.
	lateMax = 2500 * time.Millisecond
	// firstBrokerLevel is the level of the first retry of a message whose consumer leaves it to the broker.
	firstBrokerLevel = 3
	// keptFrom: what is due before, the broker that it failed at may deliver itself.
	keptFrom = 2 * time.Second
)

// keeperAddress is the broker that keeps the failed messages of the other's group; "": each broker keeps its own.
func keeperAddress() string {
	if os.Getenv("INTEROP_KEEPER") != "1" {
		return ""
	}
	return os.Getenv("INTEROP_SLAVE_ADDRESS")
}

// try is one delivery, with the count of failed tries as it came: the client counts in the message itself what it does
// not send back.
type try struct {
	message        *primitive.MessageExt
	reconsumeTimes int
	endMillis      int64
}

// tries is a consumer that fails each message as often as planned and then succeeds, and what came to it, try by try.
// Any goroutine may use it.
type tries struct {
	mutex        sync.Mutex
	failuresByID map[string]int
	triesByID    map[string][]try
	order        []string
}

func newTries() *tries {
	return &tries{failuresByID: map[string]int{}, triesByID: map[string][]try{}}
}

func (t *tries) plan(l letter, failures int) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.failuresByID[l.id] = failures
}

// fails notes the try; true when it has to fail.
func (t *tries) fails(message *primitive.MessageExt) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	id := letterIDOf(message)
	t.order = append(t.order, id)
	t.triesByID[id] = append(t.triesByID[id], try{message, int(message.ReconsumeTimes), time.Now().UnixMilli()})
	return len(t.triesByID[id]) <= t.failuresByID[id]
}

// handler asks for the delay level when a message fails; 0: the broker picks, -1: dead letters.
func (t *tries) handler(delayLevel int) handler {
	return func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if concurrently, known := primitive.GetConcurrentlyCtx(ctx); known {
			concurrently.DelayLevelWhenNextConsume = delayLevel
		}
		if t.fails(messages[0]) {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}
}

func (t *tries) await(count int, limit time.Duration) bool {
	return until(func() bool {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		return len(t.order) >= count
	}, limit)
}

func (t *tries) orderOfTries() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return append([]string(nil), t.order...)
}

// check checks that each letter came again as long after each failed try as expected, and so as often.
func (t *tries) check(c *checks, letters []letter, delays func(index int) []time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var problems []string
	var late []int64
	total := 0
	for index, l := range letters {
		expected, found := delays(index), t.triesByID[l.id]
		total += len(found)
		if len(found) != len(expected)+1 {
			problems = append(problems, fmt.Sprintf("%s came %d times, expected %d", l.id, len(found), len(expected)+1))
			continue
		}
		for i, one := range found {
			if one.reconsumeTimes != i {
				problems = append(problems, fmt.Sprintf("%s counts %d failed tries, had %d", l.id, one.reconsumeTimes, i))
			}
			if difference := l.difference(one.message); difference != "" {
				problems = append(problems, difference)
			}
			if i == 0 {
				continue
			}
			wait := one.message.StoreTimestamp - found[i-1].endMillis
			lateness := wait - expected[i-1].Milliseconds()
			late = append(late, lateness)
			if keeper := keeperAddress(); keeper != "" && expected[i-1] >= keptFrom && one.message.StoreHost != keeper {
				problems = append(problems, fmt.Sprintf("%s came from %s after failed try %d, not from %s", l.id,
					one.message.StoreHost, i-1, keeper))
			}
			if lateness < 0 || lateness > lateMax.Milliseconds() {
				problems = append(problems, fmt.Sprintf("%s came %d ms after failed try %d, due after %v", l.id, wait, i-1,
					expected[i-1]))
			}
		}
	}
	if total != len(t.order) {
		problems = append(problems, fmt.Sprintf("%d tries of something else", len(t.order)-total))
	}
	c.that(len(problems) == 0, fmt.Sprintf("%d messages came as often as they should, when they should, the same each "+
		"time, and counted their failed tries", len(letters)), "%s", some(problems))
	noteLate(c, late)
}

func noteLate(c *checks, late []int64) {
	if len(late) > 0 {
		sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
		c.note("late by %d ms in the middle, %d ms at most", late[len(late)/2], late[len(late)-1])
	}
}

// foundGroup gives a group whose retry topic has a route. The client asks for the route of the group's retry topic at
// its start and then every 30 s. The first member of a group makes the broker create that topic; who starts later knows
// the route at once.
func (b *bed) foundGroup(purpose, topic string) (string, error) {
	group := b.newName(purpose)
	founder, err := b.collect(group, topic, "*", "founder", newInbox())
	if err != nil {
		return "", err
	}
	brokers := 1
	if keeperAddress() != "" {
		brokers = 2
	}
	if err := b.awaitBrokers("%RETRY%"+group, brokers); err != nil {
		return "", err
	}
	return group, founder.Shutdown()
}

// readTopic reads a whole topic until it holds so many letters or the time is over.
func (b *bed) readTopic(topic string, count int, limit time.Duration) (*inbox, error) {
	if err := b.awaitRoute(topic, 1); err != nil {
		return nil, err
	}
	c, err := b.startPullConsumer(b.newName("pullers"), topic, "*")
	if err != nil {
		return nil, err
	}
	queues, err := b.queuesOf(topic)
	if err != nil {
		return nil, err
	}
	in, next := newInbox(), int64(0)
	var failed error
	until(func() bool {
		result, err := c.PullFrom(context.Background(), queues[0], next, 32)
		if err != nil {
			failed = fmt.Errorf("pull of %s: %w", topic, err)
			return true
		}
		next = result.NextBeginOffset
		in.add("puller", result.GetMessageExts()...)
		return in.distinct() >= count
	}, limit)
	return in, failed
}

func delaysOf(levels ...int) ([]time.Duration, error) {
	var delays []time.Duration
	for _, level := range levels {
		delay, err := delayOf(level)
		if err != nil {
			return nil, err
		}
		delays = append(delays, delay)
	}
	return delays, nil
}

// retryAtConsumersLevel: a message that fails n times comes n + 1 times, after the delay that the consumer asks for.
func retryAtConsumersLevel(b *bed) error {
	const level = 2
	return retryFailed(b, level, level, level, level)
}

// retryAtBrokersLevel: the same, later and later, when the consumer leaves it to the broker.
func retryAtBrokersLevel(b *bed) error {
	return retryFailed(b, 0, firstBrokerLevel, firstBrokerLevel+1, firstBrokerLevel+2)
}

// retryFailed: the consumer asks for the delay level; expected are the levels of the first, second, ... failed try.
func retryFailed(b *bed, level int, expected ...int) error {
	const count = 12
	delays, err := delaysOf(expected...)
	if err != nil {
		return err
	}
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	letters := mixedLetters(topic, "tried", count)
	failures := func(index int) int { return index % (len(delays) + 1) }
	t, total := newTries(), 0
	for i, l := range letters {
		t.plan(l, failures(i))
		total += failures(i) + 1
	}
	group, err := b.foundGroup("strugglers", topic)
	if err != nil {
		return err
	}
	if _, err := b.startConsumer(group, topic, "*", t.handler(level)); err != nil {
		return err
	}
	if _, err := b.sendAll(letters); err != nil {
		return err
	}
	t.await(total, 2*patient)
	t.check(b.checks, letters, func(index int) []time.Duration { return delays[:failures(index)] })
	return nil
}

// retryUntilDead: what fails for ever comes as often as the consumer allows, and then lies in the group's dead-letter
// topic, as it was; what the consumer gives up at once lies there after its first try.
func retryUntilDead(b *bed) error {
	delays, err := delaysOf(firstBrokerLevel, firstBrokerLevel+1)
	if err != nil {
		return err
	}
	if err := loseLetters(b, "losers", 0, delays); err != nil {
		return err
	}
	return loseLetters(b, "quitters", -1, nil)
}

func loseLetters(b *bed, who string, level int, delays []time.Duration) error {
	const count, reconsumeTimesMax = 4, 2
	topic, err := b.createTopic("letters-of-"+who, 2)
	if err != nil {
		return err
	}
	letters := mixedLetters(topic, "of-"+who, count)
	t := newTries()
	for _, l := range letters {
		t.plan(l, always)
	}
	group, err := b.foundGroup(who, topic)
	if err != nil {
		return err
	}
	_, err = b.startConsumer(group, topic, "*", t.handler(level), consumer.WithMaxReconsumeTimes(reconsumeTimesMax))
	if err != nil {
		return err
	}
	if _, err := b.sendAll(letters); err != nil {
		return err
	}
	if err := checkDead(b, group, letters); err != nil {
		return err
	}
	t.check(b.checks, letters, func(int) []time.Duration { return delays })
	return nil
}

func checkDead(b *bed, group string, letters []letter) error {
	topic := "%DLQ%" + group
	dead, err := b.readTopic(topic, len(letters), patient)
	if err != nil {
		return err
	}
	var there []letter
	for _, l := range letters {
		l.topic = topic
		there = append(there, l)
	}
	dead.checkExactly(b.checks, "the dead-letter topic of "+group, there)
	ours := os.Getenv("INTEROP_BROKER") == "cjmq"
	var wrong []string
	for _, d := range dead.deliveries() {
		if found := d.message.GetProperty(primitive.PropertyRetryTopic); found != letters[0].topic {
			wrong = append(wrong, fmt.Sprintf("%s: it was of topic %q", d.letterID(), found))
		}
		if ours && (d.message.GetProperty("CJMQ_DEAD_REASON") == "" || d.message.GetProperty("CJMQ_DEAD_MS") == "" ||
			d.message.GetProperty("CJMQ_DEAD_TRIES") == "") {
			wrong = append(wrong, fmt.Sprintf("%s: %v", d.letterID(), d.message.GetProperties()))
		}
	}
	b.checks.that(len(wrong) == 0, "each dead letter says where it came from", "%s", some(wrong))
	return nil
}

// retryInPlace: an orderly consumer that fails suspends its queue and tries the message again in its place; nothing is
// sent back. What fails for ever becomes a dead letter, and the queue goes on.
func retryInPlace(b *bed) error {
	// This client gives a message up when it has failed more often than the limit, not as often.
	const reconsumeTimesMax, suspendMillis = 3, 200
	timesEach := []int{1, 4, 1, reconsumeTimesMax + 2, 1, 1}
	topic, err := b.createTopic("letters", 1)
	if err != nil {
		return err
	}
	group, err := b.foundGroup("strugglers", topic)
	if err != nil {
		return err
	}
	letters := mixedLetters(topic, "suspended", len(timesEach))
	t := newTries()
	var expected []string
	for i, l := range letters {
		t.plan(l, timesEach[i]-1)
		for j := 0; j < timesEach[i]; j++ {
			expected = append(expected, l.id)
		}
	}
	t.plan(letters[3], always)
	handle := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if orderly, known := primitive.GetOrderlyCtx(ctx); known {
			orderly.SuspendCurrentQueueTimeMillis = suspendMillis
		}
		if t.fails(messages[0]) {
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	_, err = b.startConsumer(group, topic, "*", handle, consumer.WithConsumerOrder(true),
		consumer.WithMaxReconsumeTimes(reconsumeTimesMax))
	if err != nil {
		return err
	}
	if _, err := b.sendAll(letters); err != nil {
		return err
	}
	t.await(len(expected), 2*patient)
	b.checks.equal(expected, t.orderOfTries(), "each is tried again in its place, before the next one")
	if err := checkDead(b, group, letters[3:4]); err != nil {
		return err
	}
	return checkEmpty(b, "%RETRY%"+group)
}

// checkEmpty asks for what cannot be there, and hears at once where the queue ends.
func checkEmpty(b *bed, topic string) error {
	c, err := b.startPullConsumer(b.newName("lookers"), topic, "*")
	if err != nil {
		return err
	}
	queues, err := b.queuesOf(topic)
	if err != nil {
		return err
	}
	result, err := c.PullFrom(context.Background(), queues[0], 1000, 1)
	if err != nil {
		return fmt.Errorf("pull of %s: %w", topic, err)
	}
	b.checks.equal(primitive.PullOffsetIllegal, result.Status, "a pull far beyond the end of the retry topic")
	b.checks.equal(int64(0), result.NextBeginOffset, "nothing was sent back to the retry topic")
	return nil
}

// delayAtAllLevels: messages sent for later arrive once, unchanged, when they are due: each of the 18 levels, none, and
// one beyond the last, which counts as the last.
func delayAtAllLevels(b *bed) error {
	const levels, levelBeyond = 18, 30
	topic, err := b.createTopic("letters", 4)
	if err != nil {
		return err
	}
	in := newInbox()
	if _, err := b.collect(b.newName("readers"), topic, "*", "reader", in); err != nil {
		return err
	}
	p, err := b.producer()
	if err != nil {
		return err
	}
	letters := mixedLetters(topic, "delayed", levels+2)
	dueByID := map[string]int64{}
	for i, l := range letters {
		level, delay := i, time.Duration(0)
		if level > levels {
			level = levelBeyond
		}
		message := l.toMessage()
		if level > 0 {
			if delay, err = delayOf(level); err != nil {
				return err
			}
			message.WithDelayTimeLevel(level)
		}
		dueByID[l.id] = time.Now().Add(delay).UnixMilli()
		if _, err := p.SendSync(context.Background(), message); err != nil {
			return fmt.Errorf("send of %s: %w", l.id, err)
		}
	}
	longest, err := delayOf(levels)
	if err != nil {
		return err
	}
	in.awaitDistinct(len(letters), longest+patient)
	in.checkExactly(b.checks, "the consumer", letters)
	var wrong []string
	var late []int64
	for _, d := range in.deliveries() {
		lateness := d.message.StoreTimestamp - dueByID[d.letterID()]
		late = append(late, lateness)
		if lateness < 0 || lateness > lateMax.Milliseconds() {
			wrong = append(wrong, fmt.Sprintf("%s: %d ms late", d.letterID(), lateness))
		}
	}
	b.checks.that(len(wrong) == 0, "each came when it was due", "%s", some(wrong))
	noteLate(b.checks, late)
	return nil
}
