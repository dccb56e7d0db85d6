package cjmq.interop;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** The console of our registry, where an operator changes the cluster's documents. */
final class RegistryConsole implements AutoCloseable {
    private static final int ANSWER_MILLIS_MAX = 10_000;
    private static final String PROMPT = "\r\n>";

    private final Socket socket;

    /** Connects and logs in. */
    RegistryConsole() throws IOException {
        var address = Main.environment("INTEROP_REGISTRY_CONSOLE").split(":");
        socket = new Socket(address[0], Integer.parseInt(address[1]));
        socket.setSoTimeout(ANSWER_MILLIS_MAX);
        call("auth -u jmq -p jmq");
    }

    /** The answer to a command, without the prompt. */
    String call(String line) throws IOException {
        socket.getOutputStream().write((line + "\r\n").getBytes(StandardCharsets.UTF_8));
        var answer = new ByteArrayOutputStream();
        while (!answer.toString(StandardCharsets.UTF_8).endsWith(PROMPT)) {
            int next = socket.getInputStream().read();
            if (next < 0) {
                throw new IOException("the console ended after '" + answer.toString(StandardCharsets.UTF_8) + "'");
            }
            answer.write(next);
        }
        var text = answer.toString(StandardCharsets.UTF_8);
        return text.substring(0, text.length() - PROMPT.length());
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
