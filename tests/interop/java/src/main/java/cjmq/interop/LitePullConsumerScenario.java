package cjmq.interop;

import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** The poll()-style consumer: subscription, commit, a successor that goes on there, and seek. */
final class LitePullConsumerScenario implements Scenario {
    private static final int QUEUES = 4;
    private static final int LETTERS = 80;
    private static final int SEEK_OFFSET = 3;
    private static final long POLL_MILLIS = 200;

    @Override
    public String name() {
        return "pull.lite";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", QUEUES);
        var group = bed.newName("pollers");
        var letters = Letter.mixed(topic, "polled", LETTERS);
        bed.sendAll(letters);

        var inbox = new Inbox();
        var first = startSubscriber(bed, group, topic);
        pollUntil(first, inbox, LETTERS, TestBed.PATIENT);
        inbox.checkExactly(checks, "the polling consumer", letters);
        if (inbox.distinct() == 0) {
            return; // It cannot poll at all; what follows would only take the time to say so again.
        }
        checks.equal(QUEUES, first.assignment().size(), "it has all queues");
        first.commitSync();
        first.shutdown();

        var later = Letter.mixed(topic, "later", LETTERS / 4);
        bed.sendAll(later);
        var successorInbox = new Inbox();
        var successor = startSubscriber(bed, group, topic);
        pollUntil(successor, successorInbox, later.size(), TestBed.PATIENT);
        // Old messages, if the commit were lost, would come with the same polls or the next.
        pollUntil(successor, successorInbox, Integer.MAX_VALUE, Duration.ofMillis(500));
        successorInbox.checkExactly(checks, "the successor in the group", later);

        checkSeek(bed, topic);
    }

    private static DefaultLitePullConsumer startSubscriber(TestBed bed, String group, String topic) throws Exception {
        var consumer = bed.configure(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        bed.onClose(consumer::shutdown);
        return consumer;
    }

    /** Seeks when the queue is read to its end: a pull under way would bring messages from before the seek. */
    private static void checkSeek(TestBed bed, String topic) throws Exception {
        var consumer = bed.configure(new DefaultLitePullConsumer(bed.newName("seekers")));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        consumer.start();
        bed.onClose(consumer::shutdown);
        var queue = consumer.fetchMessageQueues(topic).iterator().next();
        consumer.assign(List.of(queue));
        var inbox = new Inbox();
        int length = (int) bed.producer().maxOffset(queue);
        pollUntil(consumer, inbox, length, TestBed.PATIENT);
        bed.checks().equal(length, inbox.distinct(), "an assigned queue is read to its end");

        consumer.seek(queue, SEEK_OFFSET);
        var again = new Inbox();
        pollUntil(consumer, again, length - SEEK_OFFSET, TestBed.PATIENT);
        var expected = IntStream.range(SEEK_OFFSET, length).mapToObj(i -> (long) i).toList();
        var offsets = again.deliveries().stream().map(delivery -> delivery.message().getQueueOffset()).toList();
        bed.checks().equal(expected, offsets, "after a seek the queue goes on there");
    }

    private static void pollUntil(DefaultLitePullConsumer consumer, Inbox inbox, int distinct, Duration limit) {
        long deadline = System.nanoTime() + limit.toNanos();
        while (inbox.distinct() < distinct && System.nanoTime() < deadline) {
            consumer.poll(POLL_MILLIS).forEach(message -> inbox.add("poller", message));
        }
    }
}
