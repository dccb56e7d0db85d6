/* role_status.c - what an operator sees of a role: text for the console, JSON for programs.
 * Threads: b->control's; figures of the stream are fetched where it lives. */
#include "broker/role_internal.h"

#include "base/clock.h"
#include "base/json_dialect.h"

#include <inttypes.h>

struct describe_call {
    struct role *role;
    struct ha_master_info *info;
    struct buf *out; /* NULL: the slaves are not listed */
    bool json;
    unsigned listed;
};

static void describe_slave_line(void *arg, const struct ha_slave_info *s)
{
    struct describe_call *call = arg;
    int64_t connected_s = (clock_mono_ms() - s->connected_ms) / 1000;
    if (!call->json) {
        buf_printf(call->out, "slave      %-22s %-8s in step: %-3s  has %" PRId64 ", behind %" PRId64
                   " bytes, %" PRId64 " bytes/s, connected %" PRId64 " s\n",
                   s->address, s->greeted ? "CJMQ" : "RocketMQ", s->in_step ? "yes" : "no", s->acked, s->behind_bytes,
                   s->bytes_per_s, connected_s);
        return;
    }
    if (call->listed++ > 0)
        buf_append_char(call->out, ',');
    buf_append_str(call->out, "{\"address\":");
    json_append_string(call->out, slice_str(s->address));
    buf_printf(call->out, ",\"inStep\":%s,\"offset\":%" PRId64 ",\"behindBytes\":%" PRId64 ",\"bytesPerSecond\":%" PRId64 "}",
               s->in_step ? "true" : "false", s->acked, s->behind_bytes, s->bytes_per_s);
}

static void describe_master(void *arg)
{
    struct describe_call *call = arg;
    ha_master_info(call->role->master, call->info);
    if (call->out != NULL)
        ha_master_each_slave(call->role->master, describe_slave_line, call);
}

static void print_head(struct role *r, struct buf *out, bool json)
{
    struct identity_view self;
    struct epoch epoch;
    struct errbuf held;
    identity_view(r->broker->identity, &self);
    epochs_newest(r->broker->epochs, &epoch);
    identity_held(r->broker->identity, &held);
    const char *state = role_state_word(role_state(r));
    if (json) {
        buf_printf(out, "\"state\":\"%s\",\"epoch\":\"%" PRId64 ".%d\",\"epochOwner\":\"%s\",\"logBegin\":%" PRId64
                   ",\"logEnd\":%" PRId64 ",\"durable\":%" PRId64,
                   state, epoch.term, epoch.restart, epoch.owner, store_log_begin(r->broker->store),
                   store_written(r->broker->store), store_durable(r->broker->store));
        return;
    }
    buf_printf(out, "broker     %s of group %s: %s\n", self.addr, self.name, state);
    if (held.text[0] != '\0')
        buf_printf(out, "refuses    messages: %s\n", held.text);
    if (epoch.term > 0)
        buf_printf(out, "epoch      %" PRId64 ".%d of %s, from offset %" PRId64 "\n", epoch.term, epoch.restart, epoch.owner,
                   epoch.begin);
    buf_printf(out, "log        %" PRId64 " to %" PRId64 ", durable to %" PRId64 "\n", store_log_begin(r->broker->store),
               store_written(r->broker->store), store_durable(r->broker->store));
    if (r->broker->cut_path != NULL)
        buf_printf(out, "cut        %" PRId64 " bytes that the group never acknowledged are kept in %s\n",
                   r->broker->cut_bytes, r->broker->cut_path);
}

static void describe_as_master(struct role *r, struct buf *out)
{
    struct ha_master_info info = {0};
    struct buf slaves = {0};
    struct describe_call call = {.role = r, .info = &info, .out = &slaves};
    role_call_master(r, describe_master, &call);
    buf_printf(out, "mode       %s, inSyncReplicas %d, in step %u of %u slaves%s\n",
               info.wait ? "SYNCHRONOUS" : "ASYNCHRONOUS", info.copies, info.in_step, info.slaves,
               !info.degraded ? ""
               : r->broker->settings.enableAutoInSyncReplicas
                   ? ": DEGRADED to asynchronous, messages are acknowledged with this broker's copy only"
                   : ": DEGRADED, messages are answered SLAVE_NOT_AVAILABLE");
    buf_append_slice(out, buf_slice(&slaves));
    buf_fini(&slaves);
}

static void describe_as_slave(struct role *r, struct buf *out)
{
    struct follow_status f;
    follow_status(r->follow, &f);
    if (f.master[0] != '\0')
        buf_printf(out, "master     %s (%s)\n", f.master, f.plain ? "RocketMQ" : "CJMQ");
    if (f.streaming && f.stream.state == HA_SLAVE_FOLLOWING)
        buf_printf(out, "following  at %" PRId64 ", the master's end as last heard is %" PRId64 ", %" PRId64 " bytes behind\n",
                   f.stream.position, f.stream.master_end,
                   f.stream.master_end > f.stream.position ? f.stream.master_end - f.stream.position : 0);
    if (f.problem.text[0] != '\0')
        buf_printf(out, "not following: %s\n", f.problem.text);
    if (f.synced_ms > 0)
        buf_printf(out, "tables     as of %" PRId64 " ms ago\n", clock_mono_ms() - f.synced_ms);
}

void role_describe(struct role *r, struct buf *out)
{
    print_head(r, out, false);
    if (r->master != NULL)
        describe_as_master(r, out);
    else if (r->follow != NULL)
        describe_as_slave(r, out);
}

void role_print(struct role *r, struct buf *out)
{
    buf_append_char(out, '{');
    print_head(r, out, true);
    if (r->master != NULL) {
        struct ha_master_info info = {0};
        struct buf slaves = {0};
        struct describe_call call = {.role = r, .info = &info, .out = &slaves, .json = true};
        role_call_master(r, describe_master, &call);
        buf_printf(out, ",\"syncMode\":\"%s\",\"degraded\":%s,\"inStep\":%u,\"slaves\":[%.*s]",
                   info.wait ? "SYNCHRONOUS" : "ASYNCHRONOUS", info.degraded ? "true" : "false", info.in_step,
                   SLICE_ARG(buf_slice(&slaves)));
        buf_fini(&slaves);
    } else if (r->follow != NULL) {
        struct follow_status f;
        follow_status(r->follow, &f);
        bool following = f.streaming && f.stream.state == HA_SLAVE_FOLLOWING;
        buf_append_str(out, ",\"master\":");
        json_append_string(out, slice_str(f.master));
        buf_printf(out, ",\"following\":%s,\"position\":%" PRId64 ",\"masterEnd\":%" PRId64, following ? "true" : "false",
                   f.streaming ? f.stream.position : 0, f.streaming ? f.stream.master_end : 0);
        buf_append_str(out, ",\"problem\":");
        json_append_string(out, slice_str(f.problem.text));
    }
    buf_append_char(out, '}');
}

unsigned role_online_slaves(struct role *r)
{
    struct ha_master_info info = {0};
    if (r->master != NULL)
        role_call_master(r, describe_master, &(struct describe_call){.role = r, .info = &info});
    return info.slaves;
}
