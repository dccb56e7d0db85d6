package cjmq.interop;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * One of our brokers and one of the original's, each the master of a group, first with our registry, then with the
 * original's, which takes its place while everything else goes on: clients find both brokers, lose one and find it again.
 */
final class MixedScenario implements Scenario {
    private static final String OURS = "interop", THEIRS = "beside";
    private static final String[] START_THEIRS = {"apache", "brokerName=" + THEIRS, "brokerId=0",
        "brokerRole=ASYNC_MASTER"};
    private static final int QUEUES_EACH = 4;
    private static final int LETTERS = 40;
    private static final long TIMEOUT_MILLIS = 5000;

    @Override
    public String name() {
        return "mixed.registry";
    }

    @Override
    public boolean disturbsOthers() {
        return true;
    }

    @Override
    public long secondsMax() {
        return 200;
    }

    @Override
    public void run(TestBed bed) throws Exception {
        bed.cluster().call("start-slave", START_THEIRS);
        runWith(bed, "cjmq");
        bed.cluster().call("stop-registry");
        bed.cluster().call("start-registry", "apache");
        runWith(bed, "apache");
    }

    private static void runWith(TestBed bed, String registry) throws Exception {
        var checks = bed.checks();
        var what = "with the registry of " + registry + ": ";
        awaitBrokers(bed, TestBed.TEMPLATE_TOPIC, Set.of(OURS, THEIRS), what + "both brokers are registered");
        checkClusterInfo(bed, what);
        var topic = bed.newName("letters-" + registry);
        ClientVersion.createTopic(bed.producer(), TestBed.TEMPLATE_TOPIC, topic, QUEUES_EACH);
        awaitBrokers(bed, topic, Set.of(OURS, THEIRS), what + "a topic has queues of both");
        checks.equal(2 * QUEUES_EACH, queues(bed, topic).size(), what + "all of them");

        var inbox = new Inbox();
        var consumer = bed.collect(bed.newName("readers-" + registry), topic, "*", "reader", inbox);
        var letters = new ArrayList<>(Letter.mixed(topic, registry + "-both", LETTERS));
        var results = bed.sendAll(letters);
        checks.equal(Set.of(OURS, THEIRS), brokersOf(results), what + "messages go to both");
        checkQueries(bed, letters, results, what);
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        inbox.checkExactly(checks, what + "the consumer of both", letters);

        // One that stays would come back to a broker only at its next rebalance, 20 s later.
        consumer.shutdown();

        loseAndFind(bed, topic, registry, letters, what);
        var lateInbox = new Inbox();
        bed.collect(bed.newName("late-readers-" + registry), topic, "*", "late reader", lateInbox);
        lateInbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        lateInbox.checkExactly(checks, what + "a late consumer of both", letters);
    }

    /** Each of the brokers goes and comes back; what is sent meanwhile goes to the other one. */
    private static void loseAndFind(TestBed bed, String topic, String registry, List<Letter> letters, String what)
            throws Exception {
        bed.cluster().call("stop-slave");
        sendToOne(bed, topic, registry, OURS, letters, what);
        bed.cluster().call("start-slave", START_THEIRS);
        awaitBrokers(bed, topic, Set.of(OURS, THEIRS), what + THEIRS + " is back");
        bed.cluster().stopBroker();
        sendToOne(bed, topic, registry, THEIRS, letters, what);
        bed.cluster().startBroker();
        awaitBrokers(bed, topic, Set.of(OURS, THEIRS), what + OURS + " is back");
    }

    private static void sendToOne(TestBed bed, String topic, String registry, String broker, List<Letter> letters,
            String what) throws Exception {
        awaitBrokers(bed, topic, Set.of(broker), what + "the other broker has left, there is " + broker);
        var more = Letter.mixed(topic, registry + "-" + broker, LETTERS);
        bed.checks().equal(Set.of(broker), brokersOf(bed.sendAll(more)), what + "messages go to " + broker);
        letters.addAll(more);
    }

    private static void checkClusterInfo(TestBed bed, String what) throws Exception {
        var info = new BrokerAdmin(bed.producer(), "").api().getBrokerClusterInfo(TIMEOUT_MILLIS);
        bed.checks().equal(Set.of(OURS, THEIRS), new HashSet<>(info.getBrokerAddrTable().keySet()),
                what + "the cluster's list names both");
    }

    private static void checkQueries(TestBed bed, List<Letter> letters, List<SendResult> results, String what)
            throws Exception {
        var wrong = new ArrayList<String>();
        for (int i = 0; i < letters.size(); i++) {
            var letter = letters.get(i);
            var result = results.get(i);
            var byId = bed.producer().viewMessage(letter.topic(), result.getOffsetMsgId());
            if (letter.difference(byId) != null) {
                wrong.add(letter.id() + " by offset id: " + letter.difference(byId));
            }
            // Asks every broker of the topic. The index is built behind the log.
            if (!Waiting.until(() -> letter.difference(bed.producer().viewMessage(letter.topic(),
                    result.getMsgId())) == null, TestBed.SOON)) {
                wrong.add(letter.id() + " by unique id");
            }
        }
        bed.checks().that(wrong.isEmpty(), what + "each message is found by both ids", Inbox.some(wrong));
    }

    private static List<MessageQueue> queues(TestBed bed, String topic) throws Exception {
        return bed.producer().fetchPublishMessageQueues(topic);
    }

    private static Set<String> brokersOf(List<SendResult> results) {
        return results.stream().map(result -> result.getMessageQueue().getBrokerName())
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** Waits until the registry names these brokers, and the producer, which asks it now and then, has heard of it. */
    private static void awaitBrokers(TestBed bed, String topic, Set<String> brokers, String fact)
            throws Exception {
        var routes = bed.producer().getDefaultMQProducerImpl().getTopicPublishInfoTable();
        bed.checks().that(Waiting.until(() -> brokersIn(queues(bed, topic)).equals(brokers)
                && (!routes.containsKey(topic) || !routes.get(topic).ok()
                        || brokersIn(routes.get(topic).getMessageQueueList()).equals(brokers)), TestBed.PATIENT),
                fact, "not after " + TestBed.PATIENT);
    }

    private static Set<String> brokersIn(List<MessageQueue> queues) {
        return queues.stream().map(MessageQueue::getBrokerName).collect(Collectors.toSet());
    }
}
