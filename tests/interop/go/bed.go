package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	// soon is for things that take milliseconds when all is well; far below the 15 s that a long poll may be held.
	soon = 5 * time.Second
	// patient is for things that a busy machine may take long for.
	patient = 30 * time.Second
	// templateTopic is the topic whose settings new topics inherit, and templateQueues how many it has.
	templateTopic  = "TBW102"
	templateQueues = 8
	// pollInterval is the pause between two looks at a condition that nobody announces.
	pollInterval = 20 * time.Millisecond
)

// cluster is the cluster under test, as run.sh started it; its broker can be taken away and brought back.
type cluster struct {
	registryAddress, brokerAddress, command string
}

func clusterFromEnvironment() *cluster {
	c := &cluster{os.Getenv("INTEROP_REGISTRY_ADDRESS"), os.Getenv("INTEROP_BROKER_ADDRESS"),
		os.Getenv("INTEROP_CLUSTER_COMMAND")}
	if c.registryAddress == "" || c.brokerAddress == "" || c.command == "" {
		fmt.Fprintln(os.Stderr, "INTEROP_REGISTRY_ADDRESS, INTEROP_BROKER_ADDRESS or INTEROP_CLUSTER_COMMAND is not set;"+
			" run.sh sets them")
		os.Exit(2)
	}
	return c
}

// call runs kill-broker (kill -9), stop-broker (returns when it has ended) or start-broker (when it listens).
func (c *cluster) call(verb string) error {
	output, err := exec.Command(c.command, verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %v: %s", c.command, verb, err, output)
	}
	return nil
}

// topicAdmin is what the scenarios use of the client's admin, whose type is not exported.
type topicAdmin interface {
	CreateTopic(ctx context.Context, options ...admin.OptionCreate) error
	DeleteTopic(ctx context.Context, options ...admin.OptionDelete) error
	FetchAllTopicList(ctx context.Context) (*admin.TopicList, error)
	FetchPublishMessageQueues(ctx context.Context, topic string) ([]*primitive.MessageQueue, error)
	Close() error
}

// bed is what a scenario works with: names of its own, started clients, checks. close shuts all clients down, the
// youngest first. Used by one goroutine, but for send functions.
type bed struct {
	cluster   *cluster
	checks    *checks
	unique    string
	instances int
	shutdowns []func()
	admin     topicAdmin
	any       rocketmq.Producer
	directed  rocketmq.Producer
}

func newBed(cluster *cluster, runID, scenario string, c *checks) *bed {
	return &bed{cluster: cluster, checks: c, unique: strings.ReplaceAll(scenario, ".", "-") + "-" + runID}
}

func (b *bed) close() {
	for i := len(b.shutdowns) - 1; i >= 0; i-- {
		b.shutdowns[i]()
	}
	b.shutdowns = nil
}

// newName gives a topic or group name that no other scenario and no other run uses.
func (b *bed) newName(purpose string) string {
	return purpose + "-" + b.unique
}

// newInstance gives each client an instance, and so connections, of its own.
func (b *bed) newInstance() string {
	b.instances++
	return fmt.Sprintf("%s-%d", b.unique, b.instances)
}

func (b *bed) resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{b.cluster.registryAddress})
}

// producer is the scenario's producer, started at the first call; it spreads messages over the queues.
func (b *bed) producer() (rocketmq.Producer, error) {
	return b.startProducer(&b.any, "producers", producer.NewRoundRobinQueueSelector())
}

// directedProducer sends each message to the queue that the message names.
func (b *bed) directedProducer() (rocketmq.Producer, error) {
	return b.startProducer(&b.directed, "directed-producers", producer.NewManualQueueSelector())
}

func (b *bed) startProducer(kept *rocketmq.Producer, group string, selector producer.QueueSelector) (rocketmq.Producer,
	error) {
	if *kept != nil {
		return *kept, nil
	}
	// The broker listens a moment before the registry knows it; a first send would find no route then.
	if err := b.awaitRoute(templateTopic, templateQueues); err != nil {
		return nil, err
	}
	p, err := rocketmq.NewProducer(producer.WithNsResolver(b.resolver()), producer.WithGroupName(b.newName(group)),
		producer.WithInstanceName(b.newInstance()), producer.WithQueueSelector(selector), producer.WithRetry(2))
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	b.shutdowns = append(b.shutdowns, func() { _ = p.Shutdown() })
	*kept = p
	return p, nil
}

func (b *bed) topicAdmin() (topicAdmin, error) {
	if b.admin == nil {
		a, err := admin.NewAdmin(admin.WithResolver(b.resolver()))
		if err != nil {
			return nil, err
		}
		b.admin = a
		b.shutdowns = append(b.shutdowns, func() { _ = a.Close() })
	}
	return b.admin, nil
}

// createTopic creates a topic the way an admin client does, and waits until its route shows all queues.
func (b *bed) createTopic(purpose string, queues int) (string, error) {
	topic := b.newName(purpose)
	a, err := b.topicAdmin()
	if err != nil {
		return "", err
	}
	err = a.CreateTopic(context.Background(), admin.WithTopicCreate(topic),
		admin.WithBrokerAddrCreate(b.cluster.brokerAddress), admin.WithReadQueueNums(queues),
		admin.WithWriteQueueNums(queues))
	if err != nil {
		return "", fmt.Errorf("create topic %s: %w", topic, err)
	}
	return topic, b.awaitRoute(topic, queues)
}

func (b *bed) awaitRoute(topic string, queues int) error {
	a, err := b.topicAdmin()
	if err != nil {
		return err
	}
	found := 0
	shown := until(func() bool {
		list, err := a.FetchPublishMessageQueues(context.Background(), topic)
		found = len(list)
		return err == nil && found == queues
	}, patient)
	if !shown {
		return fmt.Errorf("the route of topic %s shows %d queues, expected %d", topic, found, queues)
	}
	return nil
}

// leaveGroup shuts a consumer down with its offsets committed. The client commits at shutdown too, but closes the
// connection right behind that, which may take the commit along.
func leaveGroup(c interface{ Shutdown() error }) error {
	committer, can := c.(interface{ PersistConsumerOffset() error })
	if !can {
		return fmt.Errorf("%T cannot commit its offsets", c)
	}
	if err := committer.PersistConsumerOffset(); err != nil {
		return fmt.Errorf("commit before leaving the group: %w", err)
	}
	return c.Shutdown()
}

type handler func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// startConsumer starts a push consumer that reads from the first message on.
func (b *bed) startConsumer(group, topic, tags string, handle handler, options ...consumer.Option) (
	rocketmq.PushConsumer, error) {
	options = append([]consumer.Option{consumer.WithNsResolver(b.resolver()), consumer.WithGroupName(group),
		consumer.WithInstance(b.newInstance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)},
		options...)
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return nil, err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	if err := c.Subscribe(topic, selector, handle); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start of a consumer of %s: %w", topic, err)
	}
	b.shutdowns = append(b.shutdowns, func() { _ = c.Shutdown() })
	return c, nil
}

// collect starts a concurrent push consumer that puts all it gets into the inbox.
func (b *bed) collect(group, topic, tags, name string, in *inbox, options ...consumer.Option) (rocketmq.PushConsumer,
	error) {
	return b.startConsumer(group, topic, tags, collector(name, in), options...)
}

func collector(name string, in *inbox) handler {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.add(name, messages...)
		return consumer.ConsumeSuccess, nil
	}
}

// sendAll sends letter after letter; anything but SendOK is an error.
func (b *bed) sendAll(letters []letter) ([]*primitive.SendResult, error) {
	p, err := b.producer()
	if err != nil {
		return nil, err
	}
	var results []*primitive.SendResult
	for _, l := range letters {
		result, err := sendOne(p, l, nil)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// sendOne sends to the queue, or to any when it is nil.
func sendOne(p rocketmq.Producer, l letter, queue *primitive.MessageQueue) (*primitive.SendResult, error) {
	message := l.toMessage()
	message.Queue = queue
	result, err := p.SendSync(context.Background(), message)
	if err != nil {
		return nil, fmt.Errorf("send of %s: %w", l.id, err)
	}
	if result.Status != primitive.SendOK {
		return nil, fmt.Errorf("send of %s: status %d", l.id, result.Status)
	}
	return result, nil
}

// queuesOf gives the queues of a topic in order of their ids.
func (b *bed) queuesOf(topic string) ([]*primitive.MessageQueue, error) {
	a, err := b.topicAdmin()
	if err != nil {
		return nil, err
	}
	return a.FetchPublishMessageQueues(context.Background(), topic)
}

// delayOf is how long the broker lets a message of this delay level wait; a level beyond the last counts as the last.
func delayOf(level int) (time.Duration, error) {
	levels := strings.Fields(os.Getenv("INTEROP_DELAY_LEVELS"))
	if len(levels) == 0 {
		return 0, fmt.Errorf("INTEROP_DELAY_LEVELS is not set; run.sh sets it")
	}
	if level > len(levels) {
		level = len(levels)
	}
	return time.ParseDuration(levels[level-1])
}

// until asks again and again until the condition holds; false when the time is over.
func until(condition func() bool, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollInterval)
	}
	return true
}
