package cjmq.interop;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;

/**
 * An orderly consumer that fails suspends its queue and tries the message again in its place; nothing is sent back. One
 * that fails for ever becomes a dead letter, and the queue goes on.
 */
final class OrderlyRetryScenario implements Scenario {
    private static final int LETTERS = 6;
    private static final int RECONSUME_TIMES_MAX = 4;
    private static final long SUSPEND_MILLIS = 200;

    @Override
    public String name() {
        return "retry.orderly";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 1);
        var group = bed.foundGroup("strugglers", topic);
        var letters = Letter.mixed(topic, "suspended", LETTERS);
        var timesEach = List.of(1, RECONSUME_TIMES_MAX, 1, RECONSUME_TIMES_MAX + 1, 1, 1);
        var dead = letters.get(3);
        var tries = new Tries();
        var expected = new ArrayList<String>();
        for (int i = 0; i < LETTERS; i++) {
            tries.plan(letters.get(i), timesEach.get(i) - 1);
            expected.addAll(Collections.nCopies(timesEach.get(i), letters.get(i).id()));
        }
        tries.plan(dead, Tries.ALWAYS);
        var consumer = bed.newPushConsumer(group, topic, "*");
        consumer.setMaxReconsumeTimes(RECONSUME_TIMES_MAX);
        MessageListenerOrderly listener = (messages, context) -> {
            context.setSuspendCurrentQueueTimeMillis(SUSPEND_MILLIS);
            return tries.fails(messages.get(0)) ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT
                    : ConsumeOrderlyStatus.SUCCESS;
        };
        consumer.registerMessageListener(listener);
        consumer.start();
        bed.sendAll(letters);

        tries.await(expected.size(), TestBed.PATIENT.multipliedBy(2));
        checks.equal(expected, tries.order(), "each is tried again in its place, before the next one");
        DeadLetterScenario.checkDead(checks, bed.read("%DLQ%" + group, 1, TestBed.PATIENT), group, List.of(dead),
                RECONSUME_TIMES_MAX + 1 - ClientVersion.ORDERLY_TRIES_UNSAID);
        long sentBack = 0;
        for (var queue : bed.producer().fetchPublishMessageQueues("%RETRY%" + group)) {
            sentBack += bed.producer().maxOffset(queue);
        }
        checks.equal(0L, sentBack, "nothing was sent back to the retry topic");
    }
}
