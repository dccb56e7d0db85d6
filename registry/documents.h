/* documents.h - the two cluster documents of a registry: current versions parsed in memory, every version in
 * the database, and the operations that console and brokers ask for.
 *
 * In force is the newest version by its time (registry_db.h tells how times are made), wherever it was made:
 * brokers carry versions between registries, and all come to the same one.
 * Threads: the registry's reactor; the parsed documents it hands out may be kept (ref) and used on any
 * thread. */
#ifndef CJMQ_REGISTRY_DOCUMENTS_H
#define CJMQ_REGISTRY_DOCUMENTS_H

#include "cluster/broker_document.h"
#include "cluster/topic_document.h"
#include "registry/registry_db.h"

struct documents;

/* Called after a new version is in force. `text` is valid during the call. */
typedef void (*documents_changed_fn)(void *arg, enum cluster_document which, const struct document_version *version,
                                     struct slice text);

struct documents_options {
    struct registry_db *db; /* borrowed */
    struct document_limits limits;
    const int64_t *versions_kept;    /* borrowed setting */
    documents_changed_fn on_changed; /* may be NULL */
    bool (*is_alive)(void *arg, const char *address); /* whether this broker is known to be; NULL: nobody knows */
    void *arg;
};

/* Never NULL. */
struct documents *documents_new(const struct documents_options *options);
void documents_free(struct documents *d);
/* Puts the newest readable version of each document in force; damaged newer ones are logged and passed over.
 * 0, or ERR_IO / ERR_CORRUPT when the database itself cannot be read (eb). */
int documents_load(struct documents *d, struct errbuf *eb);

/* NULL when there is none. Valid until the next change; ref to keep. */
const struct broker_document *documents_brokers(const struct documents *d);
const struct topic_document *documents_topics(const struct documents *d);
/* 0 when there is none. */
int64_t documents_version(const struct documents *d, enum cluster_document which);
int64_t documents_time_ms(const struct documents *d, enum cluster_document which);

/* --- operations --- */
enum document_outcome_kind {
    DOCUMENT_DONE,    /* stored and in force; text: warnings, one per line */
    DOCUMENT_TEXT,    /* text is for people (history, diff) */
    DOCUMENT_FOUND,   /* text is the document */
    DOCUMENT_MISSING, /* get: no such document or version */
    DOCUMENT_REFUSED, /* text says why (a bad document; a version that is not there); nothing stored */
    DOCUMENT_CHECKED, /* valid; text: warnings, one per line */
    DOCUMENT_FAILED,  /* the database failed; text says how; nothing changed */
};

/* Zero-initialise; document_outcome_fini() frees text and `made`. */
struct document_outcome {
    enum document_outcome_kind kind;
    int64_t version;   /* the one found, or in force afterwards */
    int64_t time_ms;   /* of that version */
    unsigned warnings; /* DONE, CHECKED */
    struct buf text;
    struct document_version made; /* FOUND: who made it, and how */
};
void document_outcome_fini(struct document_outcome *out);

/* Who asks, for the history. Borrowed. */
struct document_author {
    const char *user, *peer;
};

enum { DOCUMENT_NEWEST = 0, DOCUMENT_PREVIOUS = -1 };

/* version: NEWEST or > 0. */
void documents_get(struct documents *d, enum cluster_document which, int64_t version,
                   struct document_outcome *out);
/* The version of a time; `crc32` of its text, or -1. */
void documents_get_at(struct documents *d, enum cluster_document which, int64_t time_ms, int64_t crc32,
                      struct document_outcome *out);
void documents_set(struct documents *d, enum cluster_document which, struct slice json,
                   const struct document_author *author, struct document_outcome *out);
void documents_check(struct documents *d, enum cluster_document which, struct slice json,
                     struct document_outcome *out);
/* Stores a version that was made at another registry, with its time, author and origin, and puts it in force if
 * it is the newest. DONE also when it is here already, or too old to be kept. */
void documents_import(struct documents *d, enum cluster_document which, struct slice json, int64_t time_ms,
                      const struct document_author *author, const char *origin, struct document_outcome *out);
/* TEXT: JSON array of the `limit` newest versions from before a time (0: of all), newest first:
 * [{"version":3,"time":1700000000000,"bytes":41,"crc32":5},...]. False when there are no older ones. */
bool documents_versions(struct documents *d, enum cluster_document which, int64_t before_ms, unsigned limit,
                        struct document_outcome *out);
void documents_history(struct documents *d, enum cluster_document which, unsigned limit,
                       struct document_outcome *out);
/* from: PREVIOUS (of `to`) or > 0; to: NEWEST or > 0. */
void documents_diff(struct documents *d, enum cluster_document which, int64_t from, int64_t to,
                    struct document_outcome *out);
/* version: PREVIOUS or > 0. Stores that version's text as the newest one. */
void documents_rollback(struct documents *d, enum cluster_document which, int64_t version,
                        const struct document_author *author, struct document_outcome *out);
/* Stores a broker document in which the slave `target` (alias or ip:port) and its master have changed places
 * (cluster/broker_promote.h). Refused while the slave is not known to be alive, unless `force`. */
void documents_promote(struct documents *d, struct slice target, bool force, const struct document_author *author,
                       struct document_outcome *out);

#endif
