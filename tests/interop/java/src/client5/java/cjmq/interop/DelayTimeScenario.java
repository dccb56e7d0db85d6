package cjmq.interop;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.function.BiConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.common.message.Message;

/**
 * Arbitrary times: so many seconds or milliseconds from now, or at a time of the clock; what is due already comes at
 * once, what is due in a year does not come, and what is further away than the broker takes is refused.
 */
final class DelayTimeScenario implements Scenario {
    private static final int LETTERS_PER_KIND = 6;
    private static final long STEP_MILLIS = 730;
    /** The original counts in steps of a second, rounded down. */
    private static final long ORIGINAL_EARLY_MILLIS_MAX = 1000;
    private static final long YEAR_MILLIS = 365L * 24 * 3600 * 1000;

    @Override
    public String name() {
        return "delay.times";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 4);
        var inbox = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "reader", inbox);
        var dueById = new HashMap<String, Long>();
        var letters = new ArrayList<Letter>();
        for (var letter : Letter.mixed(topic, "seconds", LETTERS_PER_KIND)) {
            long seconds = letters.size() % 4;
            send(bed, letter, dueById, seconds * 1000, (message, due) -> message.setDelayTimeSec(seconds));
            letters.add(letter);
        }
        for (var letter : Letter.mixed(topic, "millis", LETTERS_PER_KIND)) {
            long millis = STEP_MILLIS * (letters.size() % LETTERS_PER_KIND);
            send(bed, letter, dueById, millis, (message, due) -> message.setDelayTimeMs(millis));
            letters.add(letter);
        }
        for (var letter : Letter.mixed(topic, "clock", LETTERS_PER_KIND)) {
            send(bed, letter, dueById, STEP_MILLIS * (letters.size() % LETTERS_PER_KIND), Message::setDeliverTimeMs);
            letters.add(letter);
        }
        var past = Letter.of(topic, "past", "t", "k");
        letters.add(past);
        send(bed, past, dueById, 0, (message, due) -> message.setDeliverTimeMs(due - YEAR_MILLIS));
        if (Cluster.isOurs()) {
            send(bed, Letter.of(topic, "next year", "t", "k"), dueById, YEAR_MILLIS, Message::setDeliverTimeMs);
        }
        checkRefusal(bed, topic);
        inbox.awaitDistinct(letters.size(), TestBed.PATIENT);
        inbox.checkExactly(checks, "the consumer", letters);
        DelayLevelScenario.checkDue(checks, inbox, dueById, Cluster.isOurs() ? 0 : ORIGINAL_EARLY_MILLIS_MAX);
    }

    private static void send(TestBed bed, Letter letter, HashMap<String, Long> dueById, long delayMillis,
            BiConsumer<Message, Long> setter) throws Exception {
        var message = letter.toMessage();
        long due = System.currentTimeMillis() + delayMillis;
        setter.accept(message, due);
        dueById.put(letter.id(), due);
        bed.producer().send(message);
    }

    private static void checkRefusal(TestBed bed, String topic) {
        var message = Letter.of(topic, "in a thousand years", "t", "k").toMessage();
        message.setDeliverTimeMs(System.currentTimeMillis() + 1000 * YEAR_MILLIS);
        try {
            var result = bed.producer().send(message);
            bed.checks().fail("a time in a thousand years was accepted: " + result);
        } catch (MQBrokerException e) {
            bed.checks().that(!e.getErrorMessage().isEmpty(), "a time in a thousand years is refused with a reason",
                    e.toString());
            bed.checks().note(e.getErrorMessage());
        } catch (Exception e) {
            bed.checks().fail("a time in a thousand years: " + e);
        }
    }
}
