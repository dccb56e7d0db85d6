/* store_fixture.c - see store_fixture.h. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

char *fixture_dir_new(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = mem_printf("%s/cjmq-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fixture_remove_path(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_dir_remove(char *dir)
{
    fixture_remove_path(dir);
    free(dir);
}

struct store_options fixture_options(const char *dir)
{
    struct store_options o;
    store_options_default(&o);
    o.root_dir = dir;
    o.commitlog_file_bytes = 65536;
    o.consumequeue_file_entries = 100;
    o.flush_interval_ms = 20;
    o.index_hash_slots = 100;
    o.index_entries = 400;
    o.disk_reserve_bytes = 0;
    o.disk_max_used_percent = 0;
    return o;
}

struct store *fixture_open_report(const struct store_options *o, struct store_recovery_report *report)
{
    struct store *s = NULL;
    struct errbuf eb = {{0}};
    int rc = store_open(o, &s, report, &eb);
    if (rc != 0)
        fail_msg("store_open: %d %s", rc, eb.text);
    return s;
}

struct store *fixture_open(const struct store_options *o)
{
    return fixture_open_report(o, NULL);
}

struct store_queue *fixture_queue(struct store *s, const char *topic, int queue_id)
{
    struct store_queue *q = store_queue_find_or_create(s, slice_str(topic), queue_id);
    assert_non_null(q);
    return q;
}

const struct message *fixture_message(const char *topic, int queue_id, int n, size_t body_bytes)
{
    static struct message m;
    static char topic_text[256], body[1 << 20], properties[64];
    snprintf(topic_text, sizeof topic_text, "%s", topic);
    memset(body, '.', body_bytes);
    int len = snprintf(body, sizeof body, "body-%d", n);
    body[len] = ' ';
    if (body_bytes < (size_t)len)
        body_bytes = (size_t)len;
    snprintf(properties, sizeof properties, "UNIQ_KEY\001K-%d\002TAGS\001%s\002", n,
             n % 2 == 0 ? "even" : "odds");
    memset(&m, 0, sizeof m);
    m.topic = slice_str(topic_text);
    m.queue_id = queue_id;
    m.born_ms = clock_wall_ms();
    m.born_host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(1234), .sin_addr.s_addr = htonl(0x7f000001)};
    m.store_host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(10911), .sin_addr.s_addr = htonl(0x7f000001)};
    m.body = slice_of(body, body_bytes);
    m.properties = slice_str(properties);
    return &m;
}

struct append_result fixture_append(struct store *s, const char *topic, int queue_id, int n,
                                    size_t body_bytes)
{
    struct append_batch *b = append_batch_new(s, 1 << 20);
    struct errbuf eb = {{0}};
    assert_int_equal(append_batch_add(b, fixture_queue(s, topic, queue_id),
                                      fixture_message(topic, queue_id, n, body_bytes), false),
                     0);
    int rc = store_append(s, b, &eb);
    if (rc != 0)
        fail_msg("store_append: %d %s", rc, eb.text);
    struct append_result r = *append_batch_result(b, 0);
    append_batch_free(b);
    if (s->opt.flush == FLUSH_SYNC)
        while (store_durable(s) < r.end_offset && store_flush_inline(s) == ERR_AGAIN)
            ;
    return r;
}

void fixture_append_many(struct store *s, const char *topic, int queue_id, int from, int count,
                         size_t body_bytes)
{
    for (int i = 0; i < count; i++)
        fixture_append(s, topic, queue_id, from + i, body_bytes);
}

int fixture_body_number(struct slice body)
{
    int n = -1;
    char text[32] = {0};
    memcpy(text, body.ptr, body.len < sizeof text - 1 ? body.len : sizeof text - 1);
    assert_int_equal(sscanf(text, "body-%d", &n), 1);
    return n;
}

/* Walks the records of a read; *n is the number expected next. */
static void assert_records(const struct read_result *r, const char *topic, int64_t *queue_offset, int *n)
{
    for (unsigned c = 0; c < r->chunk_count; c++) {
        const char *p = r->chunks[c].ptr;
        size_t left = r->chunks[c].len;
        while (left > 0) {
            struct record record;
            struct errbuf eb = {{0}};
            uint32_t size = get_be32_of(p);
            assert_in_range(size, RECORD_FIXED_BYTES, left);
            if (record_decode(slice_of(p, size), true, &record, &eb) != 0)
                fail_msg("%s", eb.text);
            assert_int_equal(record.queue_offset, *queue_offset);
            assert_true(slice_eq_str(record.topic, topic));
            assert_int_equal(fixture_body_number(record.body), *n);
            (*n)++;
            (*queue_offset)++;
            p += size;
            left -= size;
        }
    }
}

void fixture_assert_queue(struct store *s, const char *topic, int queue_id, int first, int count)
{
    struct store_queue *q = store_queue_lookup(s, slice_str(topic), queue_id);
    assert_true(q != NULL || count == 0);
    if (q == NULL)
        return;
    struct read_limits limits = {.messages_max = 17, .bytes_max = 1 << 20, .entries_scan_max = 800};
    int64_t offset = store_queue_min(q);
    int n = first;
    assert_int_equal(store_queue_max(q) - offset, count);
    while (n < first + count) {
        struct read_result r;
        int64_t expected = offset;
        store_read(s, q, offset, &limits, NULL, NULL, &r);
        assert_int_equal(r.status, READ_FOUND);
        assert_records(&r, topic, &expected, &n);
        assert_int_equal(r.next_offset, expected);
        offset = r.next_offset;
        read_result_release(&r);
    }
    assert_int_equal(n, first + count);
    assert_int_equal(offset, store_queue_max(q));
}

uint32_t get_be32_of(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

void fixture_crash(void (*fn)(void *arg), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void fixture_read_file(const char *path, int64_t offset, void *out, size_t n)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, out, n, offset), n);
    close(fd);
}

void fixture_write_file(const char *path, int64_t offset, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, offset), n);
    close(fd);
}

void fixture_wait(bool (*cond)(void *arg), void *arg)
{
    time_t deadline = time(NULL) + 10;
    while (!cond(arg)) {
        if (time(NULL) > deadline)
            fail_msg("waited ten seconds in vain");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}
