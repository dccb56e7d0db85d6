package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	idProperty   = "letterId"
	noteProperty = "note"
	// noteText has characters of one to four bytes in UTF-8.
	noteText = "a=b;c \u00e4\u4e2d\U0001f600"

	// largeBodyBytes is above the 4096 bytes from which the client compresses, and the body too random to shrink.
	largeBodyBytes = 100 * 1024
	// repetitiveBodyBytes is above that limit, and the body compressible.
	repetitiveBodyBytes = 20 * 1024
)

// letter is what a scenario sends and expects to find again: a message with an identity of its own, which travels as
// a user property, so that it needs no trust in message ids.
type letter struct {
	id, topic, tag, key string
	body                []byte
}

func newLetter(topic, id, tag, key string) letter {
	return letter{id: id, topic: topic, tag: tag, key: key, body: []byte("body of " + id)}
}

// mixedLetters are of mixed sizes: a single byte, binary, one that is sent compressed, one large.
func mixedLetters(topic, prefix string, count int) []letter {
	letters := make([]letter, count)
	for i := range letters {
		id := fmt.Sprintf("%s-%d", prefix, i)
		letters[i] = letter{id: id, topic: topic, tag: fmt.Sprintf("tag%d", i%3), key: "key-" + id, body: mixedBody(id, i)}
	}
	return letters
}

func mixedBody(id string, index int) []byte {
	seed := fnv.New64()
	seed.Write([]byte(id))
	random := rand.New(rand.NewSource(int64(seed.Sum64())))
	switch index % 8 {
	case 0:
		return []byte{byte(random.Intn(256))}
	case 1:
		body := make([]byte, 256)
		for i := range body {
			body[i] = byte(i)
		}
		return body
	case 2:
		return bytes.Repeat([]byte{byte('a' + index%26)}, repetitiveBodyBytes)
	case 3:
		body := make([]byte, largeBodyBytes)
		random.Read(body)
		return body
	default:
		return []byte("body of " + id)
	}
}

func (l letter) toMessage() *primitive.Message {
	message := primitive.NewMessage(l.topic, l.body)
	if l.tag != "" {
		message.WithTag(l.tag)
	}
	message.WithKeys([]string{l.key})
	message.WithProperty(idProperty, l.id)
	message.WithProperty(noteProperty, noteText)
	return message
}

func letterIDOf(message *primitive.MessageExt) string {
	return message.GetProperty(idProperty)
}

// difference is empty when the message is this letter, unchanged; else it says what differs.
func (l letter) difference(message *primitive.MessageExt) string {
	if !bytes.Equal(l.body, message.Body) {
		return fmt.Sprintf("%s: body of %d bytes came back with %d bytes or other content", l.id, len(l.body),
			len(message.Body))
	}
	for _, field := range []struct{ what, expected, found string }{
		{"topic", l.topic, message.Topic},
		{"tag", l.tag, message.GetTags()},
		{"key", l.key, message.GetKeys()},
		{"user property", noteText, message.GetProperty(noteProperty)},
	} {
		if field.expected != field.found {
			return fmt.Sprintf("%s: %s expected %q, found %q", l.id, field.what, field.expected, field.found)
		}
	}
	return ""
}

func idsOf(letters []letter) []string {
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[i] = l.id
	}
	return ids
}
