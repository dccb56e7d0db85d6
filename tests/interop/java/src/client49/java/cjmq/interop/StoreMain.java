package cjmq.interop;

import java.util.List;

/** A store that goes back and forth between the original broker and ours. The command line is Main's. */
public final class StoreMain {
    private static final List<Scenario> SCENARIOS = List.of(
            new StoreScenario(StoreScenario.Ending.STOP, 5, "apache", "cjmq"),
            new StoreScenario(StoreScenario.Ending.KILL, 4, "cjmq", "apache"));

    private StoreMain() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.exit(Main.run(SCENARIOS, arguments));
    }
}
