/* group_wire.c - a hello's fields, both ways. */
#include "broker/group_wire.h"

#include <stdio.h>

void group_hello_fields(const struct group_hello *h, struct command_out_field fields[GROUP_HELLO_FIELDS])
{
    const struct command_out_field all[GROUP_HELLO_FIELDS] = {
        FIELD_TEXT("address", slice_str(h->address)),
        FIELD_TEXT("brokerName", slice_str(h->name)),
        FIELD_TEXT("clusterName", slice_str(h->cluster)),
        FIELD_TEXT("role", slice_str(cluster_role_word(h->role))),
        FIELD_TEXT("state", slice_str(h->state)),
        FIELD_TEXT("haAddress", slice_str(h->ha_address)),
        FIELD_NUM("epochTerm", h->epoch.term),
        FIELD_NUM("epochRestart", h->epoch.restart),
        FIELD_NUM("epochId", (int64_t)h->epoch.id),
        FIELD_NUM("epochBegin", h->epoch.begin),
        FIELD_TEXT("epochOwner", slice_str(h->epoch.owner)),
        FIELD_NUM("documentTime", h->document_ms),
        FIELD_NUM("logEnd", h->log_end),
    };
    for (unsigned i = 0; i < GROUP_HELLO_FIELDS; i++)
        fields[i] = all[i];
}

static int take_text(const struct command *cmd, const char *key, char *out, size_t size, struct errbuf *eb)
{
    struct slice text;
    if (!command_get(cmd, key, &text))
        return errbuf_set(eb, ERR_PROTO, "the field %s is missing", key);
    if (text.len >= size)
        return errbuf_set(eb, ERR_PROTO, "the field %s has %zu bytes, at most %zu are allowed", key, text.len,
                          size - 1);
    snprintf(out, size, "%.*s", SLICE_ARG(text));
    return 0;
}

int group_hello_parse(const struct command *cmd, struct group_hello *out, struct errbuf *eb)
{
    struct group_hello h = {0};
    struct slice role = SLICE_NULL;
    int64_t restart = 0, id = 0;
    int err = take_text(cmd, "address", h.address, sizeof h.address, eb);
    if (err == 0)
        err = take_text(cmd, "brokerName", h.name, sizeof h.name, eb);
    if (err == 0)
        err = take_text(cmd, "clusterName", h.cluster, sizeof h.cluster, eb);
    if (err == 0)
        err = take_text(cmd, "state", h.state, sizeof h.state, eb);
    if (err == 0)
        err = take_text(cmd, "haAddress", h.ha_address, sizeof h.ha_address, eb);
    if (err == 0)
        err = take_text(cmd, "epochOwner", h.epoch.owner, sizeof h.epoch.owner, eb);
    if (err != 0)
        return err;
    if (!command_get(cmd, "role", &role) || cluster_role_parse(role, &h.role) != 0)
        return errbuf_set(eb, ERR_PROTO, "the field role=%.*s is no role", SLICE_ARG(role));
    if (command_get_i64(cmd, "epochTerm", &h.epoch.term, eb) != 0 ||
        command_get_i64(cmd, "epochRestart", &restart, eb) != 0 || command_get_i64(cmd, "epochId", &id, eb) != 0 ||
        command_get_i64(cmd, "epochBegin", &h.epoch.begin, eb) != 0 ||
        command_get_i64(cmd, "documentTime", &h.document_ms, eb) != 0 || command_get_i64(cmd, "logEnd", &h.log_end, eb) != 0)
        return ERR_PROTO;
    if (!epoch_is_credible(&h.epoch) || restart < 0 || restart > INT32_MAX)
        return errbuf_set(eb, ERR_PROTO, "epoch %lld.%lld is out of range, or years ahead of this machine's clock",
                          (long long)h.epoch.term, (long long)restart);
    h.epoch.restart = (int32_t)restart;
    h.epoch.id = (uint64_t)id;
    *out = h;
    return 0;
}
