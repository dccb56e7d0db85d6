package cjmq.interop;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** The cluster under test, as run.sh started it; its broker can be taken away and brought back. */
final class Cluster {
    private static final long COMMAND_SECONDS_MAX = 90;

    private final String registryAddress;
    private final String command;

    Cluster(String registryAddress, String command) {
        this.registryAddress = registryAddress;
        this.command = command;
    }

    String registryAddress() {
        return registryAddress;
    }

    /** Whether registry and broker are CJMQ's: what the original does not have can be asked for. */
    static boolean isOurs() {
        return Main.environment("INTEROP_REGISTRY").equals("cjmq") && Main.environment("INTEROP_BROKER").equals("cjmq");
    }

    /** The broker that keeps the failed messages of the other's group; empty: each broker keeps its own. */
    static Optional<String> keeperAddress() {
        return "1".equals(System.getenv("INTEROP_KEEPER")) ? Optional.of(Main.environment("INTEROP_SLAVE_ADDRESS"))
                : Optional.empty();
    }

    /** How long the broker lets a message of this delay level wait; a level beyond the last counts as the last. */
    static long delayMillis(int level) {
        var levels = Main.environment("INTEROP_DELAY_LEVELS").split(" ");
        var text = levels[Math.min(level, levels.length) - 1];
        if (!text.endsWith("s")) {
            throw new IllegalStateException("delay level " + level + " is " + text + ", expected seconds");
        }
        return TimeUnit.SECONDS.toMillis(Long.parseLong(text.substring(0, text.length() - 1)));
    }

    /** kill -9: nothing that the broker holds in memory survives. */
    void killBroker() throws IOException, InterruptedException {
        call("kill-broker");
    }

    /** SIGTERM, as an operator stops it. Returns when the process has ended. */
    void stopBroker() throws IOException, InterruptedException {
        call("stop-broker");
    }

    /** Returns when the broker listens. */
    void startBroker() throws IOException, InterruptedException {
        call("start-broker");
    }

    /** Any command of cluster.sh, which describes them. */
    void call(String verb, String... arguments) throws IOException, InterruptedException {
        var line = new ArrayList<>(List.of(command, verb));
        line.addAll(List.of(arguments));
        var process = new ProcessBuilder(line).redirectErrorStream(true).start();
        process.getOutputStream().close();
        var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (!process.waitFor(COMMAND_SECONDS_MAX, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IOException(command + " " + verb + " did not end in " + COMMAND_SECONDS_MAX + " s");
        }
        if (process.exitValue() != 0) {
            throw new IOException(command + " " + verb + " ended with " + process.exitValue() + ": " + output);
        }
    }
}
