package cjmq.interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * A second consumer joins a group: the broker's notice makes both share the queues soon (clients ask by themselves
 * only every 20 s), each queue with one of them; when it leaves, the first has all again. Nothing is lost on the way.
 */
final class RebalanceScenario implements Scenario {
    private static final int QUEUES = 4;
    private static final int LETTERS_PER_QUEUE = 30;
    private static final Duration SHARED_WITHIN = Duration.ofSeconds(12);

    private final Inbox inbox = new Inbox();
    private final List<Letter> letters = new ArrayList<>();
    private int rounds;

    @Override
    public String name() {
        return "rebalance";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", QUEUES);
        var group = bed.newName("sharers");
        bed.collect(group, topic, "*", "first", inbox);
        awaitOwners(bed, topic, Map.of("first", QUEUES), "one consumer has all queues");

        var second = bed.collect(group, topic, "*", "second", inbox);
        var owners = awaitOwners(bed, topic, Map.of("first", QUEUES / 2, "second", QUEUES / 2),
                "two consumers share the queues");
        checkSteadyState(bed, topic, owners);

        second.shutdown();
        awaitOwners(bed, topic, Map.of("first", QUEUES), "the one that stays has all queues again");

        inbox.awaitAll(letters.stream().map(Letter::id).toList(), TestBed.PATIENT);
        inbox.checkContent(checks, "the group", letters);
        checks.note(inbox.duplicates() + " duplicates while queues changed hands, of " + letters.size());
    }

    /**
     * Sends one letter to each queue again and again until they arrive at the wanted numbers of queues per consumer.
     * Returns who owns which queue.
     */
    private Map<Integer, String> awaitOwners(TestBed bed, String topic, Map<String, Integer> wanted, String fact)
            throws Exception {
        var owners = new TreeMap<Integer, String>();
        long startNanos = System.nanoTime();
        boolean settled = Waiting.until(() -> {
            owners.clear();
            var round = sendToEachQueue(bed, topic, "round" + rounds++, 1);
            if (!inbox.awaitAll(round, TestBed.SOON)) {
                return false;
            }
            inbox.deliveries().stream().filter(delivery -> round.contains(delivery.letterId()))
                    .forEach(delivery -> owners.put(delivery.message().getQueueId(), delivery.consumer()));
            var queuesByOwner = owners.values().stream()
                    .collect(Collectors.groupingBy(owner -> owner, Collectors.summingInt(owner -> 1)));
            return queuesByOwner.equals(wanted);
        }, SHARED_WITHIN);
        bed.checks().that(settled, fact, "owners " + owners + " after " + SHARED_WITHIN);
        bed.checks().note(fact + " after " + Duration.ofNanos(System.nanoTime() - startNanos).toMillis() + " ms");
        return owners;
    }

    /** Once the queues are shared, each message comes once, and only to the owner of its queue. */
    private void checkSteadyState(TestBed bed, String topic, Map<Integer, String> owners) throws Exception {
        var ids = sendToEachQueue(bed, topic, "steady", LETTERS_PER_QUEUE);
        inbox.awaitAll(ids, TestBed.PATIENT);
        var deliveries = inbox.deliveries().stream().filter(delivery -> ids.contains(delivery.letterId())).toList();
        bed.checks().equal(QUEUES * LETTERS_PER_QUEUE, deliveries.size(),
                "with queues shared, each message comes once");
        var misplaced = deliveries.stream()
                .filter(d -> !d.consumer().equals(owners.get(d.message().getQueueId())))
                .map(d -> d.letterId() + " of queue " + d.message().getQueueId() + " came to " + d.consumer()).toList();
        bed.checks().that(misplaced.isEmpty(), "each queue is at one consumer", Inbox.some(misplaced));
    }

    private Set<String> sendToEachQueue(TestBed bed, String topic, String prefix, int perQueue) throws Exception {
        var sent = new ArrayList<Letter>();
        for (var queue : bed.producer().fetchPublishMessageQueues(topic)) {
            for (int i = 0; i < perQueue; i++) {
                var letter = Letter.of(topic, prefix + "-q" + queue.getQueueId() + "-" + i, "t", "k");
                bed.producer().send(letter.toMessage(), queue);
                sent.add(letter);
            }
        }
        letters.addAll(sent);
        return sent.stream().map(Letter::id).collect(Collectors.toSet());
    }
}
