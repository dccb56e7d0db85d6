package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** A message that the consumer could not handle comes again, as it was, and counts the attempt; others come once. */
final class RetryScenario implements Scenario {
    private static final int LETTERS = 12;
    private static final int FAILING_EVERY = 3;
    /** The shortest delay there is: one second by default. */
    private static final int DELAY_LEVEL = 1;

    @Override
    public String name() {
        return "retry";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 4);
        var letters = Letter.mixed(topic, "tried", LETTERS);
        Set<String> failing = ConcurrentHashMap.newKeySet();
        var retried = new ArrayList<String>();
        for (int i = 0; i < LETTERS; i += FAILING_EVERY) {
            failing.add(letters.get(i).id());
            retried.add(letters.get(i).id());
        }
        var refused = new Inbox();
        var accepted = new Inbox();
        var consumer = bed.newPushConsumer(bed.newName("strugglers"), topic, "*");
        MessageListenerConcurrently listener = (messages, context) -> {
            context.setDelayLevelWhenNextConsume(DELAY_LEVEL);
            var message = messages.get(0);
            if (failing.remove(Letter.idOf(message))) {
                refused.add("consumer", message);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            accepted.add("consumer", message);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
        consumer.registerMessageListener(listener);
        consumer.start();
        bed.sendAll(letters);

        accepted.awaitDistinct(LETTERS, TestBed.PATIENT.multipliedBy(2));
        accepted.checkExactly(checks, "the consumer in the end", letters);
        checks.equal(retried.size(), refused.distinct(), "some were refused once");
        var wrong = accepted.deliveries().stream()
                .filter(delivery -> delivery.message().getReconsumeTimes()
                        != (retried.contains(delivery.letterId()) ? 1 : 0))
                .map(delivery -> delivery.letterId() + ": " + delivery.message().getReconsumeTimes()).toList();
        checks.that(wrong.isEmpty(), "each counts its failed attempts", Inbox.some(wrong));
        checkSameIds(checks, refused, accepted);
    }

    /** The application sees the same message id, although the broker stored the message again. */
    private static void checkSameIds(Checks checks, Inbox refused, Inbox accepted) {
        List<String> changed = refused.deliveries().stream()
                .filter(first -> accepted.deliveries().stream()
                        .filter(second -> second.letterId().equals(first.letterId()))
                        .map(Inbox.Delivery::message).map(MessageExt::getMsgId)
                        .noneMatch(id -> id.equals(first.message().getMsgId())))
                .map(Inbox.Delivery::letterId).toList();
        checks.that(changed.isEmpty(), "a message keeps its id when it comes again", Inbox.some(changed));
    }
}
