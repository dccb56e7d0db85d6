package cjmq.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The traffic program of the fault tests (tests/system/traffic) with the published client: the same options, commands,
 * book and report as far as the fault tests read them. Its clients keep the settings that an application gets when it
 * sets none.
 */
public final class TrafficMain {
    private static final int HEAD_BYTES = 20;
    private static final Map<SendStatus, Integer> CODES = Map.of(SendStatus.FLUSH_DISK_TIMEOUT, 10,
            SendStatus.SLAVE_NOT_AVAILABLE, 11, SendStatus.FLUSH_SLAVE_TIMEOUT, 12);
    private static final int FAILED = -1;

    private final Map<String, String> options = new HashMap<>();
    private final long runId = System.nanoTime() ^ ProcessHandle.current().pid() << 40;
    private final Ledger ledger;
    private final List<Thread> producers = new ArrayList<>();
    private final List<DefaultMQPushConsumer> consumers = new ArrayList<>();
    private final AtomicBoolean stopping = new AtomicBoolean();
    private DefaultMQProducer producer;

    private TrafficMain(String[] arguments) throws IOException {
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i].substring(2), arguments[i + 1]);
        }
        ledger = new Ledger(number("producers", 2), options.get("log"));
    }

    private String text(String name, String otherwise) {
        return options.getOrDefault(name, otherwise);
    }

    private int number(String name, int otherwise) {
        return Integer.parseInt(text(name, Integer.toString(otherwise)));
    }

    // --- clients ---

    private void startConsumer(int member) throws MQClientException {
        var consumer = new DefaultMQPushConsumer(text("consumer-app", "app4Consumer"));
        consumer.setNamesrvAddr(text("namesrv", "127.0.0.1:9876"));
        consumer.setInstanceName("consumer" + member);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(text("topic", "topic_simple"), "*");
        MessageListenerConcurrently listener = (messages, context) -> {
            messages.forEach(m -> take(m, context.getMessageQueue().getBrokerName()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
        consumer.registerMessageListener(listener);
        consumer.start();
        consumers.add(consumer);
    }

    private void take(MessageExt message, String broker) {
        var body = ByteBuffer.wrap(message.getBody());
        if (body.remaining() >= HEAD_BYTES && body.getLong() == runId) {
            ledger.delivered(body.getInt(), body.getLong(), broker);
        }
    }

    private boolean consumersReady() {
        return consumers.stream().allMatch(c ->
                !c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().isEmpty());
    }

    private void start() throws Exception {
        for (int i = 0; i < number("consumers", 1); i++) {
            startConsumer(i);
        }
        if (!Waiting.until(this::consumersReady, Duration.ofMillis(number("ready-ms", 60000)))) {
            throw new IllegalStateException("the consumers have no queues");
        }
        producer = new DefaultMQProducer(text("producer-app", "app4Product"));
        producer.setNamesrvAddr(text("namesrv", "127.0.0.1:9876"));
        producer.setInstanceName("producer");
        producer.start();
        ledger.mark();
        for (int i = 0; i < number("producers", 2); i++) {
            int me = i;
            var thread = new Thread(() -> produce(me), "producer-" + i);
            producers.add(thread);
            thread.start();
        }
    }

    private void produce(int me) {
        long intervalNanos = TimeUnit.SECONDS.toNanos(1) * number("producers", 2) / number("rate", 1000);
        long due = System.nanoTime() + me * intervalNanos / number("producers", 2);
        while (!stopping.get()) {
            long wait = due - System.nanoTime();
            if (wait > 0) {
                java.util.concurrent.locks.LockSupport.parkNanos(wait);
                continue;
            }
            due = Math.max(due, System.nanoTime() - intervalNanos) + intervalNanos;
            send(me);
        }
    }

    private void send(int me) {
        long sequence = ledger.begin(me);
        var body = ByteBuffer.allocate(number("bytes", 200));
        body.putLong(runId).putInt(me).putLong(sequence);
        SendResult result = null;
        try {
            result = producer.send(new Message(text("topic", "topic_simple"), "p" + me, body.array()));
        } catch (Exception e) {
            // Counted as failed: an application is told no more than that.
        }
        if (result == null) {
            ledger.sent(me, sequence, "failed", FAILED, null);
        } else if (result.getSendStatus() == SendStatus.SEND_OK) {
            ledger.sent(me, sequence, "acknowledged", 0, result.getMessageQueue().getBrokerName());
        } else {
            ledger.sent(me, sequence, "stored", CODES.get(result.getSendStatus()), result.getMessageQueue().getBrokerName());
        }
    }

    private void stopProducers() throws InterruptedException {
        stopping.set(true);
        ledger.stopped();
        for (var thread : producers) {
            thread.join();
        }
    }

    // --- commands ---

    private static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private void serve() throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null && !line.equals("quit"); line = in.readLine()) {
            var words = line.split(" ");
            switch (words[0]) {
            case "mark" -> {
                ledger.mark();
                say("marked");
            }
            case "stop" -> {
                stopProducers();
                say("stopped");
            }
            case "drain" -> {
                boolean drained = Waiting.until(() -> ledger.missing() == 0, Duration.ofMillis(Long.parseLong(words[1])));
                say(drained ? "drained" : "missing " + ledger.missing());
            }
            case "report" -> say(ledger.report());
            default -> say("error: expected mark, stop, drain MS, report or quit");
            }
        }
        stopProducers();
        Waiting.until(() -> ledger.missing() == 0, Duration.ofMillis(number("drain-ms", 20000)));
        say(ledger.report());
    }

    public static void main(String[] arguments) throws Exception {
        var traffic = new TrafficMain(arguments);
        traffic.start();
        say("ready");
        traffic.serve();
        System.exit(0);
    }

    /** The longest time without an event. */
    private static final class Gap {
        private long last = System.nanoTime();
        private long longest;

        void event(long now) {
            longest = Math.max(longest, now - last);
            last = now;
        }

        double millis(long now) {
            return Math.max(longest, now - last) / 1e6;
        }
    }

    private static final class Shard {
        private Gap acknowledged = new Gap();
        private Gap stored = new Gap();
        private Gap delivered = new Gap();
        private long acknowledgedCount;
        private long storedCount;
        private long deliveredCount;

        void mark() {
            acknowledged = new Gap();
            stored = new Gap();
            delivered = new Gap();
        }
    }

    private static final class Producer {
        private final List<String> outcomes = new ArrayList<>();
        private final List<Integer> deliveries = new ArrayList<>();
        private Gap acknowledged = new Gap();
        private Gap stored = new Gap();
    }

    /** What became of every message; as tests/system/traffic/ledger.h. */
    private static final class Ledger {
        private final List<Producer> producers = new ArrayList<>();
        private final Map<String, Shard> shards = new TreeMap<>();
        private final Map<Integer, Integer> statuses = new TreeMap<>();
        private final PrintWriter log;
        private Gap acknowledged = new Gap();
        private Gap stored = new Gap();
        private Gap delivered = new Gap();
        private long stoppedNanos;
        private long repeated;
        private long missing;

        Ledger(int count, String path) throws IOException {
            for (int i = 0; i < count; i++) {
                producers.add(new Producer());
            }
            log = path == null ? null : new PrintWriter(path, StandardCharsets.UTF_8);
        }

        synchronized long begin(int producer) {
            var p = producers.get(producer);
            p.outcomes.add("open");
            p.deliveries.add(0);
            return p.outcomes.size() - 1;
        }

        synchronized void sent(int producer, long sequence, String outcome, int status, String broker) {
            long now = System.nanoTime();
            var p = producers.get(producer);
            p.outcomes.set((int) sequence, outcome);
            if (broker != null) {
                var shard = shards.computeIfAbsent(broker, name -> new Shard());
                shard.storedCount++;
                for (var gap : List.of(stored, p.stored, shard.stored)) {
                    gap.event(now);
                }
                if (status == 0) {
                    shard.acknowledgedCount++;
                    missing += p.deliveries.get((int) sequence) == 0 ? 1 : 0;
                    for (var gap : List.of(acknowledged, p.acknowledged, shard.acknowledged)) {
                        gap.event(now);
                    }
                }
            }
            if (status != 0) {
                statuses.merge(status, 1, Integer::sum);
            }
            if (log != null) {
                log.printf("%d sent %d %d %s %d %s%n", now, producer, sequence, outcome, status, broker == null ? "-" : broker);
            }
        }

        synchronized void delivered(int producer, long sequence, String broker) {
            long now = System.nanoTime();
            var p = producers.get(producer);
            int before = p.deliveries.get((int) sequence);
            p.deliveries.set((int) sequence, before + 1);
            if (before > 0) {
                repeated++;
                return;
            }
            var shard = shards.computeIfAbsent(broker, name -> new Shard());
            shard.deliveredCount++;
            delivered.event(now);
            shard.delivered.event(now);
            missing -= p.outcomes.get((int) sequence).equals("acknowledged") ? 1 : 0;
        }

        synchronized void mark() {
            acknowledged = new Gap();
            stored = new Gap();
            delivered = new Gap();
            for (var p : producers) {
                p.acknowledged = new Gap();
                p.stored = new Gap();
            }
            shards.values().forEach(Shard::mark);
        }

        synchronized void stopped() {
            stoppedNanos = stoppedNanos == 0 ? System.nanoTime() : stoppedNanos;
        }

        synchronized long missing() {
            return missing;
        }

        private long count(String outcome, int leastDeliveries) {
            long count = 0;
            for (var p : producers) {
                for (int i = 0; i < p.outcomes.size(); i++) {
                    count += p.outcomes.get(i).equals(outcome) && p.deliveries.get(i) >= leastDeliveries ? 1 : 0;
                }
            }
            return count;
        }

        private String lostExamples() {
            var lost = new ArrayList<String>();
            for (int i = 0; i < producers.size(); i++) {
                var p = producers.get(i);
                for (int s = 0; s < p.outcomes.size() && lost.size() < 10; s++) {
                    if (p.outcomes.get(s).equals("acknowledged") && p.deliveries.get(s) == 0) {
                        lost.add("{\"producer\":%d,\"sequence\":%d}".formatted(i, s));
                    }
                }
            }
            return String.join(",", lost);
        }

        synchronized String report() {
            if (log != null) {
                log.flush();
            }
            long now = System.nanoTime();
            long end = stoppedNanos != 0 ? stoppedNanos : now;
            long first = 0;
            for (var outcome : List.of("open", "acknowledged", "stored", "failed")) {
                first += count(outcome, 1);
            }
            var each = new ArrayList<String>();
            for (var p : producers) {
                each.add("{\"sent\":%d,\"interruption_ms\":%.3f,\"stored_interruption_ms\":%.3f}".formatted(p.outcomes.size(),
                        p.acknowledged.millis(end), p.stored.millis(end)));
            }
            var brokers = new ArrayList<String>();
            shards.forEach((name, s) -> brokers.add(("\"%s\":{\"acknowledged\":%d,\"stored\":%d,\"delivered\":%d,"
                    + "\"producer_interruption_ms\":%.3f,\"stored_interruption_ms\":%.3f,\"consumer_interruption_ms\":%.3f}").formatted(
                    name, s.acknowledgedCount, s.storedCount, s.deliveredCount, s.acknowledged.millis(end), s.stored.millis(end),
                    s.delivered.longest / 1e6)));
            var codes = new ArrayList<String>();
            statuses.forEach((code, n) -> codes.add("\"%d\":%d".formatted(code, n)));
            return ("{\"acknowledged\":%d,\"uncertain\":%d,\"failed\":%d,\"open\":%d,\"delivered\":%d,\"repeated\":%d,\"lost\":%d,"
                    + "\"uncertain_delivered\":%d,\"statuses\":{%s},\"producer_interruption_ms\":%.3f,"
                    + "\"stored_interruption_ms\":%.3f,\"consumer_interruption_ms\":%.3f,\"producers\":[%s],\"brokers\":{%s},"
                    + "\"lost_examples\":[%s]}").formatted(count("acknowledged", 0), count("stored", 0), count("failed", 0),
                    count("open", 0), first, repeated, missing, count("stored", 1), String.join(",", codes),
                    acknowledged.millis(end), stored.millis(end), delivered.millis(now), String.join(",", each),
                    String.join(",", brokers), lostExamples());
        }
    }
}
