/* words.c - the fixed words of cluster documents, and what follows from role, permission, port and app name.
 * Threads: any; no state. */
#include "cluster/words.h"

#include "base/error.h"

#define WORD_CASE(name, word) \
    case name:                \
        return word;

const char *cluster_role_word(enum cluster_role role)
{
    switch (role) {
        CLUSTER_ROLE_TABLE(WORD_CASE)
    }
    return "UNSET";
}

const char *cluster_permission_word(enum cluster_permission permission)
{
    switch (permission) {
        CLUSTER_PERMISSION_TABLE(WORD_CASE)
    }
    return "UNSET";
}

const char *cluster_sync_mode_word(enum cluster_sync_mode mode)
{
    switch (mode) {
        CLUSTER_SYNC_MODE_TABLE(WORD_CASE)
    case CLUSTER_SYNC_UNSET:
        break;
    }
    return "UNSET";
}

const char *cluster_retry_type_word(enum cluster_retry_type type)
{
    switch (type) {
        CLUSTER_RETRY_TYPE_TABLE(WORD_CASE)
    case CLUSTER_RETRY_UNSET:
        break;
    }
    return "UNSET";
}

const char *cluster_topic_type_word(enum cluster_topic_type type)
{
    switch (type) {
        CLUSTER_TOPIC_TYPE_TABLE(WORD_CASE)
    }
    return "UNSET";
}

#define WORD_PARSE(name, text)      \
    if (slice_eq_str(word, text)) { \
        *out = name;                \
        return 0;                   \
    }

int cluster_permission_parse(struct slice word, enum cluster_permission *out)
{
    CLUSTER_PERMISSION_TABLE(WORD_PARSE)
    return ERR_INVAL;
}

int cluster_role_parse(struct slice word, enum cluster_role *out)
{
    CLUSTER_ROLE_TABLE(WORD_PARSE)
    return ERR_INVAL;
}

bool cluster_is_readable(enum cluster_role role, enum cluster_permission permission)
{
    return role != CLUSTER_ROLE_NONE && ((int)permission & CLUSTER_PERMISSION_READ) != 0;
}

bool cluster_is_writable(enum cluster_role role, enum cluster_permission permission)
{
    return role == CLUSTER_ROLE_MASTER && ((int)permission & CLUSTER_PERMISSION_WRITE) != 0;
}

bool cluster_is_disabled(enum cluster_role role, enum cluster_permission permission)
{
    return role == CLUSTER_ROLE_NONE || permission == CLUSTER_PERMISSION_NONE;
}

int cluster_perm_bits(enum cluster_role role, enum cluster_permission permission)
{
    return (cluster_is_readable(role, permission) ? PERM_BIT_READ : 0) |
           (cluster_is_writable(role, permission) ? PERM_BIT_WRITE : 0);
}

enum cluster_role cluster_role_of_port(unsigned port)
{
    if (port < 50000)
        return CLUSTER_ROLE_NONE;
    if (port % 2 == 0)
        return CLUSTER_ROLE_MASTER;
    return port % 10000 <= 5535 ? CLUSTER_ROLE_SLAVE : CLUSTER_ROLE_BACKUP;
}

enum cluster_permission cluster_permission_of_role(enum cluster_role role)
{
    switch (role) {
    case CLUSTER_ROLE_MASTER:
        return CLUSTER_PERMISSION_FULL;
    case CLUSTER_ROLE_SLAVE:
    case CLUSTER_ROLE_BACKUP:
        return CLUSTER_PERMISSION_READ;
    case CLUSTER_ROLE_NONE:
        break;
    }
    return CLUSTER_PERMISSION_NONE;
}

unsigned cluster_management_port(unsigned port)
{
    return port % 10000 + 10000;
}

struct slice cluster_app_base(struct slice app)
{
    for (size_t i = app.len; i > 1; i--) {
        if (app.ptr[i - 1] == '.')
            return slice_of(app.ptr, i - 1);
    }
    return app;
}
