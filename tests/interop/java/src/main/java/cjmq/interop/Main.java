package cjmq.interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs the scenarios against the cluster named by the environment (INTEROP_REGISTRY_ADDRESS,
 * INTEROP_CLUSTER_COMMAND; run.sh sets both): all at once, then one by one those that take the broker away.
 * Exit code 0 when every check holds, 1 when one does not, 2 for a wrong command line.
 */
public final class Main {
    private static final List<Scenario> SCENARIOS = List.of(
            new SendScenario("send.sync", SendScenario::sendSync),
            new SendScenario("send.async", SendScenario::sendAsync),
            new SendScenario("send.oneway", SendScenario::sendOneway),
            new SendScenario("send.batch", SendScenario::sendBatch),
            new ConcurrentConsumerScenario(),
            new OrderlyConsumerScenario(),
            new BroadcastConsumerScenario(),
            new TagsScenario(),
            new PullConsumerScenario(),
            new LitePullConsumerScenario(),
            new RebalanceScenario(),
            new QueryScenario(),
            new RetryScenario("retry", RetryScenario::consumerPicksTheLevel),
            new RetryScenario("retry.table", RetryScenario::brokerPicksTheLevel),
            new DeadLetterScenario(),
            new OrderlyRetryScenario(),
            new RetryPolicyScenario(),
            new DelayLevelScenario(),
            new TransactionScenario(false),
            new RequestReplyScenario(),
            new TransactionScenario(true),
            new RestartScenario());

    private record Outcome(Scenario scenario, Checks checks) {
    }

    private Main() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        var scenarios = new ArrayList<>(SCENARIOS);
        scenarios.addAll(ClientVersion.SCENARIOS);
        System.exit(run(scenarios, arguments));
    }

    /** Runs those of the scenarios that the command line names, or all; returns the exit code. */
    static int run(List<Scenario> scenarios, String[] arguments) throws InterruptedException {
        long startedNanos = System.nanoTime();
        var chosen = choose(scenarios, arguments);
        var cluster = new Cluster(environment("INTEROP_REGISTRY_ADDRESS"), environment("INTEROP_CLUSTER_COMMAND"));
        var runId = Long.toString(System.currentTimeMillis(), Character.MAX_RADIX);
        var outcomes = new ArrayList<Outcome>();
        var threads = Executors.newCachedThreadPool();
        outcomes.addAll(runTogether(threads, cluster, runId,
                chosen.stream().filter(scenario -> !scenario.disturbsOthers()).toList()));
        for (var scenario : chosen) {
            if (scenario.disturbsOthers()) {
                outcomes.addAll(runTogether(threads, cluster, runId, List.of(scenario)));
            }
        }
        int passed = outcomes.stream().mapToInt(outcome -> outcome.checks().passed()).sum();
        int failed = outcomes.stream().mapToInt(outcome -> outcome.checks().failed()).sum();
        System.out.printf("%d scenarios, %d checks passed, %d failed, %.1f s%n", outcomes.size(), passed, failed,
                (System.nanoTime() - startedNanos) / 1e9);
        System.out.flush();
        // The client keeps non-daemon threads for a while after shutdown; nobody waits for them.
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    private static List<Scenario> choose(List<Scenario> scenarios, String[] arguments) {
        if (arguments.length == 0) {
            return scenarios;
        }
        var known = scenarios.stream().map(Scenario::name).toList();
        var wanted = Set.copyOf(Arrays.asList(arguments));
        var unknown = wanted.stream().filter(name -> !known.contains(name)).toList();
        if (!unknown.isEmpty()) {
            System.err.println("no such scenario: " + unknown + "; there are " + known);
            System.exit(2);
        }
        return scenarios.stream().filter(scenario -> wanted.contains(scenario.name())).toList();
    }

    static String environment(String name) {
        var value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            System.err.println(name + " is not set; run.sh sets it");
            System.exit(2);
        }
        return value;
    }

    private static List<Outcome> runTogether(ExecutorService threads, Cluster cluster, String runId,
            List<Scenario> scenarios) throws InterruptedException {
        var outcomes = new ArrayList<Outcome>();
        var running = new ArrayList<Future<Void>>();
        for (var scenario : scenarios) {
            var checks = new Checks(scenario.name());
            outcomes.add(new Outcome(scenario, checks));
            running.add(threads.submit(story(cluster, runId, scenario, checks)));
        }
        long secondsMax = scenarios.stream().mapToLong(Scenario::secondsMax).max().orElse(0);
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(secondsMax);
        for (int i = 0; i < running.size(); i++) {
            var checks = outcomes.get(i).checks();
            try {
                running.get(i).get(Math.max(0, deadline - System.nanoTime()), TimeUnit.NANOSECONDS);
            } catch (TimeoutException e) {
                checks.fail("did not end in " + secondsMax + " s");
            } catch (ExecutionException e) {
                checks.fail(describe(e.getCause()));
            }
        }
        return outcomes;
    }

    private static Callable<Void> story(Cluster cluster, String runId, Scenario scenario, Checks checks) {
        return () -> {
            long startedNanos = System.nanoTime();
            try (var bed = new TestBed(cluster, runId, scenario.name(), checks)) {
                scenario.run(bed);
            }
            checks.note(String.format("took %.1f s", (System.nanoTime() - startedNanos) / 1e9));
            return null;
        };
    }

    /** The exception, and where in our own code it came from. */
    private static String describe(Throwable failure) {
        var text = new StringBuilder(failure.toString().replace('\n', ' '));
        Arrays.stream(failure.getStackTrace())
                .filter(frame -> frame.getClassName().startsWith(Main.class.getPackageName()))
                .limit(3)
                .forEach(frame -> text.append(" at ").append(frame.getFileName()).append(':')
                        .append(frame.getLineNumber()));
        return text.toString();
    }
}
