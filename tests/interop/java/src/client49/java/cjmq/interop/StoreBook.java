package cjmq.interop;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;

/**
 * What a store must hold: everything that one broker delivered or acknowledged, kept to be compared with what another
 * program makes of the same folder. Used by one thread, but for `acknowledge`.
 */
final class StoreBook {
    private static final int QUERY_MAX = 32;

    /** A message that was acknowledged, and where. */
    record Acknowledged(Letter letter, int queueId, long queueOffset, String msgId, String offsetMsgId) {
        static Acknowledged of(Letter letter, SendResult result) {
            return new Acknowledged(letter, result.getMessageQueue().getQueueId(), result.getQueueOffset(),
                    result.getMsgId(), result.getOffsetMsgId());
        }
    }

    /** A consumer's progress in one queue. */
    private record Progress(String group, String topic, int queueId) {
    }

    private final Path storeFolder;
    private final Map<String, List<String>> digestsByQueue = new TreeMap<>();
    private final List<Acknowledged> acknowledged = new ArrayList<>();
    private final Map<Progress, Long> offsets = new java.util.LinkedHashMap<>();
    private Map<String, TopicConfig> topics = Map.of();
    private Map<String, SubscriptionGroupConfig> groups = Map.of();

    StoreBook(Path storeFolder) {
        this.storeFolder = storeFolder;
    }

    synchronized void acknowledge(Acknowledged one) {
        acknowledged.add(one);
    }

    synchronized List<Acknowledged> acknowledged() {
        return List.copyOf(acknowledged);
    }

    void offsetCommitted(String group, String topic, int queueId, long offset) {
        offsets.put(new Progress(group, topic, queueId), offset);
    }

    /**
     * Notes all that the broker has: topics, groups, and each queue's messages as delivered. The original has internal
     * queues that belong to no topic and cannot be read; their files are compared elsewhere.
     */
    void learn(BrokerAdmin admin) throws Exception {
        topics = admin.topics();
        groups = admin.groups();
        for (var queue : StoreFiles.queueNames(storeFolder)) {
            if (!topics.containsKey(topicOf(queue))) {
                continue;
            }
            var digests = digestsByQueue.computeIfAbsent(queue, any -> new ArrayList<>());
            for (var record : admin.records(topicOf(queue), queueOf(queue), digests.size())) {
                digests.add(digest(record));
            }
        }
    }

    /** The consumer groups that were learnt. */
    Set<String> groups() {
        return groups.keySet();
    }

    private static String topicOf(String queue) {
        return queue.substring(0, queue.lastIndexOf('/'));
    }

    private static int queueOf(String queue) {
        return Integer.parseInt(queue.substring(queue.lastIndexOf('/') + 1));
    }

    private static String digest(byte[] record) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(record));
    }

    // --- checks ---

    /** @param times for the facts: which broker is asked */
    void check(Checks checks, TestBed bed, BrokerAdmin admin, String whose) throws Exception {
        checkTables(checks, admin, whose);
        checkRecords(checks, admin, whose);
        checkPlaces(checks, admin, whose);
        checkOffsets(checks, admin, whose);
        checkQueries(checks, bed, whose);
    }

    private void checkTables(Checks checks, BrokerAdmin admin, String whose) throws Exception {
        checkTable(checks, topics, admin.topics(), whose + " has every topic as it was");
        checkTable(checks, groups, admin.groups(), whose + " has every consumer group as it was");
    }

    private static <T> void checkTable(Checks checks, Map<String, T> expected, Map<String, T> found, String fact) {
        var wrong = expected.entrySet().stream()
                .filter(entry -> !Objects.equals(entry.getValue(), found.get(entry.getKey())))
                .map(entry -> "expected " + entry.getValue() + ", found " + found.get(entry.getKey())).toList();
        checks.that(!expected.isEmpty() && wrong.isEmpty(), fact + " (" + expected.size() + ")", Inbox.some(wrong));
    }

    private void checkRecords(Checks checks, BrokerAdmin admin, String whose) throws Exception {
        var wrong = new ArrayList<String>();
        long compared = 0;
        for (var entry : digestsByQueue.entrySet()) {
            var records = admin.records(topicOf(entry.getKey()), queueOf(entry.getKey()), 0);
            var expected = entry.getValue();
            compared += expected.size();
            for (int i = 0; i < expected.size(); i++) {
                if (i >= records.size()) {
                    wrong.add(entry.getKey() + ": " + records.size() + " of " + expected.size() + " messages");
                    break;
                }
                if (!digest(records.get(i)).equals(expected.get(i))) {
                    wrong.add(entry.getKey() + " at " + i);
                }
            }
        }
        checks.that(compared > 0 && wrong.isEmpty(), whose + " delivers, byte for byte, what was delivered before, "
                + compared + " messages of " + digestsByQueue.size() + " queues", Inbox.some(wrong));
    }

    /** Also those that nobody had read when the broker went. */
    private void checkPlaces(Checks checks, BrokerAdmin admin, String whose) throws Exception {
        var wrong = new ArrayList<String>();
        var byQueue = new TreeMap<String, List<byte[]>>();
        for (var one : acknowledged()) {
            var queue = one.letter().topic() + "/" + one.queueId();
            if (!byQueue.containsKey(queue)) {
                byQueue.put(queue, admin.records(one.letter().topic(), one.queueId(), 0));
            }
            var records = byQueue.get(queue);
            if (one.queueOffset() >= records.size()) {
                wrong.add(one.letter().id() + " is not there");
                continue;
            }
            var message = decode(records.get(Math.toIntExact(one.queueOffset())));
            var difference = one.letter().difference(message);
            if (difference != null || message.getQueueOffset() != one.queueOffset()
                    || !message.getMsgId().equals(one.offsetMsgId())) {
                wrong.add(one.letter().id() + ": " + difference + ", id " + message.getMsgId() + " was "
                        + one.offsetMsgId());
            }
        }
        checks.that(!acknowledged.isEmpty() && wrong.isEmpty(), whose + " has each of " + acknowledged.size()
                + " acknowledged messages at its place", Inbox.some(wrong));
    }

    /** The id of what this returns is the offset id: where it lies. */
    static MessageExt decode(byte[] record) {
        return MessageDecoder.decode(ByteBuffer.wrap(record));
    }

    private void checkOffsets(Checks checks, BrokerAdmin admin, String whose) throws Exception {
        var wrong = new ArrayList<String>();
        for (var entry : offsets.entrySet()) {
            var progress = entry.getKey();
            var found = admin.offset(progress.group(), progress.topic(), progress.queueId());
            if (!found.equals(OptionalLong.of(entry.getValue()))) {
                wrong.add(progress + ": expected " + entry.getValue() + ", found " + found);
            }
        }
        checks.that(!offsets.isEmpty() && wrong.isEmpty(), whose + " has each of " + offsets.size()
                + " committed offsets", Inbox.some(wrong));
    }

    private void checkQueries(Checks checks, TestBed bed, String whose) throws Exception {
        var lost = new ArrayList<String>();
        for (var one : acknowledged()) {
            var letter = one.letter();
            var byOffsetId = bed.producer().viewMessage(letter.topic(), one.offsetMsgId());
            if (letter.difference(byOffsetId) != null) {
                lost.add(letter.id() + " by its offset id: " + letter.difference(byOffsetId));
            }
            // The index is built behind the log.
            if (!Waiting.until(() -> isFoundByKeys(bed, one), TestBed.SOON)) {
                lost.add(letter.id() + " by its key or its unique id");
            }
            if (lost.size() > 3) {
                break;
            }
        }
        checks.that(lost.isEmpty(), whose + " finds each of them by offset id, unique id and key", Inbox.some(lost));
    }

    private static boolean isFoundByKeys(TestBed bed, Acknowledged one) throws Exception {
        var letter = one.letter();
        return letter.difference(bed.producer().viewMessage(letter.topic(), one.msgId())) == null
                && bed.producer().queryMessage(letter.topic(), letter.key(), QUERY_MAX, 0, Long.MAX_VALUE)
                        .getMessageList().stream().anyMatch(found -> letter.id().equals(Letter.idOf(found)));
    }
}
