package cjmq.interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A concurrent push consumer gets all, promptly, once; its successor in the group goes on where it stopped. */
final class ConcurrentConsumerScenario implements Scenario {
    private static final int LETTERS = 200;
    private static final int LETTERS_MEANWHILE = 20;

    @Override
    public String name() {
        return "consume.concurrent";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 4);
        var group = bed.newName("readers");
        var inbox = new Inbox();
        var first = bed.newPushConsumer(group, topic, "*");
        first.setConsumeMessageBatchMaxSize(8);
        first.registerMessageListener(TestBed.collector("first", inbox));
        first.start();

        var opening = Letter.of(topic, "opening", "t", "k");
        bed.sendAll(List.of(opening));
        checks.that(inbox.awaitAll(List.of(opening.id()), TestBed.PATIENT), "a started consumer receives",
                "nothing came in " + TestBed.PATIENT);
        var prompt = Letter.of(topic, "prompt", "t", "k");
        long sentNanos = System.nanoTime();
        bed.sendAll(List.of(prompt));
        boolean wasPrompt = inbox.awaitAll(List.of(prompt.id()), TestBed.SOON);
        checks.that(wasPrompt, "a waiting consumer is woken by a new message", "it did not come in " + TestBed.SOON);
        checks.note("woken after " + Duration.ofNanos(System.nanoTime() - sentNanos).toMillis() + " ms");

        var letters = Letter.mixed(topic, "many", LETTERS);
        bed.sendAll(letters);
        inbox.awaitDistinct(LETTERS + 2, TestBed.PATIENT);
        var all = new ArrayList<>(letters);
        all.add(opening);
        all.add(prompt);
        inbox.checkExactly(checks, "the consumer", all);
        first.shutdown();

        var meanwhile = Letter.mixed(topic, "meanwhile", LETTERS_MEANWHILE);
        bed.sendAll(meanwhile);
        var successorInbox = new Inbox();
        bed.collect(group, topic, "*", "successor", successorInbox);
        successorInbox.awaitDistinct(LETTERS_MEANWHILE, TestBed.PATIENT);
        // A wrong start offset shows as old messages, which would come within the same pulls.
        TimeUnit.MILLISECONDS.sleep(300);
        successorInbox.checkExactly(checks, "the successor in the group", meanwhile);
    }
}
