package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

/** What an admin asks: a topic is created, messages are found by either id, by key and by time; offsets of a queue. */
final class QueryScenario implements Scenario {
    private static final int LETTERS = 12;
    private static final int QUEUES = 3;
    private static final int RESULTS_MAX = 32;
    /** The code of the exception by which the client reports an empty result. */
    private static final int NO_MESSAGE = 208;
    /** The key index keeps times as whole seconds after its own begin, rounded down. */
    private static final long INDEX_TIME_STEP_MILLIS = 1000;
    private static final String SHARED_KEY = "order-4711";

    @Override
    public String name() {
        return "query";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", QUEUES);
        checks.equal(QUEUES, bed.producer().fetchPublishMessageQueues(topic).size(),
                "a created topic has the queues asked for");
        var letters = new ArrayList<Letter>();
        for (int i = 0; i < LETTERS; i++) {
            var keys = i % 3 == 0 ? SHARED_KEY + " own-" + i : "own-" + i;
            letters.add(Letter.of(topic, "query-" + i, "t", keys));
        }
        long begin = System.currentTimeMillis() - INDEX_TIME_STEP_MILLIS;
        var results = sendApart(bed, letters);
        long end = System.currentTimeMillis();
        var stored = checkByOffsetId(bed, letters, results);
        checkByUniqueId(bed, letters, results);
        checkByKey(bed, topic, letters, begin, end);
        checkByTime(bed, letters, results, stored);
    }

    /** All to the same queue, each in a millisecond of its own. */
    private static List<SendResult> sendApart(TestBed bed, List<Letter> letters) throws Exception {
        var queue = bed.producer().fetchPublishMessageQueues(letters.get(0).topic()).get(0);
        var results = new ArrayList<SendResult>();
        for (var letter : letters) {
            results.add(bed.producer().send(letter.toMessage(), queue));
            Waiting.untilClockPasses(System.currentTimeMillis());
        }
        return results;
    }

    private static List<MessageExt> checkByOffsetId(TestBed bed, List<Letter> letters, List<SendResult> results)
            throws Exception {
        var stored = new ArrayList<MessageExt>();
        var differences = new ArrayList<String>();
        for (int i = 0; i < letters.size(); i++) {
            var message = bed.producer().viewMessage(letters.get(i).topic(), results.get(i).getOffsetMsgId());
            stored.add(message);
            var difference = letters.get(i).difference(message);
            if (difference != null) {
                differences.add(difference);
            }
            if (message.getQueueOffset() != results.get(i).getQueueOffset()) {
                differences.add(letters.get(i).id() + ": queue offset " + message.getQueueOffset());
            }
        }
        bed.checks().that(differences.isEmpty(), "each message is found by its offset id", Inbox.some(differences));
        return stored;
    }

    /** The index is built behind the log, so the newest may take a moment. */
    private static void checkByUniqueId(TestBed bed, List<Letter> letters, List<SendResult> results) throws Exception {
        var missing = new ArrayList<String>();
        for (int i = 0; i < letters.size(); i++) {
            var letter = letters.get(i);
            var id = results.get(i).getMsgId();
            boolean found = Waiting.until(() -> {
                var message = bed.producer().viewMessage(letter.topic(), id);
                return message != null && letter.difference(message) == null;
            }, TestBed.SOON);
            if (!found) {
                missing.add(letter.id());
            }
        }
        bed.checks().that(missing.isEmpty(), "each message is found by its unique id", Inbox.some(missing));
    }

    private static void checkByKey(TestBed bed, String topic, List<Letter> letters, long begin, long end)
            throws Exception {
        var checks = bed.checks();
        var expected = letters.stream().filter(letter -> letter.key().startsWith(SHARED_KEY)).map(Letter::id)
                .collect(Collectors.toCollection(TreeSet::new));
        var found = new TreeSet<String>();
        Waiting.until(() -> {
            found.clear();
            found.addAll(idsByKey(bed, topic, SHARED_KEY, RESULTS_MAX, begin, end));
            return found.equals(expected);
        }, TestBed.SOON);
        checks.equal(expected, found, "a key that several share finds each of them");
        checks.equal(List.of("query-1"), idsByKey(bed, topic, "own-1", RESULTS_MAX, begin, end),
                "a key that one has finds that one");
        checks.equal(2, idsByKey(bed, topic, SHARED_KEY, 2, begin, end).size(), "no more than asked for are found");
        checks.equal(List.of(), idsByKey(bed, topic, "nobody", RESULTS_MAX, begin, end),
                "a key that nobody has finds nothing");
        checks.equal(List.of(), idsByKey(bed, topic, SHARED_KEY, RESULTS_MAX, begin - 20_000, begin - 10_000),
                "a time range before the messages finds nothing");
    }

    private static List<String> idsByKey(TestBed bed, String topic, String key, int max, long begin, long end)
            throws Exception {
        try {
            return bed.producer().queryMessage(topic, key, max, begin, end).getMessageList().stream()
                    .map(Letter::idOf).toList();
        } catch (MQClientException e) {
            if (e.getResponseCode() == NO_MESSAGE) {
                return List.of();
            }
            throw e;
        }
    }

    private static void checkByTime(TestBed bed, List<Letter> letters, List<SendResult> results,
            List<MessageExt> stored) throws Exception {
        var checks = bed.checks();
        var producer = bed.producer();
        var queue = results.get(0).getMessageQueue();
        var wrong = new ArrayList<String>();
        for (int i = 0; i < letters.size(); i++) {
            long found = producer.searchOffset(queue, stored.get(i).getStoreTimestamp());
            if (found != results.get(i).getQueueOffset()) {
                wrong.add("message " + i + " has offset " + results.get(i).getQueueOffset() + ", found " + found);
            }
        }
        checks.that(wrong.isEmpty(), "the time of each message finds its offset", Inbox.some(wrong));
        checks.equal(0L, producer.searchOffset(queue, 0), "a time before all messages finds the first");
        checks.equal(0L, producer.minOffset(queue), "min offset");
        checks.equal((long) LETTERS, producer.maxOffset(queue), "max offset");
        checks.equal(stored.get(0).getStoreTimestamp(), producer.earliestMsgStoreTime(queue),
                "earliest store time is that of the first message");
    }
}
