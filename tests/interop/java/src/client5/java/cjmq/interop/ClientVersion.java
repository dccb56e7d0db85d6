package cjmq.interop;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** What is named differently in the 5.x client than in the 4.9 client. */
final class ClientVersion {
    /** Those that need what only this client has. */
    static final List<Scenario> SCENARIOS = List.of(new DelayTimeScenario());

    /** This client counts the last failed try of an orderly message when it gives it up. */
    static final int ORDERLY_TRIES_UNSAID = 0;

    private ClientVersion() {
    }

    static void createTopic(DefaultMQProducer admin, String templateTopic, String topic, int queues)
            throws MQClientException {
        admin.createTopic(templateTopic, topic, queues, Map.of());
    }

    static void setBroadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }
}
