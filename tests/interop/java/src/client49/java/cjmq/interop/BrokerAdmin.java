package cjmq.interop;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.CommunicationMode;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.consumer.PullResultExt;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.common.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.common.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.common.sysflag.PullSysFlag;

/** What is asked of one broker by its address, as mqadmin and slaves ask, in plain values. Used by one thread. */
final class BrokerAdmin {
    private static final long TIMEOUT_MILLIS = 5000;
    private static final int PULL_MAX = 32;
    /** The response code by which a broker says that a group has no offset for a queue. */
    private static final int QUERY_NOT_FOUND = 22;
    /** Who reads the records: a group that brokers always have. */
    private static final String READER_GROUP = "TOOLS_CONSUMER";

    private final String address;
    private final MQClientAPIImpl api;

    BrokerAdmin(DefaultMQProducer client, String address) {
        this.address = address;
        this.api = client.getDefaultMQProducerImpl().getmQClientFactory().getMQClientAPIImpl();
    }

    MQClientAPIImpl api() {
        return api;
    }

    String address() {
        return address;
    }

    Map<String, TopicConfig> topics() throws Exception {
        return new TreeMap<>(api.getAllTopicConfig(address, TIMEOUT_MILLIS).getTopicConfigTable());
    }

    Map<String, SubscriptionGroupConfig> groups() throws Exception {
        return new TreeMap<>(api.getAllSubscriptionGroup(address, TIMEOUT_MILLIS).getSubscriptionGroupTable());
    }

    void createGroup(String group, int retriesMax) throws Exception {
        var config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        config.setRetryMaxTimes(retriesMax);
        api.createSubscriptionGroup(address, config, TIMEOUT_MILLIS);
    }

    void commitOffset(String group, String topic, int queueId, long offset) throws Exception {
        var header = new UpdateConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queueId);
        header.setCommitOffset(offset);
        api.updateConsumerOffset(address, header, TIMEOUT_MILLIS);
    }

    OptionalLong offset(String group, String topic, int queueId) throws Exception {
        var header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queueId);
        try {
            return OptionalLong.of(api.queryConsumerOffset(address, header, TIMEOUT_MILLIS));
        } catch (MQBrokerException e) {
            if (e.getResponseCode() == QUERY_NOT_FOUND) {
                return OptionalLong.empty();
            }
            throw e;
        }
    }

    long maxOffset(String topic, int queueId) throws Exception {
        return api.getMaxOffset(address, new MessageQueue(topic, "", queueId), TIMEOUT_MILLIS);
    }

    /** The end of its commit log. */
    long logEnd() throws Exception {
        return Long.parseLong(api.getBrokerRuntimeInfo(address, TIMEOUT_MILLIS).getTable().get("commitLogMaxOffset"));
    }

    /** The queue's messages from an offset to the end, byte for byte as the broker delivers them. */
    List<byte[]> records(String topic, int queueId, long from) throws Exception {
        var records = new ArrayList<byte[]>();
        long next = from;
        while (true) {
            var result = (PullResultExt) api.pullMessage(address, pullHeader(topic, queueId, next), TIMEOUT_MILLIS,
                    CommunicationMode.SYNC, null);
            if (result.getPullStatus() == PullStatus.FOUND) {
                split(result.getMessageBinary(), records);
            } else if (result.getNextBeginOffset() <= next) {
                return records;
            }
            next = result.getNextBeginOffset();
        }
    }

    private static PullMessageRequestHeader pullHeader(String topic, int queueId, long offset) {
        var header = new PullMessageRequestHeader();
        header.setConsumerGroup(READER_GROUP);
        header.setTopic(topic);
        header.setQueueId(queueId);
        header.setQueueOffset(offset);
        header.setMaxMsgNums(PULL_MAX);
        header.setSysFlag(PullSysFlag.buildSysFlag(false, false, true, false));
        header.setCommitOffset(0L);
        header.setSuspendTimeoutMillis(0L);
        header.setSubscription("*");
        header.setSubVersion(0L);
        header.setExpressionType("TAG");
        return header;
    }

    /** Each record begins with its length. */
    private static void split(byte[] records, List<byte[]> out) {
        var buffer = ByteBuffer.wrap(records);
        while (buffer.hasRemaining()) {
            var record = new byte[buffer.getInt(buffer.position())];
            buffer.get(record);
            out.add(record);
        }
    }
}
