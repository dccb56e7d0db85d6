/* message_encode.c - checks a user's message and writes its properties: name 01 value 02 ... (spec 3.6). Any
 * thread; no state. */
#include "client/send.h"

#include "store/record.h"

#include <stdio.h>

enum { TOPIC_MAX = 255, GROUP_MAX = 255, UNIQUE_ID_LEN = 32, DELAY_TEXT_MAX = 12, DELAY_LEVEL_MAX = 18 };

/* --- checks --- */

static bool name_is_valid(const char *name)
{
    for (const char *p = name; *p != 0; p++) {
        bool ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9')
                  || *p == '_' || *p == '-' || *p == '%' || *p == '|' || *p == '.' || *p == '@';
        if (!ok)
            return false;
    }
    return true;
}

int topic_check(const char *topic, struct cjmq_error *error)
{
    if (topic == NULL || *topic == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the topic is missing");
    if (strlen(topic) > TOPIC_MAX)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "topic \"%.40s...\" is longer than %d bytes", topic,
                           TOPIC_MAX);
    if (!name_is_valid(topic))
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "topic \"%s\" holds a character other than a-z A-Z 0-9 _ - %% | . @", topic);
    return 0;
}

int group_check(const char *group, const char *option, struct cjmq_error *error)
{
    if (group == NULL || *group == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "%s is missing", option);
    if (strlen(group) > GROUP_MAX || !name_is_valid(group))
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "%s \"%.40s\" must be 1 to %d characters of a-z A-Z 0-9 _ - %% | . @", option,
                           group, GROUP_MAX);
    return 0;
}

static bool text_is_valid(const char *s)
{
    return s[strcspn(s, "\001\002")] == 0;
}

static int properties_check(const struct cjmq_message *m, struct cjmq_error *error)
{
    static const char *const reserved[] = {"KEYS", "TAGS", "WAIT", "DELAY", "UNIQ_KEY"};
    if ((m->tags != NULL && !text_is_valid(m->tags)) || (m->keys != NULL && !text_is_valid(m->keys)))
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "tags or keys of a message to topic %s hold the byte 1 or 2", m->topic);
    for (size_t i = 0; i < m->property_count; i++) {
        const struct cjmq_property *p = &m->properties[i];
        if (p->name == NULL || p->value == NULL || *p->name == 0 || *p->value == 0)
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "property %zu (%s) of a message to topic %s: name or value is empty", i,
                               p->name != NULL ? p->name : "NULL", m->topic);
        if (!text_is_valid(p->name) || !text_is_valid(p->value))
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "property %s of a message to topic %s holds the byte 1 or 2", p->name,
                               m->topic);
        for (size_t r = 0; r < sizeof reserved / sizeof reserved[0]; r++)
            if (strcmp(p->name, reserved[r]) == 0)
                return failure_set(error, CJMQ_ERR_INVAL, 0,
                                   "property %s of a message to topic %s: the name is reserved", p->name,
                                   m->topic);
    }
    return 0;
}

int message_check(const struct cjmq_producer_options *o, const struct cjmq_message *m, bool in_batch,
                  struct cjmq_error *error)
{
    int rc = topic_check(m->topic, error);
    if (rc == 0 && (m->tags != NULL || m->keys != NULL || m->property_count > 0))
        rc = properties_check(m, error);
    if (rc != 0)
        return rc;
    if (m->body == NULL || m->body_len == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "a message to topic %s has no body", m->topic);
    if (m->body_len > o->message_bytes_max)
        return failure_set(error, CJMQ_ERR_TOOBIG, 0,
                           "a message to topic %s has %zu bytes, message_bytes_max is %zu", m->topic,
                           m->body_len, o->message_bytes_max);
    if (m->delay_level < 0 || m->delay_level > DELAY_LEVEL_MAX || (in_batch && m->delay_level != 0))
        return failure_set(error, CJMQ_ERR_INVAL, 0, "delay_level %d of a message to topic %s: allowed is %s",
                           m->delay_level, m->topic, in_batch ? "0 in a batch" : "0 to 18");
    if (m->queue != NULL && (m->queue->broker_name == NULL || m->queue->queue_id < 0))
        return failure_set(
            error, CJMQ_ERR_INVAL, 0,
            "the queue given for a message to topic %s has no broker name or a negative number", m->topic);
    size_t len = message_properties_len(m);
    if (len > RECORD_PROPERTIES_MAX)
        return failure_set(error, CJMQ_ERR_TOOBIG, 0,
                           "properties of a message to topic %s take %zu bytes, the protocol allows %d",
                           m->topic, len, RECORD_PROPERTIES_MAX);
    return 0;
}

/* --- writing --- */

static size_t pair_len(size_t name, size_t value)
{
    return name + value + 2;
}

static char *put_pair(char *d, const char *name, size_t name_len, const char *value, size_t value_len)
{
    memcpy(d, name, name_len);
    d += name_len;
    *d++ = 1;
    memcpy(d, value, value_len);
    d += value_len;
    *d++ = 2;
    return d;
}

size_t message_properties_len(const struct cjmq_message *m)
{
    size_t n = pair_len(sizeof PROPERTY_UNIQ_KEY - 1, UNIQUE_ID_LEN);
    if (m->tags != NULL && *m->tags != 0)
        n += pair_len(sizeof PROPERTY_TAGS - 1, strlen(m->tags));
    if (m->keys != NULL && *m->keys != 0)
        n += pair_len(sizeof PROPERTY_KEYS - 1, strlen(m->keys));
    if (m->no_wait_store)
        n += pair_len(sizeof PROPERTY_WAIT - 1, sizeof "false" - 1);
    if (m->delay_level > 0)
        n += pair_len(sizeof PROPERTY_DELAY - 1, m->delay_level > 9 ? 2 : 1);
    for (size_t i = 0; i < m->property_count; i++)
        n += pair_len(strlen(m->properties[i].name), strlen(m->properties[i].value));
    return n;
}

#define PUT_TEXT(d, name, value) put_pair((d), (name), sizeof(name) - 1, (value), strlen(value))

char *message_put_properties(char *d, const struct cjmq_message *m, const char unique_id[32])
{
    d = put_pair(d, PROPERTY_UNIQ_KEY, sizeof PROPERTY_UNIQ_KEY - 1, unique_id, UNIQUE_ID_LEN);
    if (m->tags != NULL && *m->tags != 0)
        d = PUT_TEXT(d, PROPERTY_TAGS, m->tags);
    if (m->keys != NULL && *m->keys != 0)
        d = PUT_TEXT(d, PROPERTY_KEYS, m->keys);
    if (m->no_wait_store)
        d = PUT_TEXT(d, PROPERTY_WAIT, "false");
    if (m->delay_level > 0) {
        char text[DELAY_TEXT_MAX];
        snprintf(text, sizeof text, "%d", m->delay_level);
        d = PUT_TEXT(d, PROPERTY_DELAY, text);
    }
    for (size_t i = 0; i < m->property_count; i++)
        d = put_pair(d, m->properties[i].name, strlen(m->properties[i].name), m->properties[i].value,
                     strlen(m->properties[i].value));
    return d;
}
