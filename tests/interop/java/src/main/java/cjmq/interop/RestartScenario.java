package cjmq.interop;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.SendStatus;

/**
 * The broker is killed, started, stopped and started while clients send and consume without being told: they carry
 * on by themselves, and every acknowledged message reaches a concurrent and an orderly consumer. A message may come
 * twice: what was consumed but not yet committed when the broker went.
 */
final class RestartScenario implements Scenario {
    private static final int SENDERS = 3;
    private static final int ACKNOWLEDGED_PER_PHASE = 200;
    /** The 4.9 client gives up a pull that was under way when the connection broke only after 30 s, and then pauses. */
    private static final Duration CATCH_UP_MAX = Duration.ofSeconds(50);
    private static final long PAUSE_MILLIS = 2;
    private static final long PAUSE_AFTER_FAILURE_MILLIS = 50;

    private final Map<String, Letter> acknowledged = new ConcurrentHashMap<>();
    private final AtomicInteger attempts = new AtomicInteger();
    private final AtomicInteger failures = new AtomicInteger();
    private final AtomicBoolean stop = new AtomicBoolean();

    @Override
    public String name() {
        return "restart";
    }

    @Override
    public boolean disturbsOthers() {
        return true;
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 4);
        var concurrent = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "concurrent", concurrent);
        var orderly = new Inbox();
        collectOrderly(bed, topic, orderly);

        bed.producer();
        var senders = List.of(new Thread(() -> sendOn(bed, topic, 0)), new Thread(() -> sendOn(bed, topic, 1)),
                new Thread(() -> sendOn(bed, topic, 2)));
        senders.forEach(Thread::start);
        try {
            awaitProgress(checks, "before anything happens");
            bed.cluster().killBroker();
            awaitFailure(checks, "the kill hits the senders");
            bed.cluster().startBroker();
            awaitProgress(checks, "after kill -9 and start");
            bed.cluster().stopBroker();
            awaitFailure(checks, "the stop hits the senders");
            bed.cluster().startBroker();
            awaitProgress(checks, "after stop and start");
        } finally {
            stop.set(true);
            for (var sender : senders) {
                sender.join();
            }
        }
        var letters = List.copyOf(acknowledged.values());
        checks.note(attempts + " sent, " + letters.size() + " acknowledged, " + failures + " failed");
        long deadlineNanos = System.nanoTime() + CATCH_UP_MAX.toNanos();
        checkInbox(checks, "the concurrent consumer", concurrent, letters, deadlineNanos);
        checkInbox(checks, "the orderly consumer", orderly, letters, deadlineNanos);
    }

    private static void collectOrderly(TestBed bed, String topic, Inbox inbox) throws Exception {
        var consumer = bed.newPushConsumer(bed.newName("orderly-readers"), topic, "*");
        MessageListenerOrderly listener = (messages, context) -> {
            messages.forEach(message -> inbox.add("orderly", message));
            return ConsumeOrderlyStatus.SUCCESS;
        };
        consumer.registerMessageListener(listener);
        consumer.start();
    }

    /** Sends until told to stop; a failed send is not repeated, its message counts as not acknowledged. */
    private void sendOn(TestBed bed, String topic, int sender) {
        for (int i = 0; !stop.get(); i++) {
            var letter = Letter.of(topic, "sender" + sender + "-" + i, "t", "k" + i);
            long pauseMillis = PAUSE_MILLIS;
            attempts.incrementAndGet();
            try {
                var result = bed.producer().send(letter.toMessage());
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    acknowledged.put(letter.id(), letter);
                }
            } catch (Exception e) {
                failures.incrementAndGet();
                pauseMillis = PAUSE_AFTER_FAILURE_MILLIS;
            }
            try {
                TimeUnit.MILLISECONDS.sleep(pauseMillis);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    private void awaitProgress(Checks checks, String when) throws InterruptedException {
        long startNanos = System.nanoTime();
        int goal = acknowledged.size() + ACKNOWLEDGED_PER_PHASE;
        checks.that(Waiting.until(() -> acknowledged.size() >= goal, TestBed.PATIENT), "sends succeed " + when,
                "acknowledged " + acknowledged.size() + ", wanted " + goal + ", failed " + failures);
        checks.note(ACKNOWLEDGED_PER_PHASE + " sends " + when + " took "
                + Duration.ofNanos(System.nanoTime() - startNanos).toMillis() + " ms");
    }

    private void awaitFailure(Checks checks, String fact) throws InterruptedException {
        int before = failures.get();
        checks.that(Waiting.until(() -> failures.get() >= before + SENDERS, TestBed.PATIENT), fact,
                "no send failed while the broker was away");
    }

    private static void checkInbox(Checks checks, String who, Inbox inbox, List<Letter> letters,
            long deadlineNanos) throws InterruptedException {
        long startNanos = System.nanoTime();
        inbox.awaitAll(letters.stream().map(Letter::id).toList(),
                Duration.ofNanos(deadlineNanos - startNanos));
        checks.note(who + " was waited for " + Duration.ofNanos(System.nanoTime() - startNanos).toMillis()
                + " ms after the last send");
        inbox.checkContent(checks, who, letters);
        var unacknowledged = inbox.distinct() - (int) letters.stream().filter(l -> inbox.has(l.id())).count();
        checks.note(who + ": " + inbox.duplicates() + " duplicates, " + unacknowledged
                + " that were stored without an acknowledgement");
    }
}
