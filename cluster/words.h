/* words.h - the fixed words of cluster documents (roles, permissions, ...) and what a role and a permission
 * allow together.
 *
 * The numbers are JMQ's ordinals: documents may give either the exact word or the number. Threads: any; no
 * state. */
#ifndef CJMQ_CLUSTER_WORDS_H
#define CJMQ_CLUSTER_WORDS_H

#include "base/slice.h"

#include <stdbool.h>

/* X(enumerator, word) in the order of JMQ's ordinals. */
#define CLUSTER_ROLE_TABLE(X) X(CLUSTER_ROLE_NONE, "NONE") X(CLUSTER_ROLE_MASTER, "MASTER") \
    X(CLUSTER_ROLE_SLAVE, "SLAVE") X(CLUSTER_ROLE_BACKUP, "BACKUP")
/* READ and WRITE are bits, FULL is both. */
#define CLUSTER_PERMISSION_TABLE(X) X(CLUSTER_PERMISSION_NONE, "NONE") X(CLUSTER_PERMISSION_READ, "READ") \
    X(CLUSTER_PERMISSION_WRITE, "WRITE") X(CLUSTER_PERMISSION_FULL, "FULL")
#define CLUSTER_SYNC_MODE_TABLE(X) X(CLUSTER_SYNC_ASYNCHRONOUS, "ASYNCHRONOUS") \
    X(CLUSTER_SYNC_SYNCHRONOUS, "SYNCHRONOUS")
#define CLUSTER_RETRY_TYPE_TABLE(X) X(CLUSTER_RETRY_DB, "DB") X(CLUSTER_RETRY_REMOTE, "REMOTE")
#define CLUSTER_TOPIC_TYPE_TABLE(X) X(CLUSTER_TOPIC_TOPIC, "TOPIC") X(CLUSTER_TOPIC_BROADCAST, "BROADCAST") \
    X(CLUSTER_TOPIC_SEQUENTIAL, "SEQUENTIAL")
#define CLUSTER_OFFSET_MODE_TABLE(X) X(CLUSTER_OFFSET_REMOTE, "REMOTE") X(CLUSTER_OFFSET_LOCAL, "LOCAL")

#define CLUSTER_WORD_ENUM(name, word) name,
enum cluster_role { CLUSTER_ROLE_TABLE(CLUSTER_WORD_ENUM) };
enum cluster_permission { CLUSTER_PERMISSION_TABLE(CLUSTER_WORD_ENUM) };
enum cluster_sync_mode { CLUSTER_SYNC_MODE_TABLE(CLUSTER_WORD_ENUM) CLUSTER_SYNC_UNSET = -1 };
enum cluster_retry_type { CLUSTER_RETRY_TYPE_TABLE(CLUSTER_WORD_ENUM) CLUSTER_RETRY_UNSET = -1 };
enum cluster_topic_type { CLUSTER_TOPIC_TYPE_TABLE(CLUSTER_WORD_ENUM) };
enum cluster_offset_mode { CLUSTER_OFFSET_MODE_TABLE(CLUSTER_WORD_ENUM) CLUSTER_OFFSET_UNSET = -1 };
#undef CLUSTER_WORD_ENUM

/* The word of a value; "UNSET" for -1, never NULL. */
const char *cluster_role_word(enum cluster_role role);
const char *cluster_permission_word(enum cluster_permission permission);
const char *cluster_sync_mode_word(enum cluster_sync_mode mode);
const char *cluster_retry_type_word(enum cluster_retry_type type);
const char *cluster_topic_type_word(enum cluster_topic_type type);
/* Exact words only ("full" is refused, as in JMQ). 0 or ERR_INVAL. */
int cluster_permission_parse(struct slice word, enum cluster_permission *out);
int cluster_role_parse(struct slice word, enum cluster_role *out);

/* --- what a role may do under a permission (JMQ's table) ---
 * readable: role other than NONE and READ in the permission; writable: MASTER and WRITE in the permission;
 * disabled: role NONE or permission NONE. A SLAVE with WRITE is neither readable nor disabled. */
bool cluster_is_readable(enum cluster_role role, enum cluster_permission permission);
bool cluster_is_writable(enum cluster_role role, enum cluster_permission permission);
bool cluster_is_disabled(enum cluster_role role, enum cluster_permission permission);
/* The same as RocketMQ perm bits: READ 4, WRITE 2, or 0. */
enum { PERM_BIT_INHERIT = 1, PERM_BIT_WRITE = 2, PERM_BIT_READ = 4 };
int cluster_perm_bits(enum cluster_role role, enum cluster_permission permission);

/* --- rules by name and port --- */
/* Role by port alone: below 50000 NONE; even MASTER; odd and port % 10000 <= 5535 SLAVE; other odd BACKUP. */
enum cluster_role cluster_role_of_port(unsigned port);
/* FULL for MASTER, READ for SLAVE and BACKUP, NONE for NONE. */
enum cluster_permission cluster_permission_of_role(enum cluster_role role);
/* JMQ's management (telnet) port: port % 10000 + 10000. */
unsigned cluster_management_port(unsigned port);
/* The app name without its client's own part: up to the last '.', when that is not at position 0 ("a.b.c" ->
 * "a.b", ".x" -> ".x"). A view into `app`. */
struct slice cluster_app_base(struct slice app);

#endif
