package cjmq.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Transactions that the producer commits, rolls back, or leaves open until the broker asks, once or twice: a consumer
 * gets exactly the committed ones. In the second telling the broker is killed while transactions are open, and asks
 * for them when it is back.
 */
final class TransactionScenario implements Scenario {
    private static final int LETTERS = 40;
    private static final String LETTER_PROPERTY = "letterId";

    /** What the producer says: at first, and each time that it is asked; the last answer is kept. */
    private enum Plan {
        COMMIT(LocalTransactionState.COMMIT_MESSAGE),
        ROLLBACK(LocalTransactionState.ROLLBACK_MESSAGE),
        COMMIT_WHEN_ASKED(LocalTransactionState.UNKNOW, LocalTransactionState.COMMIT_MESSAGE),
        ROLLBACK_WHEN_ASKED(LocalTransactionState.UNKNOW, LocalTransactionState.ROLLBACK_MESSAGE),
        COMMIT_WHEN_ASKED_TWICE(LocalTransactionState.UNKNOW, LocalTransactionState.UNKNOW,
                LocalTransactionState.COMMIT_MESSAGE);

        private final List<LocalTransactionState> answers;

        Plan(LocalTransactionState... answers) {
            this.answers = List.of(answers);
        }

        LocalTransactionState answer(int timesAsked) {
            return answers.get(Math.min(timesAsked, answers.size() - 1));
        }

        boolean commits() {
            return answer(Integer.MAX_VALUE) == LocalTransactionState.COMMIT_MESSAGE;
        }

        boolean needsQuestion() {
            return answers.size() > 1;
        }
    }

    private final boolean killsBroker;
    private final Map<String, Plan> plans = new ConcurrentHashMap<>();
    private final Map<String, Integer> timesAsked = new ConcurrentHashMap<>();
    private final Inbox asked = new Inbox();
    /** While the broker is about to be killed every question is answered with "unknown". */
    private volatile boolean decided = true;

    TransactionScenario(boolean killsBroker) {
        this.killsBroker = killsBroker;
    }

    @Override
    public String name() {
        return killsBroker ? "transaction.kill" : "transaction";
    }

    @Override
    public boolean disturbsOthers() {
        return killsBroker;
    }

    private final class Listener implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return plans.get(message.getUserProperty(LETTER_PROPERTY)).answer(0);
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            var id = Letter.idOf(message);
            if (!decided) {
                return LocalTransactionState.UNKNOW;
            }
            asked.add("producer", message);
            return plans.get(id).answer(timesAsked.merge(id, 1, Integer::sum));
        }
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("letters", 4);
        var producer = bed.configure(new TransactionMQProducer(bed.newName("deciders")));
        producer.setTransactionListener(new Listener());
        producer.start();
        bed.onClose(producer::shutdown);

        var committed = new ArrayList<Letter>();
        var questioned = new ArrayList<Letter>();
        var letters = Letter.mixed(topic, "half", LETTERS);
        decided = !killsBroker;
        for (int i = 0; i < LETTERS; i++) {
            var plan = Plan.values()[i % Plan.values().length];
            plans.put(letters.get(i).id(), plan);
            (plan.commits() ? committed : new ArrayList<Letter>()).add(letters.get(i));
            (plan.needsQuestion() ? questioned : new ArrayList<Letter>()).add(letters.get(i));
        }
        var inbox = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "reader", inbox);
        for (var letter : letters) {
            var result = producer.sendMessageInTransaction(letter.toMessage(), null);
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                checks.fail("send of " + letter.id() + " answered " + result.getSendStatus());
            }
        }
        if (killsBroker) {
            awaitTheUndisputed(inbox, committed);
            bed.cluster().killBroker();
            bed.cluster().startBroker();
            decided = true;
        }
        inbox.awaitDistinct(committed.size(), TestBed.PATIENT.multipliedBy(2));
        checks.that(asked.awaitAll(questioned.stream().map(Letter::id).toList(), TestBed.PATIENT),
                "the producer was asked about each open transaction", asked.distinct() + " of " + questioned.size());
        checkQuestions(checks, questioned);
        checkConsumer(checks, inbox, committed);
    }

    /** What needs no question arrives before the broker goes. */
    private void awaitTheUndisputed(Inbox inbox, List<Letter> committed) throws InterruptedException {
        inbox.awaitAll(committed.stream().map(Letter::id).filter(id -> !plans.get(id).needsQuestion()).toList(),
                TestBed.PATIENT);
    }

    private void checkQuestions(Checks checks, List<Letter> questioned) {
        asked.checkContent(checks, "the producer that was asked", questioned);
        var strangers = asked.deliveries().stream().map(Inbox.Delivery::letterId)
                .filter(id -> !plans.get(id).needsQuestion()).toList();
        checks.that(strangers.isEmpty(), "it was not asked about those that had ended", Inbox.some(strangers));
    }

    private void checkConsumer(Checks checks, Inbox inbox, List<Letter> committed) {
        if (!killsBroker) {
            inbox.checkExactly(checks, "the consumer", committed);
            return;
        }
        /* What it had not yet committed when the broker went comes again; nothing else may. */
        inbox.checkContent(checks, "the consumer", committed);
        var ids = committed.stream().map(Letter::id).toList();
        var strangers = inbox.deliveries().stream().map(Inbox.Delivery::letterId).filter(id -> !ids.contains(id))
                .toList();
        checks.that(strangers.isEmpty(), "the consumer got nothing that was rolled back", Inbox.some(strangers));
        long places = inbox.deliveries().stream()
                .map(d -> d.message().getQueueId() + "/" + d.message().getQueueOffset()).distinct().count();
        checks.equal((long) inbox.distinct(), places, "each message was committed once");
    }
}
