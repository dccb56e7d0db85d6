package cjmq.interop;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;

/** Prints one line for each fact that was checked, and counts those that do not hold. */
final class Checks {
    private final String scenario;
    private final AtomicInteger passed = new AtomicInteger();
    private final AtomicInteger failed = new AtomicInteger();

    Checks(String scenario) {
        this.scenario = scenario;
    }

    /** @param found printed when the fact does not hold: what was there instead */
    void that(boolean holds, String fact, String found) {
        if (holds) {
            passed.incrementAndGet();
            System.out.println("ok   " + scenario + ": " + fact);
        } else {
            fail(fact + " -- " + found);
        }
    }

    void equal(Object expected, Object found, String fact) {
        that(Objects.equals(expected, found), fact, "expected " + expected + ", found " + found);
    }

    void fail(String what) {
        failed.incrementAndGet();
        System.out.println("FAIL " + scenario + ": " + what);
    }

    /** Says something worth knowing that is neither right nor wrong. */
    void note(String text) {
        System.out.println("note " + scenario + ": " + text);
    }

    int passed() {
        return passed.get();
    }

    int failed() {
        return failed.get();
    }
}
