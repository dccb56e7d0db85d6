package cjmq.interop;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Requests are answered by a consumer with replies that come back to the producer that asked; silence is a timeout. */
final class RequestReplyScenario implements Scenario {
    private static final int REQUESTS = 20;
    private static final long ANSWER_MILLIS_MAX = 20_000;
    private static final long SILENCE_MILLIS = 1_000;
    private static final String SILENT_TAG = "silent";

    @Override
    public String name() {
        return "request-reply";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var checks = bed.checks();
        var topic = bed.createTopic("questions", 4);
        var sent = new Inbox();
        respond(bed, topic, sent);
        var requester = bed.configure(new DefaultMQProducer(bed.newName("requesters")));
        requester.start();
        bed.onClose(requester::shutdown);

        int right = 0;
        for (int i = 0; i < REQUESTS; i++) {
            var reply = requester.request(question(topic, "ask", i), ANSWER_MILLIS_MAX);
            right += text(reply).equals("answer to question " + i) ? 1 : 0;
        }
        checks.equal(REQUESTS, right, "each request got its own reply");
        checkAsync(checks, requester, topic);
        checkSilence(checks, requester, topic);
        checks.that(sent.awaitDistinct(REQUESTS + 1, TestBed.PATIENT), "the responder's replies were acknowledged",
                sent.distinct() + " of " + (REQUESTS + 1));
    }

    private static Message question(String topic, String tag, int number) {
        var message = new Message(topic, tag, ("question " + number).getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("letterId", "question-" + number);
        return message;
    }

    private static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private static void respond(TestBed bed, String topic, Inbox sent) throws Exception {
        var responder = bed.producer();
        var consumer = bed.newPushConsumer(bed.newName("responders"), topic, "*");
        MessageListenerConcurrently listener = (messages, context) -> {
            for (var message : messages) {
                reply(bed, responder, message, sent);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
        consumer.registerMessageListener(listener);
        consumer.start();
    }

    private static void reply(TestBed bed, DefaultMQProducer responder, MessageExt message, Inbox sent) {
        if (SILENT_TAG.equals(message.getTags())) {
            return;
        }
        try {
            var body = ("answer to " + text(message)).getBytes(StandardCharsets.UTF_8);
            var result = responder.send(MessageUtil.createReplyMessage(message, body));
            if (result.getSendStatus() == SendStatus.SEND_OK) {
                sent.add("responder", message);
            }
        } catch (Exception e) {
            bed.checks().fail("reply to " + Letter.idOf(message) + ": " + e);
        }
    }

    private static void checkAsync(Checks checks, DefaultMQProducer requester, String topic) throws Exception {
        var reply = new CompletableFuture<String>();
        requester.request(question(topic, "ask", REQUESTS), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                reply.complete(text(message));
            }

            @Override
            public void onException(Throwable failure) {
                reply.completeExceptionally(failure);
            }
        }, ANSWER_MILLIS_MAX);
        checks.equal("answer to question " + REQUESTS, reply.get(ANSWER_MILLIS_MAX, TimeUnit.MILLISECONDS),
                "an asynchronous request got its reply");
    }

    private static void checkSilence(Checks checks, DefaultMQProducer requester, String topic) throws Exception {
        try {
            var reply = requester.request(question(topic, SILENT_TAG, REQUESTS + 1), SILENCE_MILLIS);
            checks.fail("nobody replied, and yet there is a reply: " + reply);
        } catch (RequestTimeoutException e) {
            checks.that(true, "a request that nobody replies to times out", "");
        }
    }
}
