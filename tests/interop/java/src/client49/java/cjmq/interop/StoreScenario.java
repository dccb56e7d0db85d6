package cjmq.interop;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A store that two brokers have in turns, in legs: each finds all that was there, byte for byte, and adds to it. Between
 * legs the broker stops in order, or is killed while clients send.
 */
final class StoreScenario implements Scenario {
    enum Ending { STOP, KILL }

    private static final int QUEUES = 4;
    private static final int LETTERS = 48;
    private static final int LETTERS_PER_BATCH = 8;
    private static final int BATCHES = 2;
    /** How many acknowledged messages make a middle of the traffic. */
    private static final int TRAFFIC = 60;
    private static final int DELAYED = 4;
    /** As run.sh sets messageDelayLevel: 1 s, and longer than a broker's stop and the other one's start. */
    private static final int DELAY_LEVEL_SHORT = 1, DELAY_LEVEL_LONG = 2;
    /** What the messages of two legs fill. */
    private static final int LOG_FILES_MIN = 2;
    private static final int SEND_BACK_RETRIES_MAX = 5;
    private static final int PERSIST_MILLIS = 200;
    private static final long TIMEOUT_MILLIS = 5000;
    private static final String BROKER_NAME = "interop";
    private static final String PLAN_PROPERTY = "plan", LEG_PROPERTY = "leg";

    /** What becomes of a transaction; LATER: it stays open until the next broker asks. */
    private enum Plan {
        COMMIT, ROLLBACK, COMMIT_LATER, ROLLBACK_LATER;

        LocalTransactionState decision() {
            return this == COMMIT || this == COMMIT_LATER ? LocalTransactionState.COMMIT_MESSAGE
                    : LocalTransactionState.ROLLBACK_MESSAGE;
        }

        boolean isLater() {
            return this == COMMIT_LATER || this == ROLLBACK_LATER;
        }
    }

    private final Ending ending;
    private final int legs;
    private final List<String> brokers;
    private volatile int leg;

    StoreScenario(Ending ending, int legs, String first, String second) {
        this.ending = ending;
        this.legs = legs;
        this.brokers = List.of(first, second);
    }

    @Override
    public String name() {
        return ending == Ending.STOP ? "store.stop" : "store.kill";
    }

    @Override
    public boolean disturbsOthers() {
        return true;
    }

    @Override
    public long secondsMax() {
        return 200;
    }

    /** What one run works with. */
    private final class Run {
        final TestBed bed;
        final Checks checks;
        final Path folder = Path.of(Main.environment("INTEROP_CLUSTER_DIR"), "broker-store");
        final StoreBook book = new StoreBook(folder);
        final String letters, batches, decided, delayed;
        final TransactionMQProducer decider;
        final BrokerAdmin admin;
        final List<Letter> committed = new ArrayList<>(), committedLater = new ArrayList<>(),
                delivered = new ArrayList<>(), sentBack = new ArrayList<>();
        StoreFiles files;
        byte[] log;

        Run(TestBed bed) throws Exception {
            this.bed = bed;
            this.checks = bed.checks();
            bed.cluster().stopBroker();
            bed.cluster().call("new-store");
            bed.cluster().call("start-broker", whose());
            letters = bed.createTopic("letters", QUEUES);
            batches = bed.createTopic("batches", 2);
            decided = bed.createTopic("decided", 2);
            delayed = bed.createTopic("delayed", 2);
            admin = new BrokerAdmin(bed.producer(), Main.environment("INTEROP_BROKER_ADDRESS"));
            decider = bed.configure(new TransactionMQProducer(bed.newName("deciders")));
            decider.setTransactionListener(new Decider());
            decider.start();
            bed.onClose(decider::shutdown);
        }

        String whose() {
            return brokers.get(leg % brokers.size());
        }

        int leg() {
            return leg;
        }

    }

    private final class Decider implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            var plan = Plan.valueOf(message.getUserProperty(PLAN_PROPERTY));
            return plan.isLater() ? LocalTransactionState.UNKNOW : plan.decision();
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            var plan = Plan.valueOf(message.getUserProperty(PLAN_PROPERTY));
            boolean open = plan.isLater() && message.getUserProperty(LEG_PROPERTY).equals(Integer.toString(leg));
            return open ? LocalTransactionState.UNKNOW : plan.decision();
        }
    }

    @Override
    public void run(TestBed bed) throws Exception {
        leg = 0;
        var run = new Run(bed);
        for (; leg < legs; leg++) {
            if (leg > 0) {
                bed.cluster().call("start-broker", run.whose());
                check(run);
            }
            if (leg < legs - 1) {
                write(run);
                run.book.learn(run.admin);
            }
            if (ending == Ending.KILL && leg < legs - 1) {
                await(run, () -> savedGroups(run, run.book.groups()), "consumer groups are on the disk");
            }
            if (ending == Ending.KILL && leg < legs - 1) {
                killInTheMiddle(run);
            } else {
                bed.cluster().stopBroker();
            }
            compareFiles(run);
        }
        leg = legs - 1; // for what is still asked while the clients shut down
        bed.cluster().call("start-broker", "cjmq");
    }

    // --- writing ---

    private void write(Run run) throws Exception {
        var prefix = "leg" + leg;
        run.bed.createTopic("topic-of-" + prefix, 1 + leg);
        var letters = Letter.mixed(run.letters, prefix, LETTERS);
        send(run, letters);
        sendBatches(run, prefix);
        runTransactions(run, prefix);
        commitOffsets(run, prefix);
        sendDelayed(run, prefix + "-short", DELAY_LEVEL_SHORT);
        sendBack(run, prefix);
        readOn(run, letters);
        await(run, () -> ids(run, run.decided).containsAll(idsOf(run.committed)), "what was committed is there");
        await(run, () -> ids(run, run.delayed).containsAll(idsOf(run.delivered)), "what was delayed is there");
        if (ending == Ending.KILL) {
            await(run, () -> savedOffsets(run, prefix).equals(offsetsOf(prefix)), "consumer offsets are on the disk");
        }
        sendDelayed(run, prefix + "-long", DELAY_LEVEL_LONG);
    }

    private static void await(Run run, Waiting.Condition condition, String fact) throws InterruptedException {
        run.checks.that(Waiting.until(condition, TestBed.PATIENT), run.whose() + ": " + fact,
                "not after " + TestBed.PATIENT);
    }

    private static void send(Run run, List<Letter> letters) throws Exception {
        var results = run.bed.sendAll(letters);
        for (int i = 0; i < letters.size(); i++) {
            run.book.acknowledge(StoreBook.Acknowledged.of(letters.get(i), results.get(i)));
        }
    }

    private static void sendBatches(Run run, String prefix) throws Exception {
        for (int i = 0; i < BATCHES; i++) {
            var letters = Letter.mixed(run.batches, prefix + "-batch" + i, LETTERS_PER_BATCH);
            var result = run.bed.producer().send(Arrays.asList(letters.stream().map(Letter::toMessage)
                    .toArray(Message[]::new)));
            var msgIds = result.getMsgId().split(",");
            var offsetMsgIds = result.getOffsetMsgId().split(",");
            for (int n = 0; n < letters.size(); n++) {
                run.book.acknowledge(new StoreBook.Acknowledged(letters.get(n), result.getMessageQueue().getQueueId(),
                        result.getQueueOffset() + n, msgIds[n], offsetMsgIds[n]));
            }
        }
    }

    private void runTransactions(Run run, String prefix) throws Exception {
        for (var plan : Plan.values()) {
            var letter = Letter.of(run.decided, prefix + "-" + plan, "t", "key-" + prefix + "-" + plan);
            var message = letter.toMessage();
            message.putUserProperty(PLAN_PROPERTY, plan.name());
            message.putUserProperty(LEG_PROPERTY, Integer.toString(leg));
            var result = run.decider.sendMessageInTransaction(message, null);
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                run.checks.fail("send of " + letter.id() + " answered " + result.getSendStatus());
            }
            if (plan == Plan.COMMIT) {
                run.committed.add(letter);
            } else if (plan == Plan.COMMIT_LATER) {
                run.committedLater.add(letter);
            }
        }
    }

    private void commitOffsets(Run run, String prefix) throws Exception {
        var group = run.bed.newName("group-of-" + prefix);
        run.admin.createGroup(group, leg + 3);
        for (var entry : offsetsOf(prefix).entrySet()) {
            run.admin.commitOffset(group, run.letters, entry.getKey(), entry.getValue());
            run.book.offsetCommitted(group, run.letters, entry.getKey(), entry.getValue());
        }
    }

    /** Different in every leg and queue, and below what has been sent. */
    private static Map<Integer, Long> offsetsOf(String prefix) {
        return IntStream.range(0, QUEUES).boxed()
                .collect(Collectors.toMap(queue -> queue, queue -> (long) (prefix.hashCode() + queue & 7)));
    }

    /** What the offset file has for the group of this leg. */
    private static Map<Integer, Long> savedOffsets(Run run, String prefix) throws Exception {
        var text = Files.readString(run.folder.resolve("config/consumerOffset.json")).replaceAll("[\\s\"]", "");
        var key = run.letters + "@" + run.bed.newName("group-of-" + prefix) + ":{";
        int from = text.indexOf(key) + key.length();
        var saved = new HashMap<Integer, Long>();
        for (var pair : text.substring(from, text.indexOf('}', from)).split(",")) {
            var parts = pair.split(":");
            saved.put(Integer.valueOf(parts[0]), Long.valueOf(parts[1]));
        }
        return saved;
    }

    /** CJMQ saves groups that came into being by first use once a second. */
    private static boolean savedGroups(Run run, Set<String> names) throws Exception {
        var text = Files.readString(run.folder.resolve("config/subscriptionGroup.json"));
        return names.stream().allMatch(name -> text.contains("\"" + name + "\""));
    }

    private static void sendDelayed(Run run, String prefix, int level) throws Exception {
        for (int i = 0; i < DELAYED; i++) {
            var letter = Letter.of(run.delayed, prefix + "-" + i, "t", "key-" + prefix);
            var message = letter.toMessage();
            message.setDelayTimeLevel(level);
            var result = run.bed.producer().send(message);
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                run.checks.fail("send of " + letter.id() + " answered " + result.getSendStatus());
            }
            run.delivered.add(letter);
        }
    }

    /** A consumer's message that failed lies in the retry topic of its group, in the end. */
    private void sendBack(Run run, String prefix) throws Exception {
        var group = run.bed.newName("group-of-" + prefix);
        var message = StoreBook.decode(run.admin.records(run.letters, 0, 0).get(leg));
        var retryTopic = "%RETRY%" + group;
        run.admin.api().consumerSendMessageBack(run.admin.address(), BROKER_NAME, message, group, DELAY_LEVEL_SHORT,
                TIMEOUT_MILLIS, SEND_BACK_RETRIES_MAX);
        await(run, () -> run.admin.maxOffset(retryTopic, 0) == 1, "what was sent back is in the retry topic");
        var retried = StoreBook.decode(run.admin.records(retryTopic, 0, 0).get(0));
        run.checks.that(Arrays.equals(message.getBody(), retried.getBody()) && retried.getReconsumeTimes() == 1
                && Letter.idOf(message).equals(Letter.idOf(retried)), run.whose() + ": it is what was sent back",
                retried.toString());
    }

    /** A consumer group goes on where it was under the other broker. */
    private void readOn(Run run, List<Letter> letters) throws Exception {
        var inbox = new Inbox();
        var group = run.bed.newName("readers");
        var consumer = run.bed.newPushConsumer(group, run.letters, "*");
        consumer.setPersistConsumerOffsetInterval(PERSIST_MILLIS);
        consumer.registerMessageListener(TestBed.collector("reader", inbox));
        consumer.start();
        inbox.awaitAll(letters.stream().map(Letter::id).toList(), TestBed.PATIENT);
        if (ending == Ending.STOP) {
            inbox.checkExactly(run.checks, "the group's consumer on " + run.whose(), letters);
        } else {
            inbox.checkContent(run.checks, "the group's consumer on " + run.whose(), letters);
        }
        for (int queue = 0; queue < QUEUES; queue++) {
            int id = queue;
            var end = OptionalLong.of(run.admin.maxOffset(run.letters, id));
            await(run, () -> run.admin.offset(group, run.letters, id).equals(end),
                    "its offset of queue " + id + " is committed");
            if (ending == Ending.STOP) {
                run.book.offsetCommitted(group, run.letters, id, end.getAsLong());
            }
        }
        consumer.shutdown();
    }

    // --- the end of a leg ---

    private void killInTheMiddle(Run run) throws Exception {
        var sent = ConcurrentHashMap.<String>newKeySet();
        var prefix = "traffic" + leg;
        var sender = new Thread(() -> {
            try {
                for (int i = 0;; i++) {
                    for (var letter : Letter.mixed(run.letters, prefix + "-" + i, QUEUES)) {
                        var result = run.bed.producer().send(letter.toMessage(), TIMEOUT_MILLIS / 5);
                        if (result.getSendStatus() == SendStatus.SEND_OK) {
                            run.book.acknowledge(StoreBook.Acknowledged.of(letter, result));
                            sent.add(letter.id());
                        }
                    }
                }
            } catch (Exception e) {
                // The broker is gone: this is the end that was asked for.
            }
        }, prefix);
        sender.start();
        boolean flowing = Waiting.until(() -> sent.size() >= TRAFFIC, TestBed.PATIENT);
        run.bed.cluster().killBroker();
        sender.join();
        run.checks.that(flowing, run.whose() + " was killed while it took messages", sent.size() + " were sent");
    }

    /** What was in the files before is there still; then this state becomes the one to compare with. */
    private static void compareFiles(Run run) throws Exception {
        var now = StoreFiles.read(run.folder);
        if (run.files != null) {
            var changes = run.files.changesIn(now);
            run.checks.that(changes.isEmpty(), run.whose() + " left the entries of " + run.files.queueCount()
                    + " queues as they were", Inbox.some(changes));
            var difference = StoreFiles.difference(run.log, now.log(run.files.logEnd()));
            run.checks.that(difference.isEmpty(), run.whose() + " left the " + run.log.length + " bytes of the log",
                    difference);
        }
        run.files = now;
        run.log = now.log(now.logEnd());
        run.checks.that(now.logFileCount() >= (run.leg() > 1 ? LOG_FILES_MIN : 1), run.whose() + " leaves " + now.logFileCount() + " log files, " + now.logEnd() + " bytes", "fewer than expected: the test does not show what it should");
    }

    // --- the beginning of a leg ---

    private void check(Run run) throws Exception {
        await(run, () -> !run.admin.topics().isEmpty()
                && run.bed.producer().fetchPublishMessageQueues(run.letters).size() == QUEUES, "it serves");
        run.book.check(run.checks, run.bed, run.admin, run.whose());
        await(run, () -> ids(run, run.decided).containsAll(idsOf(run.committedLater)),
                "transactions that the other left open were asked about and committed");
        run.committed.addAll(run.committedLater);
        run.committedLater.clear();
        if (ending == Ending.STOP || !wasOnApache()) {
            checkSet(run, run.decided, run.committed, "what was committed, once, and nothing else");
        } else {
            checkNoStrangers(run);
        }
        await(run, () -> ids(run, run.delayed).containsAll(idsOf(run.delivered)),
                "delayed messages that were under way have arrived");
        if (ending == Ending.STOP) {
            checkSet(run, run.delayed, run.delivered, "each delayed message once");
        }
    }

    /**
     * The original notes the half messages that it has appended again only every few seconds. When it is killed, it
     * asks about some of them twice itself, and so does whoever takes over.
     */
    private boolean wasOnApache() {
        return IntStream.range(0, leg).anyMatch(earlier -> brokers.get(earlier % brokers.size()).equals("apache"));
    }

    private static void checkNoStrangers(Run run) throws Exception {
        var expected = idsOf(run.committed);
        var strangers = ids(run, run.decided).stream().filter(id -> !expected.contains(id)).toList();
        run.checks.that(strangers.isEmpty(), run.whose() + " has nothing that was rolled back",
                Inbox.some(strangers));
    }

    private static void checkSet(Run run, String topic, List<Letter> expected, String fact) throws Exception {
        var found = ids(run, topic);
        run.checks.equal(idsOf(expected).stream().sorted().toList(), found.stream().sorted().toList(),
                run.whose() + " has " + fact);
    }

    private static List<String> idsOf(List<Letter> letters) {
        return letters.stream().map(Letter::id).toList();
    }

    private static List<String> ids(Run run, String topic) throws Exception {
        var ids = new ArrayList<String>();
        for (int queue = 0; queue < 2; queue++) {
            for (var record : run.admin.records(topic, queue, 0)) {
                ids.add(Letter.idOf(StoreBook.decode(record)));
            }
        }
        return ids;
    }
}
