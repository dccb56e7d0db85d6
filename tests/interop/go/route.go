package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

const getRouteByTopic = 105

// brokersOfTopic asks the registry how many brokers have the topic. The client's own answer is as old as its cache, which
// it renews every 30 s.
func (b *bed) brokersOfTopic(topic string) (int, error) {
	c, err := net.DialTimeout("tcp", b.cluster.registryAddress, patient)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		return 0, err
	}
	header, err := json.Marshal(map[string]any{"code": getRouteByTopic, "language": "GO", "version": 317, "opaque": 1,
		"extFields": map[string]string{"topic": topic}})
	if err != nil {
		return 0, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	if _, err := c.Write(append(frame, header...)); err != nil {
		return 0, err
	}
	var lengths [2]uint32
	if err := binary.Read(c, binary.BigEndian, &lengths); err != nil {
		return 0, err
	}
	rest := make([]byte, lengths[0]-4)
	if _, err := io.ReadFull(c, rest); err != nil {
		return 0, err
	}
	var route struct{ QueueDatas []struct{ BrokerName string } }
	body := rest[lengths[1]&0xffffff:]
	if len(body) == 0 { // it has no such topic
		return 0, nil
	}
	if err := json.Unmarshal(body, &route); err != nil {
		return 0, fmt.Errorf("route of %s: %w", topic, err)
	}
	return len(route.QueueDatas), nil
}

// awaitBrokers waits until so many brokers have the topic.
func (b *bed) awaitBrokers(topic string, count int) error {
	found := 0
	var failed error
	until(func() bool {
		found, failed = b.brokersOfTopic(topic)
		return failed != nil || found >= count
	}, patient)
	if failed == nil && found < count {
		failed = fmt.Errorf("the route of topic %s shows %d brokers, expected %d", topic, found, count)
	}
	return failed
}
