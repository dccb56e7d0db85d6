package cjmq.interop;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Set;

/** Each group gets the messages of the tags that it subscribed to, and no others. */
final class TagsScenario implements Scenario {
    private static final int LETTERS_PER_TAG = 20;
    private static final List<String> TAGS = List.of("A", "B", "C");

    @Override
    public String name() {
        return "tags";
    }

    @Override
    public void run(TestBed bed) throws Exception {
        var topic = bed.createTopic("letters", 4);
        var letters = new ArrayList<Letter>();
        for (int i = 0; i < LETTERS_PER_TAG; i++) {
            for (var tag : TAGS) {
                letters.add(Letter.of(topic, tag + i, tag, "key" + i));
            }
            letters.add(Letter.of(topic, "untagged" + i, null, "key" + i));
        }
        bed.sendAll(letters);

        var expectedTags = new LinkedHashMap<String, Set<String>>();
        expectedTags.put("A||B", Set.of("A", "B"));
        expectedTags.put("A || C", Set.of("A", "C"));
        expectedTags.put("C", Set.of("C"));
        expectedTags.put("D", Set.of());
        var inboxes = new LinkedHashMap<String, Inbox>();
        for (var expression : expectedTags.keySet()) {
            var inbox = new Inbox();
            bed.collect(bed.newName("readers" + inboxes.size()), topic, expression, "reader", inbox);
            inboxes.put(expression, inbox);
        }
        var everything = new Inbox();
        bed.collect(bed.newName("everybody"), topic, "*", "reader", everything);
        everything.awaitDistinct(letters.size(), TestBed.PATIENT);
        everything.checkExactly(bed.checks(), "subscriber of *", letters);
        for (var expression : expectedTags.keySet()) {
            var expected = letters.stream()
                    .filter(letter -> letter.tag() != null && expectedTags.get(expression).contains(letter.tag()))
                    .toList();
            var inbox = inboxes.get(expression);
            inbox.awaitDistinct(expected.size(), TestBed.PATIENT);
            inbox.checkExactly(bed.checks(), "subscriber of " + expression, expected);
        }
    }
}
