package cjmq.interop;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * What a scenario works with: names of its own, started clients, checks. Closing it shuts all clients down, the
 * youngest first. Used by one thread.
 */
final class TestBed implements AutoCloseable {
    /** For things that take milliseconds when all is well; far below the 15 s that a long poll may be held. */
    static final Duration SOON = Duration.ofSeconds(5);
    /** For things that a busy machine may take long for. */
    static final Duration PATIENT = Duration.ofSeconds(30);
    /** The topic whose settings new topics inherit. */
    static final String TEMPLATE_TOPIC = "TBW102";

    private static final int REFRESH_MILLIS = 1000;
    private static final int PULL_MAX = 32;

    private final Cluster cluster;
    private final String unique;
    private final Checks checks;
    private final AtomicInteger clients = new AtomicInteger();
    private final Deque<Runnable> shutdowns = new ArrayDeque<>();
    private DefaultMQProducer producer;

    TestBed(Cluster cluster, String runId, String scenario, Checks checks) {
        this.cluster = cluster;
        this.unique = scenario.replace('.', '-') + "-" + runId;
        this.checks = checks;
    }

    Cluster cluster() {
        return cluster;
    }

    Checks checks() {
        return checks;
    }

    /** A topic or group name that no other scenario and no other run uses. */
    String newName(String purpose) {
        return purpose + "-" + unique;
    }

    /** The scenario's producer, started at the first call, when the registry knows the broker. */
    DefaultMQProducer producer() throws MQClientException, InterruptedException {
        if (producer == null) {
            var starting = configure(new DefaultMQProducer(newName("producers")));
            starting.start();
            onClose(starting::shutdown);
            if (!Waiting.until(() -> !starting.fetchPublishMessageQueues(TEMPLATE_TOPIC).isEmpty(), PATIENT)) {
                throw new IllegalStateException("no route to " + TEMPLATE_TOPIC + ": is the broker registered?");
            }
            producer = starting;
        }
        return producer;
    }

    /** Creates a topic the way an admin client does, and waits until its route shows all queues. */
    String createTopic(String purpose, int queues) throws Exception {
        var topic = newName(purpose);
        var admin = producer();
        ClientVersion.createTopic(admin, TEMPLATE_TOPIC, topic, queues);
        if (!Waiting.until(() -> admin.fetchPublishMessageQueues(topic).size() == queues, PATIENT)) {
            throw new IllegalStateException("topic " + topic + " was created but its route does not show "
                    + queues + " queues");
        }
        return topic;
    }

    /**
     * A group whose retry topic has a route. The first member makes the broker create that topic, but looks for it only
     * at its start and at each rebalance, 20 s apart; a member that starts later finds it at once.
     */
    String foundGroup(String purpose, String topic) throws Exception {
        var group = newName(purpose);
        var admin = producer();
        var founder = collect(group, topic, "*", "founder", new Inbox());
        var brokers = Cluster.keeperAddress().isPresent() ? 2 : 1;
        if (!Waiting.until(() -> admin.fetchPublishMessageQueues("%RETRY%" + group).size() >= brokers, PATIENT)) {
            throw new IllegalStateException("group " + group + " got no retry topic at " + brokers + " brokers");
        }
        founder.shutdown();
        return group;
    }

    /** Reads a whole topic, from the first message on, until it holds so many letters or the time is over. */
    @SuppressWarnings("deprecation")
    Inbox read(String topic, int letters, Duration limit) throws Exception {
        var consumer = configure(new DefaultMQPullConsumer(newName("pullers")));
        consumer.start();
        onClose(consumer::shutdown);
        var inbox = new Inbox();
        var next = new HashMap<MessageQueue, Long>();
        Waiting.until(() -> {
            for (var queue : consumer.fetchSubscribeMessageQueues(topic)) {
                var result = consumer.pull(queue, "*", next.getOrDefault(queue, 0L), PULL_MAX);
                next.put(queue, result.getNextBeginOffset());
                if (result.getPullStatus() == PullStatus.FOUND) {
                    result.getMsgFoundList().forEach(message -> inbox.add("puller", message));
                }
            }
            return inbox.distinct() >= letters;
        }, limit);
        return inbox;
    }

    /** A push consumer that reads from the first message on; the caller registers a listener and starts it. */
    DefaultMQPushConsumer newPushConsumer(String group, String topic, String tags) throws MQClientException {
        var consumer = new DefaultMQPushConsumer(group);
        configure(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, tags);
        onClose(consumer::shutdown);
        return consumer;
    }

    /** A started concurrent push consumer that puts all it gets into the inbox. */
    DefaultMQPushConsumer collect(String group, String topic, String tags, String consumerName, Inbox inbox)
            throws MQClientException {
        var consumer = newPushConsumer(group, topic, tags);
        consumer.registerMessageListener(collector(consumerName, inbox));
        consumer.start();
        return consumer;
    }

    static MessageListenerConcurrently collector(String consumerName, Inbox inbox) {
        return (messages, context) -> {
            messages.forEach(message -> inbox.add(consumerName, message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    /** Sends letter after letter; anything but SEND_OK is a failed check. */
    List<SendResult> sendAll(List<Letter> letters) throws Exception {
        var results = new ArrayList<SendResult>();
        for (var letter : letters) {
            var result = producer().send(letter.toMessage());
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                checks.fail("send of " + letter.id() + " answered " + result.getSendStatus());
            }
            results.add(result);
        }
        return results;
    }

    /**
     * Settings for every client: a client instance (and so connections) of its own, and route refresh and heartbeat
     * often enough for a test. Rebalancing keeps its 20 s, so that a broker that forgets to notify is found out.
     */
    <T extends ClientConfig> T configure(T config) {
        config.setNamesrvAddr(cluster.registryAddress());
        config.setInstanceName(unique + "-" + clients.incrementAndGet());
        config.setPollNameServerInterval(REFRESH_MILLIS);
        config.setHeartbeatBrokerInterval(REFRESH_MILLIS);
        config.setVipChannelEnabled(false);
        return config;
    }

    void onClose(Runnable shutdown) {
        shutdowns.push(shutdown);
    }

    @Override
    public void close() {
        while (!shutdowns.isEmpty()) {
            shutdowns.pop().run();
        }
    }
}
