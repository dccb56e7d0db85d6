package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * What fails for ever comes as often as the consumer allows, and then lies in the group's dead-letter topic, as it was;
 * what the consumer gives up at once lies there after its first try. Ours says why, when and after how many tries.
 */
final class DeadLetterScenario implements Scenario {
    private static final int LETTERS = 4;
    private static final int RECONSUME_TIMES_MAX = 2;
    private static final int GIVE_UP = -1;

    @Override
    public String name() {
        return "retry.dead";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        tell(bed, "losers", 0, List.of(Cluster.delayMillis(3), Cluster.delayMillis(4)));
        tell(bed, "quitters", GIVE_UP, List.of());
    }

    private static void tell(TestBed bed, String who, int delayLevel, List<Long> delaysMillis) throws Exception {
        var topic = bed.createTopic("letters-of-" + who, 2);
        var group = bed.foundGroup(who, topic);
        var checks = bed.checks();
        var tries = new Tries();
        var letters = Letter.mixed(topic, "of-" + who, LETTERS);
        letters.forEach(letter -> tries.plan(letter, Tries.ALWAYS));
        var consumer = bed.newPushConsumer(group, topic, "*");
        consumer.setMaxReconsumeTimes(RECONSUME_TIMES_MAX);
        consumer.registerMessageListener(tries.listener(delayLevel));
        consumer.start();
        bed.sendAll(letters);
        var dead = bed.read("%DLQ%" + group, LETTERS, TestBed.PATIENT);
        checkDead(checks, dead, group, letters, delaysMillis.size() + 1);
        tries.check(checks, letters.stream().collect(Collectors.toMap(letter -> letter, letter -> delaysMillis)));
    }

    /** @param tries how often each came before, as the broker was told */
    static void checkDead(Checks checks, Inbox dead, String group, List<Letter> letters, int tries) {
        dead.checkExactly(checks, "the dead-letter topic of " + group, letters.stream().map(letter -> new Letter(
                letter.id(), "%DLQ%" + group, letter.tag(), letter.key(), letter.body())).toList());
        var wrong = new ArrayList<String>();
        for (var delivery : dead.deliveries()) {
            var message = delivery.message();
            if (!letters.get(0).topic().equals(message.getProperty("RETRY_TOPIC"))) {
                wrong.add(delivery.letterId() + ": RETRY_TOPIC=" + message.getProperty("RETRY_TOPIC"));
            }
            if (Cluster.isOurs() && (!String.valueOf(tries).equals(message.getProperty("CJMQ_DEAD_TRIES"))
                    || message.getProperty("CJMQ_DEAD_REASON") == null
                    || message.getProperty("CJMQ_DEAD_MS") == null)) {
                wrong.add(delivery.letterId() + ": " + message.getProperties());
            }
        }
        checks.that(wrong.isEmpty(), "each says where it came from"
                + (Cluster.isOurs() ? ", why, when and after how many tries it is dead" : ""), Inbox.some(wrong));
    }
}
