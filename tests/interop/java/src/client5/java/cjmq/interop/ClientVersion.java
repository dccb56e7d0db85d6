package cjmq.interop;

import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** What is named differently in the 5.x client than in the 4.9 client. */
final class ClientVersion {
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
