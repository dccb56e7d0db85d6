/* config_file.c - whole-file JSON with a backup.
 * Threads: any; callers serialise per file.
 * Invariants: NAME or NAME.bak holds a whole, synced document from the first save on, whatever moment a crash
 * comes at. */
#include "broker/config_file.h"

#include "base/json_dialect.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <stdlib.h>

#define LOG_COMPONENT "config"
#include "base/log.h"

/* The largest of these files, consumer offsets, takes some 60 bytes an entry. */
enum { CONFIG_FILE_BYTES_MAX = 1 << 30 };

static int read_whole(const char *path, struct buf *out)
{
    int fd = file_open(path, false, false);
    if (fd < 0)
        return fd;
    int64_t size = file_size(fd);
    int err = size < 0 ? (int)size : size > CONFIG_FILE_BYTES_MAX ? ERR_TOOBIG : 0;
    if (err == 0 && size > 0) {
        int got = file_read(fd, buf_reserve(out, (size_t)size), (size_t)size, 0);
        if (got < 0)
            err = got;
        else
            buf_commit(out, (size_t)got);
    }
    file_close(fd);
    return err;
}

static int load_one(const char *path, struct buf *out, struct errbuf *eb)
{
    struct buf text = {0};
    struct errbuf why = {0};
    int err = read_whole(path, &text);
    if (err == 0 && buf_len(&text) == 0)
        err = errbuf_set(&why, ERR_CORRUPT, "it is empty");
    else if (err == 0 && json_dialect_compact(buf_slice(&text), JSON_DEPTH_MAX, out, &why) != 0)
        err = ERR_CORRUPT;
    if (err != 0 && err != ERR_NOTFOUND)
        err = errbuf_set(eb, err, "%s: %s", path, why.text[0] != '\0' ? why.text : err_text(err));
    buf_fini(&text);
    return err;
}

/* The next save keeps NAME as NAME.bak: a damaged NAME must not take the place of a whole backup. */
static void put_aside(const char *path, const char *why, const char *backup)
{
    char *aside = mem_printf("%s.damaged", path);
    if (file_rename(path, aside) == 0)
        log_error("%s; %s is used instead, the damaged file is kept as %s", why, backup, aside);
    else
        log_error("%s; %s is used instead; the damaged file cannot be renamed: %s", why, backup,
                  strerror(errno));
    free(aside);
}

int config_file_load(const char *root_dir, const char *name, struct buf *out, struct errbuf *eb)
{
    char *path = mem_printf("%s/config/%s", root_dir, name);
    char *backup = mem_printf("%s.bak", path);
    struct errbuf why = {0};
    int err = load_one(path, out, &why);
    if (err != 0) {
        struct errbuf backup_eb = {0};
        int backup_err = load_one(backup, out, &backup_eb);
        if (backup_err == 0) {
            if (err == ERR_CORRUPT)
                put_aside(path, why.text, backup);
            else
                log_warn("%s%s; %s is used instead", err == ERR_NOTFOUND ? path : why.text,
                         err == ERR_NOTFOUND ? " is missing" : "", backup);
            err = 0;
        } else if (backup_err != ERR_NOTFOUND && err == ERR_NOTFOUND) {
            err = errbuf_set(eb, ERR_CORRUPT, "%s", backup_eb.text);
        } else if (err != ERR_NOTFOUND) {
            err = errbuf_set(eb, err, "%s", why.text);
        }
    }
    free(path);
    free(backup);
    return err;
}

static int write_whole(const char *path, struct slice text, struct errbuf *eb)
{
    int fd = file_open(path, true, false);
    if (fd < 0)
        return errbuf_set(eb, fd, "cannot create %s: %s", path, strerror(errno));
    int err = file_set_size(fd, 0);
    if (err == 0)
        err = file_write(fd, text.ptr, text.len, 0);
    if (err == 0)
        err = file_sync(fd);
    if (err != 0)
        err = errbuf_set(eb, err, "cannot write %s: %s", path, strerror(errno));
    file_close(fd);
    return err;
}

static int replace(const char *path, const char *backup, const char *temporary, struct errbuf *eb)
{
    int err = file_rename(path, backup);
    if (err != 0 && err != ERR_NOTFOUND)
        return errbuf_set(eb, err, "cannot rename %s to %s: %s", path, backup, strerror(errno));
    err = file_rename(temporary, path);
    if (err != 0)
        return errbuf_set(eb, err, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
    return 0;
}

int config_file_save(const char *root_dir, const char *name, struct slice json, struct errbuf *eb)
{
    char *dir = mem_printf("%s/config", root_dir);
    char *path = mem_printf("%s/%s", dir, name);
    char *backup = mem_printf("%s.bak", path);
    char *temporary = mem_printf("%s.tmp", path);
    int err = file_make_dirs(dir);
    if (err != 0)
        err = errbuf_set(eb, err, "cannot create %s: %s", dir, strerror(errno));
    if (err == 0)
        err = write_whole(temporary, json, eb);
    if (err == 0)
        err = replace(path, backup, temporary, eb);
    if (err == 0) {
        err = file_sync_dir(dir);
        if (err != 0)
            err = errbuf_set(eb, err, "cannot sync %s: %s", dir, strerror(errno));
    }
    free(dir);
    free(path);
    free(backup);
    free(temporary);
    return err;
}
