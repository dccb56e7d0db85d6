package cjmq.interop;

import java.time.Duration;

/** Waits for conditions of the outside world that nobody announces. */
final class Waiting {
    private static final long POLL_MILLIS = 20;

    /** A question that may fail while the answer is not there yet. */
    interface Condition {
        boolean holds() throws Exception;
    }

    private Waiting() {
    }

    /** Asks until the answer is yes. An exception counts as no. False when the time is over. */
    static boolean until(Condition condition, Duration limit) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (true) {
            try {
                if (condition.holds()) {
                    return true;
                }
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) {
                // Not there yet; the caller says what was missing when the time is over.
            }
            if (System.nanoTime() >= deadline) {
                return false;
            }
            Thread.sleep(POLL_MILLIS);
        }
    }

    /** Waits until the wall clock shows a later millisecond than `millis` and one more. */
    static void untilClockPasses(long millis) throws InterruptedException {
        while (System.currentTimeMillis() <= millis + 1) {
            Thread.sleep(1);
        }
    }
}
