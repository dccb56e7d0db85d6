package main

import (
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// delivery is one message as it came to one consumer.
type delivery struct {
	consumer string
	message  *primitive.MessageExt
}

func (d delivery) letterID() string {
	return letterIDOf(d.message)
}

// inbox collects what consumers received, in order of arrival. Any goroutine may use it.
type inbox struct {
	mutex      sync.Mutex
	all        []delivery
	timesByID  map[string]int
	somethings chan struct{} // closed and replaced whenever something arrives
}

func newInbox() *inbox {
	return &inbox{timesByID: map[string]int{}, somethings: make(chan struct{})}
}

func (in *inbox) add(consumer string, messages ...*primitive.MessageExt) {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	for _, message := range messages {
		in.all = append(in.all, delivery{consumer, message})
		in.timesByID[letterIDOf(message)]++
	}
	close(in.somethings)
	in.somethings = make(chan struct{})
}

func (in *inbox) deliveries() []delivery {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return append([]delivery(nil), in.all...)
}

func (in *inbox) distinct() int {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return len(in.timesByID)
}

func (in *inbox) has(id string) bool {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return in.timesByID[id] > 0
}

// duplicates counts deliveries beyond the first of each letter.
func (in *inbox) duplicates() int {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return len(in.all) - len(in.timesByID)
}

// of is what came to one consumer, in order.
func (in *inbox) of(consumer string) *inbox {
	part := newInbox()
	for _, d := range in.deliveries() {
		if d.consumer == consumer {
			part.add(consumer, d.message)
		}
	}
	return part
}

// byQueue groups deliveries by queue, in order of arrival within each.
func (in *inbox) byQueue() map[int][]delivery {
	groups := map[int][]delivery{}
	for _, d := range in.deliveries() {
		groups[d.message.Queue.QueueId] = append(groups[d.message.Queue.QueueId], d)
	}
	return groups
}

// awaitDistinct waits until so many different letters are here; false when the time is over.
func (in *inbox) awaitDistinct(count int, limit time.Duration) bool {
	return in.await(func() bool { return len(in.timesByID) >= count }, limit)
}

// awaitAll waits until each of the letters is here; false when the time is over.
func (in *inbox) awaitAll(ids []string, limit time.Duration) bool {
	return in.await(func() bool {
		for _, id := range ids {
			if in.timesByID[id] == 0 {
				return false
			}
		}
		return true
	}, limit)
}

// await waits for a condition that is evaluated with the mutex held.
func (in *inbox) await(condition func() bool, limit time.Duration) bool {
	timeOver := time.After(limit)
	for {
		in.mutex.Lock()
		holds, next := condition(), in.somethings
		in.mutex.Unlock()
		if holds {
			return true
		}
		select {
		case <-next:
		case <-timeOver:
			return false
		}
	}
}

// checkExactly checks that exactly these letters are here, each once and unchanged.
func (in *inbox) checkExactly(c *checks, who string, expected []letter) {
	in.checkContent(c, who, expected)
	c.equal(0, in.duplicates(), "%s got no message twice", who)
	known := map[string]bool{}
	for _, l := range expected {
		known[l.id] = true
	}
	var strangers []string
	for _, d := range in.deliveries() {
		if !known[d.letterID()] {
			strangers = append(strangers, d.letterID())
		}
	}
	c.that(len(strangers) == 0, who+" got nothing else", "also came: %s", some(strangers))
}

// checkContent checks that each of these letters is here at least once, and unchanged every time.
func (in *inbox) checkContent(c *checks, who string, expected []letter) {
	byID := map[string]letter{}
	var missing, differences []string
	for _, l := range expected {
		byID[l.id] = l
		if !in.has(l.id) {
			missing = append(missing, l.id)
		}
	}
	for _, d := range in.deliveries() {
		if l, known := byID[d.letterID()]; known {
			if difference := l.difference(d.message); difference != "" {
				differences = append(differences, difference)
			}
		}
	}
	c.that(len(missing) == 0, who+" got all messages that it should", "of %d, %d missing: %s", len(expected),
		len(missing), some(missing))
	c.that(len(differences) == 0, who+" got body, tag, keys and properties as sent", "%s", some(differences))
}
