package cjmq.interop;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Messages sent for later arrive once, unchanged, when they are due: each of the 18 levels, none, and one beyond the
 * last, which counts as the last.
 */
final class DelayLevelScenario implements Scenario {
    private static final int LEVELS = 18;
    private static final int LEVEL_BEYOND = 30;

    @Override
    public String name() {
        return "delay.levels";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var topic = bed.createTopic("letters", 4);
        var inbox = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "reader", inbox);
        var letters = Letter.mixed(topic, "delayed", LEVELS + 2);
        var dueById = new HashMap<String, Long>();
        for (int i = 0; i < letters.size(); i++) {
            int level = i <= LEVELS ? i : LEVEL_BEYOND;
            var message = letters.get(i).toMessage();
            message.setDelayTimeLevel(level);
            long delayMillis = level == 0 ? 0 : Cluster.delayMillis(level);
            dueById.put(letters.get(i).id(), System.currentTimeMillis() + delayMillis);
            bed.producer().send(message);
        }
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT.plusMillis(Cluster.delayMillis(LEVELS)));
        inbox.checkExactly(bed.checks(), "the consumer", letters);
        checkDue(bed.checks(), inbox, dueById, 0);
    }

    /**
     * Checks when the broker put each message into its queue.
     *
     * @param earlyMillisMax how much too early is allowed
     */
    static void checkDue(Checks checks, Inbox inbox, Map<String, Long> dueById, long earlyMillisMax) {
        List<String> wrong = new ArrayList<>();
        List<Long> lateMillis = new ArrayList<>();
        for (var delivery : inbox.deliveries()) {
            long late = delivery.message().getStoreTimestamp() - dueById.get(delivery.letterId());
            lateMillis.add(late);
            if (late < -earlyMillisMax || late > Tries.LATE_MILLIS_MAX) {
                wrong.add(delivery.letterId() + ": " + late + " ms late");
            }
        }
        checks.that(wrong.isEmpty(), "each came when it was due", Inbox.some(wrong));
        Tries.noteLate(checks, lateMillis);
    }
}
