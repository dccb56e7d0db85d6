package cjmq.interop;

import java.util.ArrayList;
import java.util.HashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A transaction that is sent for later: committed at once or when the broker asks, its message comes at its time;
 * rolled back it never comes. The client takes delay levels out of transactions, but leaves a time in that the application
 * sets as a property. (A client of 5.5 refuses both; an original broker of 4.9 knows no times.)
 */
final class DelayedTransactionScenario implements Scenario {
    private static final int LETTERS = 9;
    private static final long DELAY_MILLIS = 6000;
    private static final LocalTransactionState[] ANSWERS = {LocalTransactionState.COMMIT_MESSAGE,
            LocalTransactionState.UNKNOW, LocalTransactionState.ROLLBACK_MESSAGE};

    @Override
    public String name() {
        return "transaction.delayed";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        if (!Cluster.isOurs()) {
            bed.checks().note("not told: the original knows no times");
            return;
        }
        var topic = bed.createTopic("letters", 2);
        var producer = bed.configure(new TransactionMQProducer(bed.newName("deciders")));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object answer) {
                return (LocalTransactionState) answer;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        producer.start();
        bed.onClose(producer::shutdown);
        var inbox = new Inbox();
        bed.collect(bed.newName("readers"), topic, "*", "reader", inbox);
        var committed = new ArrayList<Letter>();
        var dueById = new HashMap<String, Long>();
        var letters = Letter.mixed(topic, "half", LETTERS);
        for (int i = 0; i < LETTERS; i++) {
            var answer = ANSWERS[i % ANSWERS.length];
            var message = letters.get(i).toMessage();
            long due = System.currentTimeMillis() + DELAY_MILLIS;
            message.putUserProperty("TIMER_DELIVER_MS", Long.toString(due));
            dueById.put(letters.get(i).id(), due);
            if (answer != LocalTransactionState.ROLLBACK_MESSAGE) {
                committed.add(letters.get(i));
            }
            producer.sendMessageInTransaction(message, answer);
        }
        inbox.awaitDistinct(committed.size(), TestBed.PATIENT);
        inbox.checkExactly(bed.checks(), "the consumer", committed);
        DelayLevelScenario.checkDue(bed.checks(), inbox, dueById, 0);
    }
}
