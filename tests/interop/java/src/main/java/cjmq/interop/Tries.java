package cjmq.interop;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A consumer that fails each message as often as it is told to and then succeeds, and what came to it, try by try. Any
 * thread may add.
 */
final class Tries {
    static final int ALWAYS = Integer.MAX_VALUE;
    /** On a busy machine a message may come this much later than it should; nothing may come too early. */
    static final long LATE_MILLIS_MAX = 2500;
    /** What is due before, the broker that it failed at may deliver itself. */
    private static final long KEPT_FROM_MILLIS = 2000;

    /** The client counts in the message itself what it does not send back, so the count is kept aside. */
    private record Try(MessageExt message, int reconsumeTimes, long endMillis) {
    }

    private final Map<String, Integer> failuresById = new HashMap<>();
    private final Map<String, List<Try>> triesById = new HashMap<>();
    private final List<String> order = new ArrayList<>();

    synchronized void plan(Letter letter, int failures) {
        failuresById.put(letter.id(), failures);
    }

    /** Notes the try; true when it has to fail. */
    synchronized boolean fails(MessageExt message) {
        var id = String.valueOf(Letter.idOf(message));
        var tries = triesById.computeIfAbsent(id, none -> new ArrayList<>());
        tries.add(new Try(message, message.getReconsumeTimes(), System.currentTimeMillis()));
        order.add(id);
        notifyAll();
        return tries.size() <= failuresById.getOrDefault(id, 0);
    }

    /** @param delayLevel what the consumer asks for when a message fails; 0: the broker picks, -1: dead letters */
    MessageListenerConcurrently listener(int delayLevel) {
        return (messages, context) -> {
            context.setDelayLevelWhenNextConsume(delayLevel);
            return fails(messages.get(0)) ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                    : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    /** Waits until so many tries were made. False when the time is over. */
    synchronized boolean await(int tries, Duration limit) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (order.size() < tries) {
            long leftMillis = (deadline - System.nanoTime()) / 1_000_000;
            if (leftMillis <= 0) {
                return false;
            }
            wait(leftMillis);
        }
        return true;
    }

    /** Ids of the letters, in the order of the tries. */
    synchronized List<String> order() {
        return List.copyOf(order);
    }

    private synchronized List<Try> of(Letter letter) {
        return List.copyOf(triesById.getOrDefault(letter.id(), List.of()));
    }

    /** What a letter should have seen: how long after each failed try it is due again, and so how often it comes. */
    void check(Checks checks, Map<Letter, List<Long>> delaysMillis) {
        var problems = new ArrayList<String>();
        var lateMillis = new ArrayList<Long>();
        delaysMillis.forEach((letter, delays) -> {
            var tries = of(letter);
            if (tries.size() != delays.size() + 1) {
                problems.add(letter.id() + " came " + tries.size() + " times, expected " + (delays.size() + 1));
                return;
            }
            checkSame(letter, tries, problems);
            for (int i = 0; i < delays.size(); i++) {
                var again = tries.get(i + 1).message();
                long wait = again.getStoreTimestamp() - tries.get(i).endMillis();
                long late = wait - delays.get(i);
                lateMillis.add(late);
                if (late < 0 || late > LATE_MILLIS_MAX) {
                    problems.add(letter.id() + " came " + wait + " ms after failed try " + i + ", due after "
                            + delays.get(i));
                }
                var host = (InetSocketAddress) again.getStoreHost();
                var address = host.getAddress().getHostAddress() + ":" + host.getPort();
                var keeper = Cluster.keeperAddress().orElse(address);
                if (delays.get(i) >= KEPT_FROM_MILLIS && !address.equals(keeper)) {
                    problems.add(letter.id() + " came from " + address + " after failed try " + i + ", not from " + keeper);
                }
            }
        });
        var ids = delaysMillis.keySet().stream().map(Letter::id).toList();
        order().stream().filter(id -> !ids.contains(id)).forEach(id -> problems.add(id + " came"));
        checks.that(problems.isEmpty(), delaysMillis.size() + " messages came as often as they should, when they "
                + "should, the same each time, and counted their failed tries", Inbox.some(problems));
        noteLate(checks, lateMillis);
    }

    private static void checkSame(Letter letter, List<Try> tries, List<String> problems) {
        for (int i = 0; i < tries.size(); i++) {
            if (tries.get(i).reconsumeTimes() != i) {
                problems.add(letter.id() + " counts " + tries.get(i).reconsumeTimes() + " failed tries, had " + i);
            }
            var difference = letter.difference(tries.get(i).message());
            if (difference != null) {
                problems.add(difference);
            }
        }
        if (tries.stream().map(t -> t.message().getMsgId()).distinct().count() != 1) {
            problems.add(letter.id() + " changed its id");
        }
    }

    static void noteLate(Checks checks, List<Long> lateMillis) {
        if (!lateMillis.isEmpty()) {
            var sorted = lateMillis.stream().sorted().toList();
            checks.note("late by " + sorted.get(sorted.size() / 2) + " ms in the middle, "
                    + sorted.get(sorted.size() - 1) + " ms at most");
        }
    }
}
