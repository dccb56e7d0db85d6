package cjmq.interop;

import java.util.List;

/** A slave follows a master of the other kind, one pair at our registry, one at the original's. The command line is Main's. */
public final class ReplicationMain {
    private static final List<Scenario> SCENARIOS = List.of(
            new ReplicationScenario("apache", "cjmq", "cjmq"),
            new ReplicationScenario("cjmq", "apache", "apache"));

    private ReplicationMain() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.exit(Main.run(SCENARIOS, arguments));
    }
}
