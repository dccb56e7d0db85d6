package cjmq.interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * What a scenario sends and expects to find again: a message with an identity of its own.
 * The identity travels as a user property, so that it needs no trust in message ids.
 */
record Letter(String id, String topic, String tag, String key, byte[] body) {
    private static final String ID_PROPERTY = "letterId";
    private static final String NOTE_PROPERTY = "note";
    /** Property values are UTF-8 on the wire; this one has characters of one to four bytes. */
    private static final String NOTE_TEXT = "a=b;c \u00e4\u4e2d\ud83d\ude00";

    /** Above the 4096 bytes from which the client compresses the body, and too random to shrink. */
    private static final int LARGE_BODY_BYTES = 100 * 1024;
    /** Compressible and above that limit. */
    private static final int REPETITIVE_BODY_BYTES = 20 * 1024;

    static Letter of(String topic, String id, String tag, String key) {
        return new Letter(id, topic, tag, key, ("body of " + id).getBytes(StandardCharsets.UTF_8));
    }

    /** Letters of mixed sizes: a single byte, binary, one that is sent compressed, one large. */
    static List<Letter> mixed(String topic, String prefix, int count) {
        var letters = new ArrayList<Letter>();
        for (int i = 0; i < count; i++) {
            var id = prefix + "-" + i;
            letters.add(new Letter(id, topic, "tag" + i % 3, "key-" + id, mixedBody(id, i)));
        }
        return letters;
    }

    private static byte[] mixedBody(String id, int index) {
        var random = new Random(id.hashCode());
        byte[] body;
        switch (index % 8) {
            case 0 -> {
                body = new byte[1];
                random.nextBytes(body);
            }
            case 1 -> {
                body = new byte[256];
                for (int i = 0; i < body.length; i++) {
                    body[i] = (byte) i;
                }
            }
            case 2 -> {
                body = new byte[REPETITIVE_BODY_BYTES];
                Arrays.fill(body, (byte) ('a' + index % 26));
            }
            case 3 -> {
                body = new byte[LARGE_BODY_BYTES];
                random.nextBytes(body);
            }
            default -> body = ("body of " + id).getBytes(StandardCharsets.UTF_8);
        }
        return body;
    }

    Message toMessage() {
        var message = new Message(topic, tag, key, body);
        message.putUserProperty(ID_PROPERTY, id);
        message.putUserProperty(NOTE_PROPERTY, NOTE_TEXT);
        return message;
    }

    static String idOf(MessageExt message) {
        return message.getUserProperty(ID_PROPERTY);
    }

    /** Null when the message is this letter, unchanged; else what differs. */
    String difference(MessageExt message) {
        if (!Arrays.equals(body, message.getBody())) {
            return id + ": body of " + body.length + " bytes came back with " + message.getBody().length
                    + " bytes, first difference at " + Arrays.mismatch(body, message.getBody());
        }
        var difference = differenceOf("topic", topic, message.getTopic());
        difference = difference != null ? difference : differenceOf("tag", tag, message.getTags());
        difference = difference != null ? difference : differenceOf("key", key, message.getKeys());
        return difference != null ? difference
                : differenceOf("user property", NOTE_TEXT, message.getUserProperty(NOTE_PROPERTY));
    }

    private String differenceOf(String what, String expected, String found) {
        return Objects.equals(expected, found) ? null : id + ": " + what + " expected " + expected + ", found " + found;
    }
}
