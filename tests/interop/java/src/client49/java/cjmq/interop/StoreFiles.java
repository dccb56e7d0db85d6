package cjmq.interop;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What lies in a store's folder: the commit log as far as the consume queues point into it, and the entries of each
 * queue (log offset, size, tags code). Read while no broker runs on it, or what is below a known end.
 */
final class StoreFiles {
    private static final int ENTRY_BYTES = 20;
    /** What ends a file that is not full: its rest's length, and this. */
    private static final int BLANK_MAGIC = 0xCBD43194, BLANK_BYTES = 8;
    /** In an entry before the first message of a queue whose beginning was deleted. */
    private static final int FILLER_SIZE = Integer.MAX_VALUE;

    /** One entry of a consume queue. */
    record Entry(long physOffset, int size, long tagsCode) {
        long end() {
            return size == FILLER_SIZE ? 0 : physOffset + size;
        }
    }

    private final Path root;
    private final Map<String, List<Entry>> queues = new TreeMap<>();
    private final long logEnd;

    private StoreFiles(Path root) throws IOException {
        this.root = root;
        for (var name : queueNames(root)) {
            queues.put(name, readQueue(root.resolve("consumequeue").resolve(name)));
        }
        this.logEnd = queues.values().stream().flatMap(List::stream).mapToLong(Entry::end).max().orElse(0);
    }

    static StoreFiles read(Path root) throws IOException {
        return new StoreFiles(root);
    }

    /** The queues that have a folder, as TOPIC/QUEUE; also while a broker runs. */
    static List<String> queueNames(Path root) throws IOException {
        var names = new ArrayList<String>();
        for (var topic : children(root.resolve("consumequeue"))) {
            for (var queue : children(topic)) {
                names.add(topic.getFileName() + "/" + queue.getFileName());
            }
        }
        return names;
    }

    private static List<Path> children(Path folder) throws IOException {
        try (var names = Files.list(folder)) {
            return names.sorted().toList();
        }
    }

    private static List<Entry> readQueue(Path folder) throws IOException {
        var entries = new ArrayList<Entry>();
        for (var file : children(folder)) {
            var bytes = ByteBuffer.wrap(Files.readAllBytes(file));
            while (bytes.remaining() >= ENTRY_BYTES) {
                var entry = new Entry(bytes.getLong(), bytes.getInt(), bytes.getLong());
                if (entry.size() == 0) {
                    break;
                }
                entries.add(entry);
            }
        }
        return entries;
    }

    int queueCount() {
        return queues.size();
    }

    long logEnd() {
        return logEnd;
    }

    int logFileCount() throws IOException {
        return logFiles().size();
    }

    private List<Path> logFiles() throws IOException {
        return children(root.resolve("commitlog")).stream()
                .filter(file -> file.getFileName().toString().matches("[0-9]{20}")).toList();
    }

    /** The log's bytes below `end`. */
    byte[] log(long end) throws IOException {
        var log = new byte[Math.toIntExact(end)];
        for (var file : logFiles()) {
            int at = Math.toIntExact(Math.min(end, Long.parseLong(file.getFileName().toString())));
            var bytes = Files.readAllBytes(file);
            System.arraycopy(bytes, 0, log, at, Math.min(bytes.length, log.length - at));
        }
        return log;
    }

    /** Entries of this earlier state that another broker changed or lost since. */
    List<String> changesIn(StoreFiles later) {
        var changes = new ArrayList<String>();
        queues.forEach((queue, entries) -> {
            var found = later.queues.getOrDefault(queue, List.of());
            for (int i = 0; i < entries.size(); i++) {
                if (i >= found.size() || !entries.get(i).equals(found.get(i))) {
                    changes.add(queue + " at " + i + ": was " + entries.get(i) + ", is "
                            + (i < found.size() ? found.get(i) : "gone"));
                }
            }
        });
        return changes;
    }

    /** The first byte that differs between two logs; empty: none. */
    static String difference(byte[] before, byte[] after) {
        int at = Arrays.mismatch(before, after);
        return at < 0 ? "" : "first difference at " + at + " of " + before.length;
    }

    /** The same, but for what lies between the blank at the end of a file and the next file, which may be anything. */
    static String differenceOfRecords(byte[] one, byte[] other, int fileBytes) {
        var log = ByteBuffer.wrap(one);
        int at = 0;
        while (at < one.length && other.length == one.length) {
            boolean blank = log.getInt(at + Integer.BYTES) == BLANK_MAGIC;
            int end = Math.min(one.length, at + (blank ? BLANK_BYTES : log.getInt(at)));
            if (end <= at || !Arrays.equals(one, at, end, other, at, end)) {
                return "they differ in the record at " + at + " of " + one.length;
            }
            at = blank ? (at / fileBytes + 1) * fileBytes : end;
        }
        return other.length == one.length ? "" : "one has " + one.length + " bytes, the other " + other.length;
    }
}
