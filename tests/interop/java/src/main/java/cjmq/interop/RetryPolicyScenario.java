package cjmq.interop;

import java.util.List;
import java.util.Map;

/**
 * The topic document decides for each app when a failed message comes again: a retryPolicy with growing delays, one
 * with equal delays, and retry: false, by which it comes at once. The original has no such document.
 */
final class RetryPolicyScenario implements Scenario {
    /** @param policy what the document says of the app; delays in ms; dead: it fails for ever */
    private record Plan(String name, String policy, List<Long> delaysMillis, boolean dead) {
    }

    private static final List<Plan> PLANS = List.of(
            new Plan("growing", "{'retryPolicy':{'retryDelay':500,'useExponentialBackOff':true,'backOffMultiplier':2.0,"
                    + "'maxRetryDelay':1500,'maxRetrys':4}}", List.of(500L, 1000L, 1500L, 1500L), true),
            new Plan("equal", "{'retryPolicy':{'retryDelay':700,'useExponentialBackOff':false,'maxRetrys':5}}",
                    List.of(700L, 700L), false),
            new Plan("expiring", "{'retryPolicy':{'retryDelay':800,'useExponentialBackOff':false,'maxRetrys':0,"
                    + "'expireTime':1500}}", List.of(800L), true),
            new Plan("at-once", "{'retry':false}", List.of(0L, 0L), false));

    @Override
    public String name() {
        return "retry.policy";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        if (!Cluster.isOurs()) {
            bed.checks().note("not told: the original has no topic document");
            return;
        }
        var topic = bed.newName("letters");
        var consumers = new StringBuilder();
        for (var plan : PLANS) {
            consumers.append(consumers.isEmpty() ? "" : ",").append("'").append(bed.newName(plan.name())).append("':")
                    .append(plan.policy());
        }
        try (var console = new RegistryConsole()) {
            var answer = console.call("topic set [{'topic':'" + topic + "','groups':['interop'],'queues':2,"
                    + "'consumers':{" + consumers + "}}]");
            bed.checks().that(answer.contains("\"status\":0"), "the topic document is accepted", answer);
        }
        if (!Waiting.until(() -> bed.producer().fetchPublishMessageQueues(topic).size() == 2, TestBed.PATIENT)) {
            throw new IllegalStateException("the topic of the document has no route");
        }
        var letter = Letter.of(topic, "failed", "t", "k");
        var tries = PLANS.stream().map(plan -> new Tries()).toList();
        for (int i = 0; i < PLANS.size(); i++) {
            var plan = PLANS.get(i);
            tries.get(i).plan(letter, plan.dead() ? Tries.ALWAYS : plan.delaysMillis().size());
            var consumer = bed.newPushConsumer(bed.foundGroup(plan.name(), topic), topic, "*");
            consumer.registerMessageListener(tries.get(i).listener(0));
            consumer.start();
        }
        bed.sendAll(List.of(letter));
        for (int i = 0; i < PLANS.size(); i++) {
            check(bed, PLANS.get(i), tries.get(i), letter);
        }
    }

    private static void check(TestBed bed, Plan plan, Tries tries, Letter letter) throws Exception {
        int expected = plan.delaysMillis().size() + 1;
        bed.checks().note("app " + plan.name() + ": " + plan.policy());
        tries.await(expected, TestBed.PATIENT);
        var group = bed.newName(plan.name());
        if (plan.dead()) {
            DeadLetterScenario.checkDead(bed.checks(), bed.read("%DLQ%" + group, 1, TestBed.PATIENT), group,
                    List.of(letter), expected);
        }
        tries.check(bed.checks(), Map.of(letter, plan.delaysMillis()));
    }
}
