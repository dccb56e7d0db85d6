/* admin.h - what CJMQ's own tools ask of a client beyond cjmq.h: any request to any server, and where topics
 * and brokers are.
 *
 * Blocking forms for programs; any thread but the client's. Bodies are returned as the server sent them;
 * cluster/ reads them. Not installed: for this tree only. */
#ifndef CJMQ_CLIENT_ADMIN_H
#define CJMQ_CLIENT_ADMIN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/reactor.h"
#include "base/slice.h"
#include "client/cjmq.h"
#include "remoting/codes.h"
#include "remoting/command.h"

/* One request. `addr` "host:port"; fields and body are borrowed for the call. */
struct admin_request {
    const char *addr;  /* ignored by admin_call_namesrv */
    int code;          /* REQ_* */
    const struct command_out_field *fields;
    unsigned field_count;
    struct slice body;
    int64_t timeout_ms; /* 0: the client's request_timeout_ms */
};

/* Sends the request and waits for the answer, whatever its code: storage (caller's, buf_fini it) takes the
 * frame that *answer points into. 0, or ERR_CONNECT / ERR_TIMEOUT / ERR_CLOSED / ERR_LIMIT / ERR_STATE with
 * address and reason in eb. */
int admin_call(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
               struct command *answer, struct errbuf *eb);

/* As admin_call, and an answer whose code is not SUCCESS is an error: ERR_NOTFOUND for TOPIC_NOT_EXIST (17)
 * and QUERY_NOT_FOUND (22), else ERR_REMOTE; eb then holds request, address, code's name and the server's
 * remark; *answer is filled then too. */
int admin_call_ok(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
                  struct command *answer, struct errbuf *eb);

/* As admin_call_ok against the name servers: one after the other, beginning with the one that answered last,
 * until one answers. When none does, the error names each. */
int admin_call_namesrv(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
                       struct command *answer, struct errbuf *eb);

/* The client's name servers; "" terminated by index: returns NULL when there are not that many. Valid as long
 * as the client. */
const char *admin_namesrv_at(const struct cjmq_client *client, unsigned i);

/* The reactor that the client's callbacks run on, for timers and tasks of tools that send from there. Valid
 * as long as the client. */
struct reactor *admin_reactor(struct cjmq_client *client);

/* JSON body of the answer to GET_ROUTEINFO_BY_TOPIC (TopicRouteData) / GET_BROKER_CLUSTER_INFO (ClusterInfo),
 * appended to `json`. 0; ERR_NOTFOUND (no such topic) or any error of admin_call_namesrv. */
int admin_topic_route(struct cjmq_client *client, const char *topic, struct buf *json, struct errbuf *eb);
int admin_cluster_info(struct cjmq_client *client, struct buf *json, struct errbuf *eb);

/* Decodes one commit-log record as answered by VIEW_MESSAGE_BY_ID or QUERY_MESSAGE into a received message.
 * `bytes` is changed in place (properties become zero-terminated strings) and must be followed by one
 * writable byte; the message points into it and into `out->storage`. 0, or ERR_PROTO / ERR_CORRUPT with the
 * reason. */
struct admin_record;
int admin_record_decode(struct slice bytes, struct admin_record **out, struct errbuf *eb);
const struct cjmq_received *admin_record_message(const struct admin_record *record);
void admin_record_free(struct admin_record *record);

#endif
