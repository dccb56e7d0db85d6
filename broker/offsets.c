/* offsets.c - consumer offsets by (topic, group), an array of queues each.
 *
 * File config/consumerOffset.json: {"offsetTable":{"topic@group":{0:10,1:11}}}; integer keys unquoted, as
 * RocketMQ writes them.
 * Threads: any; one mutex for the table, a second one so that two savers do not write the file at once.
 * Invariants: 1. offsets[q] is -1 or what was last committed for queue q. 2. `changes` grows with every
 * change; the file holds the table as of `saved_changes`. 3. A row's `changed` is the count of its last change, so
 * that a slave is sent only what it lacks. */
#include "broker/offsets.h"

#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/broker_settings.h"
#include "broker/config_file.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#define LOG_COMPONENT "offsets"
#include "base/log.h"

#define OFFSET_FILE "consumerOffset.json"
/* Topics have no queue above this. */
enum { QUEUE_ID_MAX = 65535, NAME_PAIR_MAX = 1024 };

struct offset_row {
    int64_t *offsets; /* owned; by queue id */
    int32_t count;
    uint64_t changed;
    uint64_t local; /* `changed` of the last commit that the master has not been told; 0: none */
    size_t topic_len;
    UT_hash_handle hh;
    char key[]; /* "topic@group", zero-terminated */
};

struct offset_table {
    char *root_dir;
    int64_t offsets_max;

    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct offset_row *rows;
    int64_t offset_count;
    uint64_t changes;
    uint64_t removed; /* `changes` when rows were removed last: who knows an older state needs all of it */
    bool slave;       /* what consumers commit here is the master's to know */
    bool sorted;      /* the order of `rows` is that of their keys */

    pthread_mutex_t save_mutex;
    /* --- save_mutex --- */
    uint64_t saved_changes;
};

static size_t row_key(char *key, struct slice topic, struct slice group)
{
    size_t len = topic.len + 1 + group.len;
    if (topic.len == 0 || group.len == 0 || len > NAME_PAIR_MAX)
        return 0;
    memcpy(key, topic.ptr, topic.len);
    key[topic.len] = '@';
    memcpy(key + topic.len + 1, group.ptr, group.len);
    return len;
}

static struct offset_row *row_lookup_locked(struct offset_table *o, struct slice topic, struct slice group)
{
    char key[NAME_PAIR_MAX];
    size_t len = row_key(key, topic, group);
    struct offset_row *row = NULL;
    if (len > 0)
        HASH_FIND(hh, o->rows, key, len, row);
    return row;
}

static struct offset_row *row_add_locked(struct offset_table *o, const char *key, size_t len,
                                         size_t topic_len)
{
    struct offset_row *row = mem_zalloc(sizeof *row + len + 1);
    memcpy(row->key, key, len);
    row->topic_len = topic_len;
    HASH_ADD_KEYPTR(hh, o->rows, row->key, len, row);
    o->sorted = false;
    return row;
}

static struct slice row_topic(const struct offset_row *row)
{
    return slice_of(row->key, row->topic_len);
}

static struct slice row_group(const struct offset_row *row)
{
    return slice_str(row->key + row->topic_len + 1);
}

static void row_free_locked(struct offset_table *o, struct offset_row *row)
{
    HASH_DEL(o->rows, row);
    o->offset_count -= row->count;
    free(row->offsets);
    free(row);
}

static void row_grow_locked(struct offset_table *o, struct offset_row *row, int32_t count)
{
    o->offset_count += count - row->count;
    row->offsets = mem_realloc(row->offsets, (size_t)count * sizeof row->offsets[0]);
    while (row->count < count)
        row->offsets[row->count++] = -1;
}

/* Who an offset comes from. */
enum commit_from { FROM_CLIENT, FROM_FILE, FROM_MASTER, FROM_SLAVE };

static int commit_locked(struct offset_table *o, struct slice topic, struct slice group, int32_t queue_id,
                         int64_t offset, enum commit_from from)
{
    if (queue_id < 0 || queue_id > QUEUE_ID_MAX || offset < 0)
        return ERR_INVAL;
    char key[NAME_PAIR_MAX];
    size_t len = row_key(key, topic, group);
    if (len == 0)
        return ERR_INVAL;
    struct offset_row *row;
    HASH_FIND(hh, o->rows, key, len, row);
    int32_t have = row != NULL ? row->count : 0;
    /* Before a row is made: a full table must not grow by rows without offsets. */
    if (queue_id >= have && o->offset_count + queue_id + 1 - have > o->offsets_max)
        return ERR_LIMIT;
    if (row == NULL)
        row = row_add_locked(o, key, len, topic.len);
    if (queue_id >= have)
        row_grow_locked(o, row, queue_id + 1);
    /* The master may not have heard yet how far consumers have come here, nor a slave's news be the newest. */
    bool newer_here = (from == FROM_MASTER && row->local != 0) || from == FROM_SLAVE;
    if (row->offsets[queue_id] == offset || (newer_here && row->offsets[queue_id] > offset))
        return 0;
    row->offsets[queue_id] = offset;
    row->changed = ++o->changes;
    if (from == FROM_CLIENT && o->slave)
        row->local = row->changed;
    return 0;
}

static void load_row(struct offset_table *o, const cJSON *item, enum commit_from from)
{
    struct slice key = slice_str(item->string);
    const char *at = memchr(key.ptr, '@', key.len);
    if (at == NULL) {
        log_warn("%s: key '%s' is not TOPIC@GROUP; left out", OFFSET_FILE, item->string);
        return;
    }
    struct slice topic = slice_of(key.ptr, (size_t)(at - key.ptr));
    struct slice group = slice_of(at + 1, key.len - topic.len - 1);
    const cJSON *q;
    cJSON_ArrayForEach(q, item)
    {
        int64_t queue_id;
        /* Both ends are checked before the conversions, which are undefined beyond them. */
        int err = !cJSON_IsNumber(q) || q->string == NULL ||
                          slice_to_i64(slice_str(q->string), &queue_id) != 0 || queue_id < 0 ||
                          queue_id > QUEUE_ID_MAX || !(q->valuedouble >= 0 && q->valuedouble < 0x1p63)
                      ? ERR_INVAL
                      : commit_locked(o, topic, group, (int32_t)queue_id, (int64_t)q->valuedouble, from);
        if (err == ERR_LIMIT)
            log_warn("%s: queue %s of '%s' is left out: offsetsMax=%lld offsets are kept", OFFSET_FILE,
                     q->string, item->string, (long long)o->offsets_max);
        else if (err != 0)
            log_warn("%s: entry '%s' of '%s' is no queue and offset; left out", OFFSET_FILE,
                     q->string != NULL ? q->string : "", item->string);
    }
}

int offset_table_open(const struct broker_settings *settings, struct offset_table **out, struct errbuf *eb)
{
    struct buf text = {0};
    int err = config_file_load(settings->storePathRootDir, OFFSET_FILE, &text, eb);
    if (err != 0 && err != ERR_NOTFOUND)
        return err;
    cJSON *root = err == 0 ? cJSON_ParseWithLength(buf_data(&text), buf_len(&text)) : NULL;
    buf_fini(&text);
    /* Starting without them would deliver everything again, or nothing of what waits. */
    if (err == 0 && !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "offsetTable"))) {
        cJSON_Delete(root);
        return errbuf_set(eb, ERR_CORRUPT, "%s/config/%s has no object 'offsetTable'",
                          settings->storePathRootDir, OFFSET_FILE);
    }
    struct offset_table *o = mem_zalloc(sizeof *o);
    pthread_mutex_init(&o->mutex, NULL);
    pthread_mutex_init(&o->save_mutex, NULL);
    o->root_dir = mem_strdup(settings->storePathRootDir);
    o->offsets_max = settings->offsetsMax;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "offsetTable"))
        load_row(o, item, FROM_FILE);
    o->saved_changes = o->changes;
    cJSON_Delete(root);
    *out = o;
    return 0;
}

void offset_table_close(struct offset_table *o)
{
    if (o == NULL)
        return;
    struct errbuf eb = {0};
    if (offset_table_save(o, &eb) != 0)
        log_error("consumer offsets were not saved: %s; consumers go on from the last ones saved", eb.text);
    struct offset_row *row, *next;
    HASH_ITER(hh, o->rows, row, next)
        row_free_locked(o, row);
    pthread_mutex_destroy(&o->mutex);
    pthread_mutex_destroy(&o->save_mutex);
    free(o->root_dir);
    free(o);
}

int64_t offset_table_get(struct offset_table *o, struct slice topic, struct slice group, int32_t queue_id)
{
    pthread_mutex_lock(&o->mutex);
    struct offset_row *row = row_lookup_locked(o, topic, group);
    int64_t offset = row != NULL && queue_id >= 0 && queue_id < row->count ? row->offsets[queue_id] : -1;
    pthread_mutex_unlock(&o->mutex);
    return offset;
}

int offset_table_commit(struct offset_table *o, struct slice topic, struct slice group, int32_t queue_id,
                        int64_t offset)
{
    pthread_mutex_lock(&o->mutex);
    int err = commit_locked(o, topic, group, queue_id, offset, FROM_CLIENT);
    pthread_mutex_unlock(&o->mutex);
    return err;
}

static void delete_matching(struct offset_table *o, struct slice topic, struct slice group)
{
    pthread_mutex_lock(&o->mutex);
    struct offset_row *row, *next;
    HASH_ITER(hh, o->rows, row, next)
    {
        if ((topic.ptr == NULL || slice_eq(row_topic(row), topic)) &&
            (group.ptr == NULL || slice_eq(row_group(row), group))) {
            row_free_locked(o, row);
            o->removed = ++o->changes;
        }
    }
    pthread_mutex_unlock(&o->mutex);
}

void offset_table_delete_group(struct offset_table *o, struct slice group)
{
    delete_matching(o, SLICE_NULL, group);
}

void offset_table_delete_topic(struct offset_table *o, struct slice topic)
{
    delete_matching(o, topic, SLICE_NULL);
}

static int by_key(struct offset_row *a, struct offset_row *b)
{
    return strcmp(a->key, b->key);
}

static void sort_locked(struct offset_table *o)
{
    if (!o->sorted)
        HASH_SORT(o->rows, by_key);
    o->sorted = true;
}

void offset_table_each(struct offset_table *o, struct slice topic, struct slice group,
                       void (*fn)(void *arg, struct slice topic, struct slice group, int32_t queue_id,
                                  int64_t offset),
                       void *arg)
{
    pthread_mutex_lock(&o->mutex);
    sort_locked(o);
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next) {
        if ((topic.ptr != NULL && !slice_eq(row_topic(row), topic)) ||
            (group.ptr != NULL && !slice_eq(row_group(row), group)))
            continue;
        for (int32_t q = 0; q < row->count; q++)
            if (row->offsets[q] >= 0)
                fn(arg, row_topic(row), row_group(row), q, row->offsets[q]);
    }
    pthread_mutex_unlock(&o->mutex);
}

static void print_row(const struct offset_row *row, struct buf *out)
{
    json_append_string(out, slice_str(row->key));
    buf_append_str(out, ":{");
    const char *comma = "";
    for (int32_t q = 0; q < row->count; q++) {
        if (row->offsets[q] < 0)
            continue;
        buf_printf(out, "%s%d:%lld", comma, q, (long long)row->offsets[q]);
        comma = ",";
    }
    buf_append_char(out, '}');
}

static void print_locked(struct offset_table *o, struct buf *out)
{
    sort_locked(o);
    buf_append_str(out, "{\"offsetTable\":{");
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next) {
        if (row != o->rows)
            buf_append_char(out, ',');
        print_row(row, out);
    }
    buf_append_str(out, "}}");
}

void offset_table_print(struct offset_table *o, struct buf *out)
{
    pthread_mutex_lock(&o->mutex);
    print_locked(o, out);
    pthread_mutex_unlock(&o->mutex);
}

unsigned offset_table_bound(struct offset_table *o, int64_t (*end)(void *arg, struct slice topic, int32_t queue_id),
                            void *arg)
{
    unsigned bound = 0;
    pthread_mutex_lock(&o->mutex);
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next) {
        for (int32_t q = 0; q < row->count; q++) {
            int64_t most = row->offsets[q] > 0 ? end(arg, row_topic(row), q) : 0;
            if (row->offsets[q] <= most)
                continue;
            row->offsets[q] = most;
            row->changed = ++o->changes;
            bound++;
        }
    }
    pthread_mutex_unlock(&o->mutex);
    return bound;
}

/* --- between master and slave --- */

void offset_table_set_slave(struct offset_table *o, bool slave)
{
    pthread_mutex_lock(&o->mutex);
    o->slave = slave;
    pthread_mutex_unlock(&o->mutex);
}

uint64_t offset_table_print_since(struct offset_table *o, uint64_t since, bool *whole, struct buf *out)
{
    pthread_mutex_lock(&o->mutex);
    uint64_t now = o->changes;
    const char *comma = "";
    *whole = since == 0 || since < o->removed || since > now;
    buf_append_str(out, "{\"offsetTable\":{");
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next) {
        if (!*whole && row->changed <= since)
            continue;
        buf_append_str(out, comma);
        print_row(row, out);
        comma = ",";
    }
    buf_append_str(out, "}}");
    pthread_mutex_unlock(&o->mutex);
    return now;
}

uint64_t offset_table_print_local(struct offset_table *o, struct buf *out)
{
    pthread_mutex_lock(&o->mutex);
    uint64_t newest = 0;
    const char *comma = "";
    buf_append_str(out, "{\"offsetTable\":{");
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next) {
        if (row->local == 0)
            continue;
        buf_append_str(out, comma);
        print_row(row, out);
        comma = ",";
        newest = row->local > newest ? row->local : newest;
    }
    buf_append_str(out, "}}");
    pthread_mutex_unlock(&o->mutex);
    return newest;
}

void offset_table_local_told(struct offset_table *o, uint64_t newest)
{
    pthread_mutex_lock(&o->mutex);
    for (struct offset_row *row = o->rows; row != NULL; row = row->hh.next)
        if (row->local <= newest)
            row->local = 0;
    pthread_mutex_unlock(&o->mutex);
}

/* Rows that `table` does not list, and that are not this broker's own news, go. */
static void remove_others_locked(struct offset_table *o, const cJSON *table)
{
    struct offset_row *row, *next;
    HASH_ITER(hh, o->rows, row, next)
    {
        if (row->local != 0 || cJSON_GetObjectItemCaseSensitive(table, row->key) != NULL)
            continue;
        row_free_locked(o, row);
        o->removed = ++o->changes;
    }
}

static int take(struct offset_table *o, struct slice json, enum commit_from from, bool whole, struct errbuf *eb)
{
    int err = 0;
    cJSON *root = json_dialect_parse(json, &err, eb);
    const cJSON *table = json_member(root, "offsetTable"), *item;
    if (root != NULL && !cJSON_IsObject(table))
        err = errbuf_set(eb, ERR_PROTO, "consumer offsets without an object 'offsetTable'");
    if (err == 0) {
        pthread_mutex_lock(&o->mutex);
        if (whole)
            remove_others_locked(o, table);
        cJSON_ArrayForEach(item, table)
            load_row(o, item, from);
        pthread_mutex_unlock(&o->mutex);
    }
    cJSON_Delete(root);
    return err;
}

int offset_table_take_master(struct offset_table *o, struct slice json, bool whole, struct errbuf *eb)
{
    return take(o, json, FROM_MASTER, whole, eb);
}

int offset_table_take_slave(struct offset_table *o, struct slice json, struct errbuf *eb)
{
    return take(o, json, FROM_SLAVE, false, eb);
}

int offset_table_save(struct offset_table *o, struct errbuf *eb)
{
    int err = 0;
    struct buf text = {0};
    pthread_mutex_lock(&o->save_mutex);
    pthread_mutex_lock(&o->mutex);
    uint64_t changes = o->changes;
    if (changes != o->saved_changes)
        print_locked(o, &text);
    pthread_mutex_unlock(&o->mutex);
    if (buf_len(&text) > 0) {
        err = config_file_save(o->root_dir, OFFSET_FILE, buf_slice(&text), eb);
        if (err == 0)
            o->saved_changes = changes;
    }
    pthread_mutex_unlock(&o->save_mutex);
    buf_fini(&text);
    return err;
}
