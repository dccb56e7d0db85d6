package cjmq.interop;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A slave follows a master that is another program: the same log, byte for byte, and queues, topics, groups, offsets;
 * through restarts and kills of either side; consumers read from it while the master is away; and a SYNC_MASTER says
 * what it knows of it.
 */
final class ReplicationScenario implements Scenario {
    /** As run.sh sets it. */
    private static final int LOG_FILE_BYTES = 1 << 20;
    private static final int QUEUES = 4;
    private static final int LETTERS = 48;
    private static final int LETTERS_PER_BATCH = 8;
    private static final int DELAY_LEVEL = 1;
    /** A slave asks for tables every 10 s, and reconnects after 5 s. */
    private static final java.time.Duration SYNC = TestBed.PATIENT;
    private static final String ASYNC = "brokerRole=ASYNC_MASTER", SYNC_MASTER = "brokerRole=SYNC_MASTER";

    private final String master, slave, registry;

    ReplicationScenario(String master, String slave, String registry) {
        this.master = master;
        this.slave = slave;
        this.registry = registry;
    }

    @Override
    public String name() {
        return "replication." + master + "-" + slave;
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
        final Path masterFolder = folder("broker-store"), slaveFolder = folder("slave-store");
        final String topic;
        final List<Letter> sent = new ArrayList<>();
        final TransactionMQProducer decider;
        final BrokerAdmin masterAdmin, slaveAdmin;

        Run(TestBed bed) throws Exception {
            this.bed = bed;
            this.checks = bed.checks();
            topic = bed.createTopic("letters", QUEUES);
            masterAdmin = new BrokerAdmin(bed.producer(), Main.environment("INTEROP_BROKER_ADDRESS"));
            slaveAdmin = new BrokerAdmin(bed.producer(), Main.environment("INTEROP_SLAVE_ADDRESS"));
            decider = bed.configure(new TransactionMQProducer(bed.newName("deciders")));
            decider.setTransactionListener(new Committer());
            decider.start();
            bed.onClose(decider::shutdown);
        }

        private static Path folder(String name) {
            return Path.of(Main.environment("INTEROP_CLUSTER_DIR"), name);
        }

        void await(Waiting.Condition condition, String fact) throws InterruptedException {
            checks.that(Waiting.until(condition, SYNC), fact, "not after " + SYNC);
        }
    }

    private static final class Committer implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var cluster = bed.cluster();
        cluster.stopBroker();
        cluster.call("stop-slave");
        cluster.call("new-store");
        cluster.call("stop-registry");
        cluster.call("start-registry", registry);
        if (master.equals("cjmq")) {
            writeDelayOffsets();
        }
        cluster.call("start-broker", master, ASYNC);
        cluster.call("start-slave", slave);
        var run = new Run(bed);

        write(run, "first");
        checkSame(run, "an empty slave");
        checkTables(run);
        cluster.call("kill-slave");
        write(run, "slave-away");
        cluster.call("start-slave");
        checkSame(run, "a slave that was killed");
        cluster.killBroker();
        cluster.call("start-broker", master, SYNC_MASTER);
        run.await(() -> statuses(run, "master-back-" + System.nanoTime(), 1).equals(Set.of(SendStatus.SEND_OK)),
                "SEND_OK when the master is back");
        write(run, "master-was-away");
        checkSame(run, "the slave of a master that was killed");
        checkSynchronous(run);
        checkSame(run, "the slave of a SYNC_MASTER");
        readFromSlave(run);
        cluster.call("stop-slave");
        checkFiles(run, "after all");
        if (slave.equals("cjmq")) {
            takeOver(run);
        } else {
            cluster.startBroker();
        }
    }

    /** As a store has them that the original had before. */
    private static void writeDelayOffsets() throws Exception {
        var folder = Files.createDirectories(Run.folder("broker-store").resolve("config"));
        Files.writeString(folder.resolve("delayOffset.json"), "{\n\t\"offsetTable\":{1:0,3:0\n\t}\n}");
    }

    // --- writing ---

    private void write(Run run, String prefix) throws Exception {
        run.bed.createTopic("topic-of-" + prefix, 2);
        var letters = Letter.mixed(run.topic, prefix, LETTERS);
        run.bed.sendAll(letters);
        run.sent.addAll(letters);
        var batch = Letter.mixed(run.topic, prefix + "-batch", LETTERS_PER_BATCH);
        run.bed.producer().send(Arrays.asList(batch.stream().map(Letter::toMessage).toArray(Message[]::new)));
        run.sent.addAll(batch);
        var committed = Letter.of(run.topic, prefix + "-committed", "t", "key-" + prefix);
        run.decider.sendMessageInTransaction(committed.toMessage(), null);
        run.sent.add(committed);
        var delayed = Letter.of(run.topic, prefix + "-delayed", "t", "key-" + prefix);
        var message = delayed.toMessage();
        message.setDelayTimeLevel(DELAY_LEVEL);
        run.bed.producer().send(message);
        run.sent.add(delayed);
        var group = run.bed.newName("group-of-" + prefix);
        run.masterAdmin.createGroup(group, 7);
        for (int queue = 0; queue < QUEUES; queue++) {
            run.masterAdmin.commitOffset(group, run.topic, queue, queue + prefix.length());
        }
        run.await(() -> messageCount(run.masterAdmin, run.topic) >= run.sent.size(), prefix + ": the master has all");
    }

    private static long messageCount(BrokerAdmin admin, String topic) throws Exception {
        long count = 0;
        for (int queue = 0; queue < QUEUES; queue++) {
            count += admin.maxOffset(topic, queue);
        }
        return count;
    }

    // --- what must be the same ---

    /** Waits until the slave has what the master has, then compares what lies on the disk. */
    private static void checkSame(Run run, String who) throws Exception {
        run.await(() -> run.slaveAdmin.logEnd() == run.masterAdmin.logEnd()
                && messageCount(run.slaveAdmin, run.topic) == messageCount(run.masterAdmin, run.topic),
                who + " has what the master has");
        checkFiles(run, who);
    }

    private static void checkFiles(Run run, String who) throws Exception {
        var theirs = StoreFiles.read(run.masterFolder);
        var own = StoreFiles.read(run.slaveFolder);
        run.checks.equal("", StoreFiles.differenceOfRecords(theirs.log(theirs.logEnd()), own.log(own.logEnd()),
                LOG_FILE_BYTES), who + ": the logs are the same, " + theirs.logEnd() + " bytes");
        var changes = theirs.changesIn(own);
        changes.addAll(own.changesIn(theirs));
        run.checks.that(changes.isEmpty(), who + ": the entries of " + theirs.queueCount() + " queues are the same",
                Inbox.some(changes));
    }

    private static void checkTables(Run run) throws Exception {
        run.await(() -> run.slaveAdmin.topics().entrySet().containsAll(run.masterAdmin.topics().entrySet()),
                "the slave has the master's topics");
        run.await(() -> run.slaveAdmin.groups().entrySet().containsAll(run.masterAdmin.groups().entrySet()),
                "the slave has the master's consumer groups");
        var group = run.bed.newName("group-of-first");
        for (int queue = 0; queue < QUEUES; queue++) {
            int id = queue;
            run.await(() -> run.slaveAdmin.offset(group, run.topic, id).equals(
                    OptionalLong.of(id + "first".length())), "the slave has the offset of queue " + queue);
        }
        var delayOffsets = run.masterFolder.resolve("config/delayOffset.json");
        if (Files.exists(delayOffsets)) {
            run.await(() -> compact(delayOffsets).equals(compact(run.slaveFolder.resolve("config/delayOffset.json"))),
                    "the slave has the master's progress in delayed messages");
        }
    }

    private static String compact(Path json) throws Exception {
        return Files.readString(json).replaceAll("[\\s\"]", "");
    }

    // --- synchronous ---

    private void checkSynchronous(Run run) throws Exception {
        var cluster = run.bed.cluster();
        run.checks.equal(Set.of(SendStatus.SEND_OK), statuses(run, "with-slave", 8), "SEND_OK with the slave");
        cluster.call("pause-slave");
        run.checks.equal(Set.of(SendStatus.FLUSH_SLAVE_TIMEOUT), statuses(run, "paused-slave", 1),
                "FLUSH_SLAVE_TIMEOUT while the slave says nothing");
        cluster.call("resume-slave");
        run.await(() -> statuses(run, "resumed-" + System.nanoTime(), 1).equals(Set.of(SendStatus.SEND_OK)),
                "SEND_OK when it goes on");
        cluster.call("stop-slave");
        run.await(() -> statuses(run, "no-slave-" + System.nanoTime(), 1).equals(
                Set.of(SendStatus.SLAVE_NOT_AVAILABLE)), "SLAVE_NOT_AVAILABLE without it");
        cluster.call("start-slave");
        run.await(() -> statuses(run, "slave-back-" + System.nanoTime(), 1).equals(Set.of(SendStatus.SEND_OK)),
                "SEND_OK when it is back");
    }

    private static Set<SendStatus> statuses(Run run, String prefix, int count) throws Exception {
        var statuses = new TreeSet<SendStatus>();
        for (int i = 0; i < count; i++) {
            var letter = Letter.of(run.topic, prefix + "-" + i, "t", "key-" + prefix);
            statuses.add(run.bed.producer().send(letter.toMessage(), TestBed.PATIENT.toMillis()).getSendStatus());
            run.sent.add(letter); // each of these answers means that it is stored
        }
        return statuses;
    }

    // --- reading from the slave ---

    private void readFromSlave(Run run) throws Exception {
        var group = run.bed.newName("readers");
        run.await(() -> run.slaveAdmin.topics().keySet().containsAll(run.masterAdmin.topics().keySet()),
                "the slave has the newest topics");
        if (slave.equals("cjmq")) {
            var delivered = DELAY_LEVEL + ":" + run.masterAdmin.maxOffset("SCHEDULE_TOPIC_XXXX", DELAY_LEVEL - 1);
            run.await(() -> compact(run.slaveFolder.resolve("config/delayOffset.json")).matches(
                    ".*[{,]" + delivered + "[,}].*"), "the slave knows that all delayed messages are delivered");
        }
        run.bed.cluster().stopBroker();
        var inbox = new Inbox();
        var consumer = run.bed.collect(group, run.topic, "*", "reader", inbox);
        inbox.awaitDistinct(run.sent.size(), SYNC);
        if (master.equals("apache")) {
            // Killed, it delivers a delayed message once more.
            inbox.checkContent(run.checks, "a consumer that finds the slave only", run.sent);
        } else {
            inbox.checkExactly(run.checks, "a consumer that finds the slave only", run.sent);
        }
        var stored = inbox.deliveries().stream().map(delivery -> delivery.message().getStoreHost().toString())
                .collect(Collectors.toSet());
        run.checks.equal(Set.of("/" + run.masterAdmin.address()), stored, "they name the master as where they lie");
        consumer.shutdown();
    }

    // --- the slave becomes the master ---

    /** How a cluster of the original moves to ours: what was delivered late stays delivered. */
    private static void takeOver(Run run) throws Exception {
        run.bed.cluster().call("start-slave", "cjmq", "brokerId=0", ASYNC);
        long before = messageCount(run.slaveAdmin, run.topic);
        int sentBefore = run.sent.size();
        run.await(() -> statuses(run, "taken-over-" + System.nanoTime(), 1).equals(Set.of(SendStatus.SEND_OK)),
                "the former slave takes messages as master");
        var delayed = Letter.of(run.topic, "taken-over-delayed", "t", "key-taken-over");
        var message = delayed.toMessage();
        message.setDelayTimeLevel(DELAY_LEVEL);
        run.bed.producer().send(message);
        run.sent.add(delayed);
        long expected = before + run.sent.size() - sentBefore;
        run.await(() -> messageCount(run.slaveAdmin, run.topic) >= expected, "it delivers a new delayed message");
        run.checks.equal(expected, messageCount(run.slaveAdmin, run.topic), "and none of the old ones again");
    }
}
