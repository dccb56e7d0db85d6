package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	sentLetters     = 40
	lettersPerBatch = 8
	// queuesByDefault is how many queues the client asks for when a first send creates its topic.
	queuesByDefault = 4
)

// place is where a message is, or was said to be. msgID is empty for batches: the client gives their parts none.
type place struct {
	msgID, offsetMsgID string
	queueID            int
	queueOffset        int64
}

// manner sends the letters and returns where the acknowledgements said that they are; empty where there are none.
type manner func(b *bed, letters []letter) (map[string]place, error)

// sendAndFind sends messages of all sizes in one of the four manners to a topic that the first send creates: they
// arrive as sent and where their acknowledgement said.
func sendAndFind(b *bed, send manner) error {
	topic := b.newName("created-by-sending")
	letters := mixedLetters(topic, "sent", sentLetters)
	places, err := send(b, letters)
	if err != nil {
		return err
	}
	if len(places) > 0 {
		checkAcknowledgements(b.checks, places)
	}
	if err := b.awaitRoute(topic, queuesByDefault); err != nil {
		return err
	}
	in := newInbox()
	if _, err := b.collect(b.newName("readers"), topic, "*", "reader", in); err != nil {
		return err
	}
	in.awaitDistinct(sentLetters, patient)
	in.checkExactly(b.checks, "the consumer", letters)
	checkPlaces(b.checks, in, places)
	return nil
}

func checkAcknowledgements(c *checks, places map[string]place) {
	c.equal(sentLetters, len(places), "each message was acknowledged")
	ids := map[string]bool{}
	offsetsByQueue := map[int][]int64{}
	for _, p := range places {
		ids[p.offsetMsgID] = true
		offsetsByQueue[p.queueID] = append(offsetsByQueue[p.queueID], p.queueOffset)
	}
	c.equal(sentLetters, len(ids), "each with an offset id of its own")
	gapless := true
	for _, offsets := range offsetsByQueue {
		sort.Slice(offsets, func(i, j int) bool { return offsets[i] < offsets[j] })
		for i, offset := range offsets {
			gapless = gapless && offset == int64(i)
		}
	}
	c.that(gapless, "queue offsets count from 0 without gaps", "%v", offsetsByQueue)
}

// checkPlaces checks that each message is found at the queue, offset and ids that its acknowledgement named.
func checkPlaces(c *checks, in *inbox, places map[string]place) {
	if len(places) == 0 {
		return
	}
	var elsewhere []string
	for _, d := range in.deliveries() {
		said, acknowledged := places[d.letterID()]
		found := place{d.message.MsgId, d.message.OffsetMsgId, d.message.Queue.QueueId, d.message.QueueOffset}
		if said.msgID == "" {
			found.msgID = ""
		}
		if acknowledged && said != found {
			elsewhere = append(elsewhere, fmt.Sprintf("%s: acknowledged at %+v, found at %+v", d.letterID(), said, found))
		}
	}
	c.that(len(elsewhere) == 0, "each message is where its acknowledgement said", "%s", some(elsewhere))
}

func placeOf(result *primitive.SendResult) place {
	return place{result.MsgID, result.OffsetMsgID, result.MessageQueue.QueueId, result.QueueOffset}
}

func sendSync(b *bed, letters []letter) (map[string]place, error) {
	results, err := b.sendAll(letters)
	if err != nil {
		return nil, err
	}
	places := map[string]place{}
	for i, l := range letters {
		places[l.id] = placeOf(results[i])
	}
	return places, nil
}

func sendAsync(b *bed, letters []letter) (map[string]place, error) {
	p, err := b.producer()
	if err != nil {
		return nil, err
	}
	var mutex sync.Mutex
	places := map[string]place{}
	answers := make(chan error, len(letters))
	for _, l := range letters {
		l := l
		err := p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err == nil && result.Status != primitive.SendOK {
				err = fmt.Errorf("async send of %s: status %d", l.id, result.Status)
			}
			if err == nil {
				mutex.Lock()
				places[l.id] = placeOf(result)
				mutex.Unlock()
			}
			answers <- err
		}, l.toMessage())
		if err != nil {
			return nil, fmt.Errorf("async send of %s: %w", l.id, err)
		}
	}
	timeOver := time.After(patient)
	for answered := range letters {
		select {
		case err := <-answers:
			if err != nil {
				return nil, err
			}
		case <-timeOver:
			return nil, fmt.Errorf("%d of %d async sends were answered in %v", answered, len(letters), patient)
		}
	}
	return places, nil
}

func sendOneway(b *bed, letters []letter) (map[string]place, error) {
	p, err := b.producer()
	if err != nil {
		return nil, err
	}
	for _, l := range letters {
		if err := p.SendOneWay(context.Background(), l.toMessage()); err != nil {
			return nil, fmt.Errorf("oneway send of %s: %w", l.id, err)
		}
	}
	return nil, nil
}

// sendBatch: a batch is acknowledged as a whole, by comma-separated offset ids and the offset of its first message.
func sendBatch(b *bed, letters []letter) (map[string]place, error) {
	p, err := b.producer()
	if err != nil {
		return nil, err
	}
	places := map[string]place{}
	for first := 0; first < len(letters); first += lettersPerBatch {
		batch := letters[first : first+lettersPerBatch]
		messages := make([]*primitive.Message, len(batch))
		for i, l := range batch {
			messages[i] = l.toMessage()
		}
		result, err := p.SendSync(context.Background(), messages...)
		if err != nil {
			return nil, fmt.Errorf("batch send: %w", err)
		}
		offsetMsgIDs := strings.Split(result.OffsetMsgID, ",")
		if result.Status != primitive.SendOK || len(offsetMsgIDs) != len(batch) {
			return nil, fmt.Errorf("a batch of %d was acknowledged with %v", len(batch), result)
		}
		for i, l := range batch {
			places[l.id] = place{"", offsetMsgIDs[i], result.MessageQueue.QueueId, result.QueueOffset + int64(i)}
		}
	}
	return places, nil
}
