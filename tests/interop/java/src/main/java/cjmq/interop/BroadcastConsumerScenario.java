package cjmq.interop;

/** Two broadcasting consumers of one group each get every message. */
final class BroadcastConsumerScenario implements Scenario {
    private static final int LETTERS = 60;

    @Override
    public String name() {
        return "consume.broadcast";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var topic = bed.createTopic("letters", 4);
        var group = bed.newName("listeners");
        var first = startConsumer(bed, group, topic, "first");
        var second = startConsumer(bed, group, topic, "second");
        var letters = Letter.mixed(topic, "news", LETTERS);
        bed.sendAll(letters);
        first.awaitDistinct(LETTERS, TestBed.PATIENT);
        second.awaitDistinct(LETTERS, TestBed.PATIENT);
        first.checkExactly(bed.checks(), "the first listener", letters);
        second.checkExactly(bed.checks(), "the second listener", letters);
    }

    private static Inbox startConsumer(TestBed bed, String group, String topic, String consumerName) throws Exception {
        var inbox = new Inbox();
        var consumer = bed.newPushConsumer(group, topic, "*");
        ClientVersion.setBroadcasting(consumer);
        consumer.registerMessageListener(TestBed.collector(consumerName, inbox));
        consumer.start();
        return inbox;
    }
}
