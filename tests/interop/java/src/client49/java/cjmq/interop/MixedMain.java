package cjmq.interop;

import java.util.List;

/** Brokers and registries of the original and ours in one cluster. The command line is Main's. */
public final class MixedMain {
    private static final List<Scenario> SCENARIOS = List.of(new MixedScenario());

    private MixedMain() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.exit(Main.run(SCENARIOS, arguments));
    }
}
