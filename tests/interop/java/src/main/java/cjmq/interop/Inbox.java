package cjmq.interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.rocketmq.common.message.MessageExt;

/** Collects what consumers received, in order of arrival. Any thread may add. */
final class Inbox {
    /** One delivery to one consumer. */
    record Delivery(String consumer, MessageExt message) {
        String letterId() {
            return Letter.idOf(message);
        }
    }

    private final List<Delivery> deliveries = new ArrayList<>();
    private final Map<String, Integer> timesById = new LinkedHashMap<>();

    synchronized void add(String consumer, MessageExt message) {
        deliveries.add(new Delivery(consumer, message));
        timesById.merge(String.valueOf(Letter.idOf(message)), 1, Integer::sum);
        notifyAll();
    }

    synchronized List<Delivery> deliveries() {
        return List.copyOf(deliveries);
    }

    synchronized int distinct() {
        return timesById.size();
    }

    synchronized boolean has(String letterId) {
        return timesById.containsKey(letterId);
    }

    /** Waits until `count` different letters are here. False when the time is over. */
    boolean awaitDistinct(int count, Duration limit) throws InterruptedException {
        return await(inbox -> inbox.timesById.size() >= count, limit);
    }

    /** Waits until each of the letters is here. False when the time is over. */
    boolean awaitAll(Collection<String> letterIds, Duration limit) throws InterruptedException {
        return await(inbox -> inbox.timesById.keySet().containsAll(letterIds), limit);
    }

    private synchronized boolean await(Predicate<Inbox> condition, Duration limit) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (!condition.test(this)) {
            long leftMillis = (deadline - System.nanoTime()) / 1_000_000;
            if (leftMillis <= 0) {
                return false;
            }
            wait(leftMillis);
        }
        return true;
    }

    /** Deliveries beyond the first of each letter. */
    synchronized int duplicates() {
        return deliveries.size() - timesById.size();
    }

    /** Deliveries to one consumer alone, in order. */
    synchronized Inbox of(String consumer) {
        var part = new Inbox();
        deliveries.stream().filter(d -> d.consumer().equals(consumer)).forEach(d -> part.add(consumer, d.message()));
        return part;
    }

    /** Deliveries by queue, in order of arrival within each. */
    synchronized Map<Integer, List<Delivery>> byQueue() {
        return deliveries.stream().collect(Collectors.groupingBy(d -> d.message().getQueueId()));
    }

    /** Checks that exactly these letters are here, each once and unchanged. */
    void checkExactly(Checks checks, String who, Collection<Letter> expected) {
        checkContent(checks, who, expected);
        checks.equal(0, duplicates(), who + " got no message twice");
        var known = expected.stream().map(Letter::id).collect(Collectors.toSet());
        var strangers = deliveries().stream().map(Delivery::letterId).filter(id -> !known.contains(id)).toList();
        checks.that(strangers.isEmpty(), who + " got nothing else", "also came: " + some(strangers));
    }

    /** Checks that each of these letters is here at least once, and unchanged every time. */
    void checkContent(Checks checks, String who, Collection<Letter> expected) {
        var lettersById = new HashMap<String, Letter>();
        expected.forEach(letter -> lettersById.put(letter.id(), letter));
        var missing = lettersById.keySet().stream().filter(id -> !has(id)).sorted().toList();
        checks.that(missing.isEmpty(), who + " got all " + expected.size() + " messages",
                missing.size() + " missing: " + some(missing));
        var differences = deliveries().stream().filter(d -> lettersById.containsKey(d.letterId()))
                .map(d -> lettersById.get(d.letterId()).difference(d.message()))
                .filter(difference -> difference != null).toList();
        checks.that(differences.isEmpty(), who + " got body, tag, keys and properties as sent", some(differences));
    }

    static String some(List<String> items) {
        int shown = Math.min(items.size(), 5);
        return items.subList(0, shown) + (items.size() > shown ? " and " + (items.size() - shown) + " more" : "");
    }
}
