package cjmq.interop;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A message that fails n times comes n + 1 times, the same each time, with the count of failed tries, when it should:
 * after the delay that the consumer asks for, or, when it leaves that to the broker, later and later.
 */
final class RetryScenario implements Scenario {
    private static final int LETTERS = 12;
    private static final int FAILURES_MAX = 3;
    private static final int CONSUMER_LEVEL = 2;
    private static final int FIRST_BROKER_LEVEL = 3;

    interface Story {
        void tell(TestBed bed) throws Exception;
    }

    private final String name;
    private final Story story;

    RetryScenario(String name, Story story) {
        this.name = name;
        this.story = story;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public void run(TestBed bed) throws Exception {
        story.tell(bed);
    }

    static void consumerPicksTheLevel(TestBed bed) throws Exception {
        tellWith(bed, CONSUMER_LEVEL, Collections.nCopies(FAILURES_MAX, Cluster.delayMillis(CONSUMER_LEVEL)));
    }

    static void brokerPicksTheLevel(TestBed bed) throws Exception {
        tellWith(bed, 0, IntStream.range(0, FAILURES_MAX)
                .mapToObj(failure -> Cluster.delayMillis(FIRST_BROKER_LEVEL + failure)).toList());
    }

    private static void tellWith(TestBed bed, int delayLevel, List<Long> delaysMillis) throws Exception {
        var topic = bed.createTopic("letters", 4);
        var tries = new Tries();
        var letters = Letter.mixed(topic, "tried", LETTERS);
        var expected = new HashMap<Letter, List<Long>>();
        for (int i = 0; i < LETTERS; i++) {
            var delays = delaysMillis.subList(0, i % (FAILURES_MAX + 1));
            tries.plan(letters.get(i), delays.size());
            expected.put(letters.get(i), delays);
        }
        var consumer = bed.newPushConsumer(bed.foundGroup("strugglers", topic), topic, "*");
        consumer.registerMessageListener(tries.listener(delayLevel));
        consumer.start();
        bed.sendAll(letters);

        tries.await(expected.values().stream().mapToInt(delays -> delays.size() + 1).sum(),
                TestBed.PATIENT.multipliedBy(2));
        tries.check(bed.checks(), expected);
    }
}
