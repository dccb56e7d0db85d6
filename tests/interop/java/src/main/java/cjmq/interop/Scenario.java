package cjmq.interop;

/** One story told with the published client against a running cluster. */
interface Scenario {
    /** Short name, as given to {@code --only}. */
    String name();

    /** True when the scenario takes the broker away: it then runs after all others, alone. */
    default boolean disturbsOthers() {
        return false;
    }

    /** A scenario that takes longer has failed. */
    default long secondsMax() {
        return 100;
    }

    /** Tells the story; every fact it establishes goes through {@code bed.checks()}. */
    void run(TestBed bed) throws Exception;
}
