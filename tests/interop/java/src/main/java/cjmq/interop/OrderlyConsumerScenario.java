package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;

/**
 * Orderly consumers get each queue in the order of sending and one message at a time, also while a second consumer
 * joins and takes half of the queues, and also when a message has to be tried twice.
 */
final class OrderlyConsumerScenario implements Scenario {
    private static final int QUEUES = 4;
    private static final int LETTERS_PER_QUEUE = 50;
    private static final int SUSPENDED_INDEX = 20;
    private static final long SUSPEND_MILLIS = 100;

    private final Inbox inbox = new Inbox();
    private final Set<String> toSuspend = ConcurrentHashMap.newKeySet();
    private final Map<Integer, AtomicInteger> inHandByQueue = new ConcurrentHashMap<>();
    private final AtomicInteger overlaps = new AtomicInteger();

    @Override
    public String name() {
        return "consume.orderly";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", QUEUES);
        var group = bed.newName("readers");
        startConsumer(bed, group, topic, "first");

        var letters = new ArrayList<Letter>();
        for (int queue = 0; queue < QUEUES; queue++) {
            toSuspend.add(idOf("first", queue, SUSPENDED_INDEX));
        }
        letters.addAll(sendToEachQueue(bed, topic, "first"));
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        inbox.checkExactly(checks, "one consumer", letters);
        checks.that(toSuspend.isEmpty(), "suspended messages came back", toSuspend + " never came at all");
        checkOrder(checks, "one consumer", letters);

        startConsumer(bed, group, topic, "second");
        letters.addAll(sendToEachQueue(bed, topic, "second"));
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        int rounds = sendUntilBothReceive(bed, topic, letters);
        inbox.checkContent(checks, "two consumers", letters);
        checkOrder(checks, "two consumers", letters);
        checks.equal(0, overlaps.get(), "no two messages of a queue were in hand at once");
        checks.note("the second took its queues over after " + rounds + " messages; "
                + inbox.duplicates() + " duplicates at the handover");
    }

    private static String idOf(String prefix, int queue, int index) {
        return prefix + "-q" + queue + "-" + index;
    }

    private void startConsumer(TestBed bed, String group, String topic, String consumerName) throws Exception {
        DefaultMQPushConsumer consumer = bed.newPushConsumer(group, topic, "*");
        MessageListenerOrderly listener = (messages, context) -> {
            var inHand = inHandByQueue.computeIfAbsent(context.getMessageQueue().getQueueId(),
                    queue -> new AtomicInteger());
            if (inHand.incrementAndGet() > 1) {
                overlaps.incrementAndGet();
            }
            try {
                if (messages.stream().anyMatch(message -> toSuspend.remove(Letter.idOf(message)))) {
                    context.setSuspendCurrentQueueTimeMillis(SUSPEND_MILLIS);
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
                messages.forEach(message -> inbox.add(consumerName, message));
                return ConsumeOrderlyStatus.SUCCESS;
            } finally {
                inHand.decrementAndGet();
            }
        };
        consumer.registerMessageListener(listener);
        consumer.start();
    }

    private List<Letter> sendToEachQueue(TestBed bed, String topic, String prefix) throws Exception {
        var sent = new ArrayList<Letter>();
        for (int index = 0; index < LETTERS_PER_QUEUE; index++) {
            for (int queue = 0; queue < QUEUES; queue++) {
                var letter = Letter.of(topic, idOf(prefix, queue, index), "t" + queue, "k" + index);
                send(bed, letter, queue);
                sent.add(letter);
            }
        }
        return sent;
    }

    private static void send(TestBed bed, Letter letter, int queueId) throws Exception {
        bed.producer().send(letter.toMessage(), (queues, message, wanted) -> queues.stream()
                .filter(queue -> wanted.equals(queue.getQueueId())).findFirst().orElseThrow(), queueId);
    }

    /**
     * The first consumer gives queues up at its next rebalance and the second gets their locks at its own, which may
     * be 20 s later. Until then messages go on flowing.
     */
    private int sendUntilBothReceive(TestBed bed, String topic, List<Letter> letters) throws Exception {
        int[] round = {0};
        boolean shared = Waiting.until(() -> {
            for (int queue = 0; queue < QUEUES; queue++) {
                var letter = Letter.of(topic, idOf("handover", queue, round[0]), "t" + queue, "k");
                send(bed, letter, queue);
                letters.add(letter);
            }
            round[0]++;
            return inbox.awaitAll(letters.stream().map(Letter::id).toList(), TestBed.SOON)
                    && inbox.of("second").byQueue().size() == QUEUES / 2;
        }, TestBed.PATIENT.multipliedBy(2));
        bed.checks().that(shared, "the second consumer got half of the queues",
                "it got " + inbox.of("second").byQueue().keySet());
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        return round[0] * QUEUES;
    }

    /** Per queue, first deliveries are in the order of sending. */
    private void checkOrder(Checks checks, String who, List<Letter> letters) {
        inbox.byQueue().forEach((queue, deliveries) -> {
            var expected = letters.stream().map(Letter::id).filter(id -> id.contains("-q" + queue + "-")).toList();
            var found = deliveries.stream().map(Inbox.Delivery::letterId).distinct().toList();
            checks.equal(expected, found, who + " got queue " + queue + " in the order of sending");
        });
    }
}
