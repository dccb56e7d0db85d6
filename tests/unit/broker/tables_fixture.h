/* tables_fixture.h - what the tests of the broker's tables share: settings over a temporary folder, and
 * identity, store and topics above them on request. */
#ifndef CJMQ_TESTS_BROKER_TABLES_FIXTURE_H
#define CJMQ_TESTS_BROKER_TABLES_FIXTURE_H

#include "../testing.h"

#include "base/mem.h"
#include "broker/broker.h"
#include "cluster/broker_document.h"
#include "cluster/topic_document.h"

#include <pthread.h>
#include <sys/stat.h>

/* A broker of which only the parts exist that a test asks for; no thread, no server. */
struct tables {
    struct broker broker;
    char *folder; /* storePathRootDir; "config" exists in it */
};

static inline void tables_set(struct tables *f, const char *name, const char *value)
{
    struct errbuf eb = {0};
    struct broker *b = &f->broker;
    if (settings_assign(b->setting_defs, b->setting_count, &b->settings, slice_str(name), slice_str(value),
                        "test", &eb) != 0)
        fail_msg("%s", eb.text);
}

static inline int tables_setup(void **state)
{
    void *folder;
    if (temp_folder_setup(&folder) != 0)
        return -1;
    struct tables *f = mem_zalloc(sizeof *f);
    struct broker *b = &f->broker;
    f->folder = folder;
    /* A table of its own: it holds where each value came from, and a test may have two brokers. */
    const struct setting_def *defs = broker_setting_defs(&b->setting_count);
    b->setting_defs = mem_alloc(b->setting_count * sizeof *defs);
    memcpy(b->setting_defs, defs, b->setting_count * sizeof *defs);
    settings_init(b->setting_defs, b->setting_count, &b->settings);
    tables_set(f, "storePathRootDir", f->folder);
    tables_set(f, "listenPort", "50088");
    tables_set(f, "brokerIP1", "10.0.0.1");
    tables_set(f, "brokerName", "jmq102");
    char *config = mem_printf("%s/config", f->folder);
    int rc = mkdir(config, 0777);
    free(config);
    *state = f;
    return rc;
}

static inline void tables_open_identity(struct tables *f)
{
    struct errbuf eb = {0};
    f->broker.identity = identity_new(&f->broker.settings, &eb);
    if (f->broker.identity == NULL)
        fail_msg("%s", eb.text);
}

/* Identity, store and topics. */
static inline void tables_open_topics(struct tables *f)
{
    struct broker *b = &f->broker;
    struct errbuf eb = {0};
    if (b->identity == NULL)
        tables_open_identity(f);
    if (b->store == NULL) {
        struct store_options o;
        store_options_default(&o);
        o.root_dir = f->folder;
        o.commitlog_file_bytes = 65536;
        o.consumequeue_file_entries = 100;
        o.index_enable = false;
        o.disk_reserve_bytes = 0;
        if (store_open(&o, &b->store, NULL, &eb) != 0)
            fail_msg("%s", eb.text);
    }
    if (topic_table_open(&b->settings, b->identity, b->store, &b->topics, &eb) != 0)
        fail_msg("%s", eb.text);
}

static inline void tables_reopen_topics(struct tables *f)
{
    topic_table_close(f->broker.topics);
    f->broker.topics = NULL;
    tables_open_topics(f);
}

static inline int tables_teardown(void **state)
{
    struct tables *f = *state;
    struct broker *b = &f->broker;
    topic_table_close(b->topics);
    if (b->store != NULL)
        store_close(b->store);
    identity_free(b->identity);
    settings_fini(b->setting_defs, b->setting_count, &b->settings);
    free(b->setting_defs);
    void *folder = f->folder;
    free(f);
    return temp_folder_teardown(&folder);
}

/* --- files under config/ --- */

static inline void tables_write(struct tables *f, const char *name, const char *text)
{
    char *path = mem_printf("%s/config/%s", f->folder, name);
    write_file_text(path, text);
    free(path);
}

/* Heap; NULL when there is none. */
static inline char *tables_read(struct tables *f, const char *name)
{
    char *path = mem_printf("%s/config/%s", f->folder, name);
    char *text = read_file_text(path);
    free(path);
    return text;
}

static inline void tables_remove(struct tables *f, const char *name)
{
    char *path = mem_printf("%s/config/%s", f->folder, name);
    assert_int_equal(remove(path), 0);
    free(path);
}

/* --- documents --- */

static inline struct topic_document *tables_topic_document(const char *text)
{
    struct document_problems problems = {0};
    struct topic_document *d = NULL;
    if (topic_document_parse(slice_str(text), NULL, &d, &problems) != 0)
        fail_msg("the topic document of the test is refused: %s", text);
    document_problems_fini(&problems);
    return d;
}

static inline struct broker_document *tables_broker_document(const char *text)
{
    struct document_problems problems = {0};
    struct broker_document *d = NULL;
    if (broker_document_parse(slice_str(text), NULL, &d, &problems) != 0)
        fail_msg("the broker document of the test is refused: %s", text);
    document_problems_fini(&problems);
    return d;
}

#define assert_contains(text, part)                                    \
    do {                                                               \
        if (strstr((text), (part)) == NULL)                            \
            fail_msg("'%s' does not contain '%s'", (text), (part));    \
    } while (0)

#define TABLES_TEST(name) cmocka_unit_test_setup_teardown(name, tables_setup, tables_teardown)

#endif
