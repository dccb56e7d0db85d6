/* epochs.c - a broker's own list of epochs and its file.
 *
 * Threads: changes on one thread at a time; epochs_newest() and epochs_copy() from any.
 * Invariant: the list in memory is what the file says; a change is in force once the file is synced. */
#include "replication/epochs.h"

#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define LOG_COMPONENT "replication"
#include "base/log.h"

enum { FILE_BYTES_MAX = EPOCHS_MAX * 160 }; /* the longest line has 138 */

struct epochs {
    char *root, *path, *temporary; /* owned */
    pthread_mutex_t lock;
    struct epoch_list list; /* lock */
};

static int read_whole(const char *path, struct buf *out)
{
    int fd = file_open(path, false, false);
    if (fd < 0)
        return fd;
    int64_t size = file_size(fd);
    int rc = size < 0 ? (int)size : size > FILE_BYTES_MAX ? ERR_TOOBIG : 0;
    if (rc == 0 && size > 0) {
        int got = file_read(fd, buf_reserve(out, (size_t)size), (size_t)size, 0);
        if (got < 0)
            rc = got;
        else
            buf_commit(out, (size_t)got);
    }
    file_close(fd);
    return rc;
}

static int load(struct epochs *e, struct errbuf *eb)
{
    struct buf text = {0};
    struct errbuf why = {0};
    int rc = read_whole(e->path, &text);
    if (rc == 0)
        rc = epoch_list_parse(buf_slice(&text), &e->list, &why);
    else if (rc == ERR_TOOBIG)
        errbuf_format(&why, "it is larger than %d bytes", FILE_BYTES_MAX);
    buf_fini(&text);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc == ERR_PROTO || rc == ERR_LIMIT || rc == ERR_TOOBIG)
        return errbuf_set(eb, ERR_CORRUPT,
                          "%s is damaged: %s. It says which part of the log the group shares: copy it from "
                          "another broker of "
                          "the group that has the same log; or, on a slave, move %s away to copy everything "
                          "anew; or, on the "
                          "only broker of its group, remove the file",
                          e->path, why.text, e->root);
    if (rc != 0)
        return errbuf_set(eb, ERR_IO, "cannot read %s: %s", e->path, strerror(errno));
    return 0;
}

int epochs_open(const char *root_dir, struct epochs **out, struct errbuf *eb)
{
    struct epochs *e = mem_zalloc(sizeof *e);
    e->root = mem_strdup(root_dir);
    e->path = mem_printf("%s/epochs", root_dir);
    e->temporary = mem_printf("%s/epochs.tmp", root_dir);
    pthread_mutex_init(&e->lock, NULL);
    int rc = load(e, eb);
    if (rc != 0)
        epochs_close(e);
    else
        *out = e;
    return rc;
}

void epochs_close(struct epochs *e)
{
    if (e == NULL)
        return;
    epoch_list_fini(&e->list);
    pthread_mutex_destroy(&e->lock);
    free(e->root);
    free(e->path);
    free(e->temporary);
    free(e);
}

void epochs_newest(struct epochs *e, struct epoch *out)
{
    pthread_mutex_lock(&e->lock);
    if (e->list.count > 0)
        *out = e->list.items[e->list.count - 1];
    else
        *out = (struct epoch){0};
    pthread_mutex_unlock(&e->lock);
}

void epochs_copy(struct epochs *e, struct epoch_list *out)
{
    pthread_mutex_lock(&e->lock);
    epoch_list_copy(&e->list, out);
    pthread_mutex_unlock(&e->lock);
}

const char *epochs_folder(const struct epochs *e)
{
    return e->root;
}

/* --- changes --- */

static int write_temporary(struct epochs *e, struct slice text)
{
    int fd = file_open(e->temporary, true, false);
    if (fd < 0)
        return fd;
    int rc = file_set_size(fd, 0);
    if (rc == 0)
        rc = file_write(fd, text.ptr, text.len, 0);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    return rc;
}

/* Makes `list` the file's and then ours; *list is empty afterwards, whatever happens. */
static int save(struct epochs *e, struct epoch_list *list, struct errbuf *eb)
{
    struct buf text = {0};
    epoch_list_format(list, &text);
    const char *what = e->temporary;
    int rc = write_temporary(e, buf_slice(&text));
    buf_fini(&text);
    if (rc == 0) {
        what = e->path;
        rc = file_rename(e->temporary, e->path);
    }
    if (rc == 0)
        rc = file_sync_dir(e->root);
    if (rc != 0) {
        rc = errbuf_set(eb, rc == ERR_NOSPC ? ERR_NOSPC : ERR_IO, "cannot write %s: %s", what,
                        strerror(errno));
        epoch_list_fini(list);
        return rc;
    }
    pthread_mutex_lock(&e->lock);
    struct epoch_list old = e->list;
    e->list = *list;
    pthread_mutex_unlock(&e->lock);
    *list = (struct epoch_list){0};
    epoch_list_fini(&old);
    return 0;
}

/* 0 and a number that no other epoch has, or ERR_IO. */
static int random_id(uint64_t *out, struct errbuf *eb)
{
    if (getrandom(out, sizeof *out, 0) != (ssize_t)sizeof *out)
        return errbuf_set(eb, ERR_IO, "no random number for a new epoch: %s", strerror(errno));
    return 0;
}

int epochs_begin(struct epochs *e, const char *self, int64_t log_end, bool unclean, int64_t term_min,
                 struct epoch *out, struct errbuf *eb)
{
    struct epoch_start start = {.self = self, .log_end = log_end, .unclean = unclean, .term_min = term_min};
    int rc = random_id(&start.id, eb);
    if (rc != 0)
        return rc;
    struct epoch_list list;
    epochs_copy(e, &list);
    if (epoch_list_begin(&list, &start)) {
        rc = save(e, &list, eb);
        if (rc != 0)
            return rc;
        log_info("epoch begun owner=%s begin=%lld unclean=%d", self, (long long)log_end, (int)unclean);
    }
    epoch_list_fini(&list);
    epochs_newest(e, out);
    return 0;
}

static bool lists_equal(const struct epoch_list *a, const struct epoch_list *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (!epoch_same(&a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

int epochs_replace(struct epochs *e, const struct epoch_list *list, struct errbuf *eb)
{
    if (lists_equal(&e->list, list)) /* at every reconnect: not worth a sync */
        return 0;
    struct epoch_list copy;
    epoch_list_copy(list, &copy);
    return save(e, &copy, eb);
}
