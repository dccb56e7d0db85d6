/* checkpoint.c - the files checkpoint and abort; see checkpoint.h.
 * Threads: one at a time.
 * Invariant: what the mark says was on disk before the mark was. */
#define LOG_COMPONENT "store"
#include "store/checkpoint.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK_MAGIC 0x434A4D31u /* CJM1 */
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_BYTES 36
#define KEPT_AT 24 /* RocketMQ 5's own fields */
#define KEPT_BYTES 16

static void decode_mark(const uint8_t *p, struct checkpoint *c)
{
    if (get_be32(p) != MARK_MAGIC || get_be32(p + 4) != hash_crc32(0, p + 8, CHECKPOINT_MARK_BYTES - 8))
        return;
    c->has_mark = true;
    c->log_end = (int64_t)get_be64(p + 8);
    c->last_record = (int64_t)get_be64(p + 16);
    c->index_name = (int64_t)get_be64(p + 24);
    c->index_count = (int32_t)get_be32(p + 32);
    c->queues = get_be32(p + 36);
    c->indexed_to = (int64_t)get_be64(p + 40);
    c->entries_sum = (int64_t)get_be64(p + 48);
}

static void encode_mark(uint8_t *p, const struct checkpoint *c)
{
    put_be32(p, MARK_MAGIC);
    put_be64(p + 8, (uint64_t)c->log_end);
    put_be64(p + 16, (uint64_t)c->last_record);
    put_be64(p + 24, (uint64_t)c->index_name);
    put_be32(p + 32, (uint32_t)c->index_count);
    put_be32(p + 36, c->queues);
    put_be64(p + 40, (uint64_t)c->indexed_to);
    put_be64(p + 48, (uint64_t)c->entries_sum);
    put_be64(p + 56, 0);
    put_be32(p + 4, hash_crc32(0, p + 8, CHECKPOINT_MARK_BYTES - 8));
}

int checkpoint_read(const char *root_dir, struct checkpoint *out, struct errbuf *eb)
{
    uint8_t page[CHECKPOINT_BYTES] = {0};
    memset(out, 0, sizeof *out);
    char *path = mem_printf("%s/checkpoint", root_dir);
    int fd = file_open(path, false, false), rc = 0;
    if (fd >= 0) {
        rc = file_read(fd, page, sizeof page, 0);
        file_close(fd);
    } else if (fd != ERR_NOTFOUND) {
        rc = fd;
    }
    if (rc < 0)
        errbuf_format(eb, "cannot read %s: %s", path, strerror(errno));
    free(path);
    if (rc < 0)
        return rc;
    out->log_ms = (int64_t)get_be64(page);
    out->queues_ms = (int64_t)get_be64(page + 8);
    out->index_ms = (int64_t)get_be64(page + 16);
    decode_mark(page + CHECKPOINT_MARK_AT, out);
    return 0;
}

int checkpoint_write(const char *root_dir, const struct checkpoint *c, struct errbuf *eb)
{
    uint8_t page[CHECKPOINT_BYTES] = {0};
    char *path = mem_printf("%s/checkpoint", root_dir);
    int fd = file_open(path, true, false);
    int rc = fd < 0 ? fd : 0;
    if (rc == 0)
        rc = file_read(fd, page + KEPT_AT, KEPT_BYTES, KEPT_AT);
    if (rc >= 0) {
        put_be64(page, (uint64_t)c->log_ms);
        put_be64(page + 8, (uint64_t)c->queues_ms);
        put_be64(page + 16, (uint64_t)c->index_ms);
        if (c->has_mark)
            encode_mark(page + CHECKPOINT_MARK_AT, c);
        rc = file_write(fd, page, sizeof page, 0);
    }
    if (rc == 0)
        rc = file_sync(fd);
    if (rc != 0)
        errbuf_format(eb, "cannot write %s: %s", path, strerror(errno));
    file_close(fd);
    free(path);
    return rc;
}

/* --- abort --- */

static size_t read_boot_id(char *out)
{
    FILE *f = fopen(BOOT_ID_PATH, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(out, 1, BOOT_ID_BYTES, f);
    fclose(f);
    return n == BOOT_ID_BYTES ? n : 0;
}

enum abort_found abort_look(const char *root_dir)
{
    char text[128] = {0}, boot_id[BOOT_ID_BYTES + 1] = {0};
    char *path = mem_printf("%s/abort", root_dir);
    int fd = file_open(path, false, false);
    free(path);
    if (fd < 0)
        return fd == ERR_NOTFOUND ? ABORT_NONE : ABORT_OTHER_BOOT;
    int n = file_read(fd, text, sizeof text - 1, 0);
    file_close(fd);
    if (n <= 0 || read_boot_id(boot_id) == 0)
        return ABORT_OTHER_BOOT;
    return strstr(text, boot_id) != NULL ? ABORT_SAME_BOOT : ABORT_OTHER_BOOT;
}

static int write_abort(const char *root_dir, const char *boot_id, bool sync, struct errbuf *eb)
{
    char *path = mem_printf("%s/abort", root_dir), *text = mem_printf("%d %s\n", (int)getpid(), boot_id);
    int fd = file_open(path, true, false);
    int rc = fd < 0 ? fd : file_set_size(fd, 0);
    if (rc == 0)
        rc = file_write(fd, text, strlen(text), 0);
    if (rc == 0 && sync)
        rc = file_sync(fd);
    if (rc == 0 && sync)
        rc = file_sync_dir(root_dir);
    if (rc != 0)
        errbuf_format(eb, "cannot write %s: %s", path, strerror(errno));
    file_close(fd);
    free(text);
    free(path);
    return rc;
}

int abort_write(const char *root_dir, struct errbuf *eb)
{
    char boot_id[BOOT_ID_BYTES + 1] = {0};
    (void)read_boot_id(boot_id);
    return write_abort(root_dir, boot_id, false, eb);
}

int abort_write_distrust(const char *root_dir, struct errbuf *eb)
{
    return write_abort(root_dir, "no-boot-id", true, eb);
}

int abort_remove(const char *root_dir, struct errbuf *eb)
{
    char *path = mem_printf("%s/abort", root_dir);
    int rc = file_remove(path);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc != 0)
        errbuf_format(eb, "cannot remove %s: %s", path, strerror(errno));
    free(path);
    return rc;
}
