package cjmq.interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;

/**
 * Messages of all sizes sent in one of the four manners, to a topic that the first send creates, arrive as sent and
 * where their acknowledgement said.
 */
final class SendScenario implements Scenario {
    private static final int LETTERS = 40;
    private static final int LETTERS_PER_BATCH = 8;

    /** Sends the letters and returns what the acknowledgements said; empty where there are none. */
    interface Manner {
        List<Acknowledged> send(TestBed bed, List<Letter> letters) throws Exception;
    }

    /** Where the broker said that it put the letter. */
    record Acknowledged(String letterId, SendStatus status, Optional<String> msgId, String offsetMsgId, int queueId,
            long queueOffset) {
        static Acknowledged of(Letter letter, SendResult result) {
            return new Acknowledged(letter.id(), result.getSendStatus(), Optional.of(result.getMsgId()),
                    result.getOffsetMsgId(), result.getMessageQueue().getQueueId(), result.getQueueOffset());
        }

        /**
         * A batch is acknowledged as a whole: comma-separated offset ids, and the offset of its first message.
         * Its message ids are left out: the 5.x client names those of the parts, but sends along one for the batch,
         * which the original stores with every part.
         */
        static Stream<Acknowledged> ofBatch(List<Letter> batch, SendResult result) {
            var offsetMsgIds = result.getOffsetMsgId().split(",");
            if (offsetMsgIds.length != batch.size()) {
                throw new IllegalStateException("a batch of " + batch.size() + " was acknowledged with "
                        + offsetMsgIds.length + " offset ids");
            }
            return IntStream.range(0, batch.size())
                    .mapToObj(i -> new Acknowledged(batch.get(i).id(), result.getSendStatus(), Optional.empty(),
                            offsetMsgIds[i], result.getMessageQueue().getQueueId(), result.getQueueOffset() + i));
        }

        /** What the acknowledgement would have been for a message that was found. */
        Acknowledged asFound(MessageClientExt message) {
            return new Acknowledged(letterId, SendStatus.SEND_OK, msgId.map(any -> message.getMsgId()),
                    message.getOffsetMsgId(), message.getQueueId(), message.getQueueOffset());
        }
    }

    private final String name;
    private final Manner manner;

    SendScenario(String name, Manner manner) {
        this.name = name;
        this.manner = manner;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var topic = bed.newName("created-by-sending");
        var letters = Letter.mixed(topic, name, LETTERS);
        var acknowledged = manner.send(bed, letters);
        if (!acknowledged.isEmpty()) {
            checkAcknowledgements(bed.checks(), acknowledged);
        }
        // A consumer that starts without a route would look again only at its next rebalance, 20 s later.
        bed.checks().that(Waiting.until(() -> !bed.producer().fetchPublishMessageQueues(topic).isEmpty(), TestBed.SOON),
                "the topic that the first send created has a route", "it has none after " + TestBed.SOON);
        var inbox = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "reader", inbox);
        inbox.awaitDistinct(LETTERS, TestBed.PATIENT);
        inbox.checkExactly(bed.checks(), "the consumer", letters);
        checkPlaces(bed.checks(), inbox, acknowledged);
    }

    private static void checkAcknowledgements(Checks checks, List<Acknowledged> acknowledged) {
        checks.equal(LETTERS, acknowledged.size(), "each message was acknowledged");
        checks.that(acknowledged.stream().allMatch(a -> a.status() == SendStatus.SEND_OK), "each with SEND_OK",
                acknowledged.toString());
        checks.equal(LETTERS, new HashSet<>(acknowledged.stream().map(Acknowledged::offsetMsgId).toList()).size(),
                "each with an offset id of its own");
        var offsetsByQueue = new HashMap<Integer, List<Long>>();
        acknowledged.forEach(a -> offsetsByQueue.computeIfAbsent(a.queueId(), q -> new ArrayList<>())
                .add(a.queueOffset()));
        offsetsByQueue.values().forEach(offsets -> offsets.sort(null));
        boolean gapless = offsetsByQueue.values().stream()
                .allMatch(offsets -> offsets.equals(LongStream.range(0, offsets.size()).boxed().toList()));
        checks.that(gapless, "queue offsets count from 0 without gaps", offsetsByQueue.toString());
    }

    /** Each message is found at the queue, offset and ids that its acknowledgement named. */
    private static void checkPlaces(Checks checks, Inbox inbox, List<Acknowledged> acknowledged) {
        if (acknowledged.isEmpty()) {
            return;
        }
        var found = new HashMap<String, MessageClientExt>();
        inbox.deliveries().forEach(d -> found.put(d.letterId(), (MessageClientExt) d.message()));
        var elsewhere = acknowledged.stream().filter(a -> found.containsKey(a.letterId()))
                .filter(a -> !a.equals(a.asFound(found.get(a.letterId()))))
                .map(a -> "acknowledged " + a + ", found " + a.asFound(found.get(a.letterId()))).toList();
        checks.that(elsewhere.isEmpty(), "each message is where its acknowledgement said", Inbox.some(elsewhere));
    }

    static List<Acknowledged> sendSync(TestBed bed, List<Letter> letters) throws Exception {
        var results = bed.sendAll(letters);
        return IntStream.range(0, letters.size())
                .mapToObj(i -> Acknowledged.of(letters.get(i), results.get(i))).toList();
    }

    static List<Acknowledged> sendAsync(TestBed bed, List<Letter> letters) throws Exception {
        var answers = new ArrayList<CompletableFuture<SendResult>>();
        for (var letter : letters) {
            var answer = new CompletableFuture<SendResult>();
            answers.add(answer);
            bed.producer().send(letter.toMessage(), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    answer.complete(result);
                }

                @Override
                public void onException(Throwable failure) {
                    answer.completeExceptionally(failure);
                }
            });
        }
        var acknowledged = new ArrayList<Acknowledged>();
        for (int i = 0; i < letters.size(); i++) {
            var result = answers.get(i).get(TestBed.PATIENT.toSeconds(), TimeUnit.SECONDS);
            acknowledged.add(Acknowledged.of(letters.get(i), result));
        }
        return acknowledged;
    }

    static List<Acknowledged> sendOneway(TestBed bed, List<Letter> letters) throws Exception {
        for (var letter : letters) {
            bed.producer().sendOneway(letter.toMessage());
        }
        return List.of();
    }

    static List<Acknowledged> sendBatch(TestBed bed, List<Letter> letters) throws Exception {
        var acknowledged = new ArrayList<Acknowledged>();
        for (int first = 0; first < letters.size(); first += LETTERS_PER_BATCH) {
            var batch = letters.subList(first, first + LETTERS_PER_BATCH);
            var messages = batch.stream().map(Letter::toMessage).toArray(Message[]::new);
            Acknowledged.ofBatch(batch, bed.producer().send(Arrays.asList(messages))).forEach(acknowledged::add);
        }
        return acknowledged;
    }
}
