package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageQueue;

/** The pull consumer reads queue by queue, from where it wants, and hears clearly when there is nothing to give. */
@SuppressWarnings("deprecation")
final class PullConsumerScenario implements Scenario {
    private static final int QUEUES = 4;
    private static final int LETTERS = 80;
    private static final int PULL_MAX = 7;

    @Override
    public String name() {
        return "pull";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", QUEUES);
        var letters = Letter.mixed(topic, "pulled", LETTERS);
        bed.sendAll(letters);

        var consumer = bed.configure(new DefaultMQPullConsumer(bed.newName("pullers")));
        consumer.start();
        bed.onClose(consumer::shutdown);
        var queues = List.copyOf(consumer.fetchSubscribeMessageQueues(topic));
        checks.equal(QUEUES, queues.size(), "the route shows all queues");

        checks.that(Waiting.until(() -> totalLength(consumer, queues) == LETTERS, TestBed.SOON),
                "the queues' lengths add up to what was sent", "they add up to " + totalLength(consumer, queues));
        var inbox = new Inbox();
        for (var queue : queues) {
            readToTheEnd(checks, consumer, queue, inbox);
        }
        inbox.checkExactly(checks, "the pull consumer", letters);
        checkRefusals(checks, consumer, queues.get(0));
        checkOffsets(checks, consumer, queues.get(0));
        checkLongPoll(bed, consumer, queues.get(0));
    }

    /** The original builds its queues behind the log: what was acknowledged shows a moment later. */
    private static long totalLength(DefaultMQPullConsumer consumer, List<MessageQueue> queues) throws Exception {
        long total = 0;
        for (var queue : queues) {
            total += consumer.maxOffset(queue);
        }
        return total;
    }

    private static void readToTheEnd(Checks checks, DefaultMQPullConsumer consumer, MessageQueue queue, Inbox inbox)
            throws Exception {
        long offset = 0;
        PullResult result = consumer.pull(queue, "*", offset, PULL_MAX);
        while (result.getPullStatus() == PullStatus.FOUND) {
            var found = result.getMsgFoundList();
            long first = offset;
            boolean consecutive = found.size() <= PULL_MAX && result.getNextBeginOffset() == first + found.size();
            for (int i = 0; i < found.size(); i++) {
                consecutive &= found.get(i).getQueueOffset() == first + i;
                inbox.add("puller", found.get(i));
            }
            if (!consecutive) {
                checks.fail("pull of " + queue + " at " + offset + " gave " + result);
            }
            offset = result.getNextBeginOffset();
            result = consumer.pull(queue, "*", offset, PULL_MAX);
        }
        checks.equal(PullStatus.NO_NEW_MSG, result.getPullStatus(), "end of queue " + queue.getQueueId());
        checks.equal(offset, result.getMaxOffset(), "max offset of queue " + queue.getQueueId());
    }

    private static void checkRefusals(Checks checks, DefaultMQPullConsumer consumer, MessageQueue queue)
            throws Exception {
        long end = consumer.maxOffset(queue);
        var unmatched = consumer.pull(queue, "no-such-tag", 0, PULL_MAX);
        checks.equal(PullStatus.NO_MATCHED_MSG, unmatched.getPullStatus(), "pull of a tag that nobody sent");
        checks.that(unmatched.getNextBeginOffset() > 0 && unmatched.getNextBeginOffset() <= end,
                "it moves past what does not match", unmatched.toString());
        var beyond = consumer.pull(queue, "*", end + 1000, PULL_MAX);
        checks.equal(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "pull beyond the end");
        checks.equal(end, beyond.getNextBeginOffset(), "it points back to the end");
    }

    private static void checkOffsets(Checks checks, DefaultMQPullConsumer consumer, MessageQueue queue)
            throws Exception {
        var store = consumer.getDefaultMQPullConsumerImpl().getOffsetStore();
        store.updateConsumeOffsetToBroker(queue, 5, false);
        checks.equal(5L, consumer.fetchConsumeOffset(queue, true), "a committed offset is read back");
    }

    private static void checkLongPoll(TestBed bed, DefaultMQPullConsumer consumer, MessageQueue queue)
            throws Exception {
        long end = consumer.maxOffset(queue);
        var answer = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", end, PULL_MAX);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        // Let the request reach the broker; if it does not in this time, the check below still holds.
        TimeUnit.MILLISECONDS.sleep(200);
        bed.checks().that(!answer.isDone(), "a blocking pull waits at the end of the queue", String.valueOf(answer));
        var letter = Letter.of(queue.getTopic(), "awaited", "t", "k");
        bed.producer().send(letter.toMessage(), queue);
        var found = answer.get(TestBed.SOON.toSeconds(), TimeUnit.SECONDS);
        var ids = new ArrayList<String>();
        if (found.getMsgFoundList() != null) {
            found.getMsgFoundList().forEach(message -> ids.add(Letter.idOf(message)));
        }
        bed.checks().equal(List.of(letter.id()), ids, "a new message ends the waiting");
    }
}
