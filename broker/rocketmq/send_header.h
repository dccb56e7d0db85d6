/* send_header.h - the header that sends (10, 310, 320) and replies (324, 325) share: spec
 * rocketmq-protocol.md 3.1.
 * Threads: any; no state. */
#ifndef CJMQ_BROKER_ROCKETMQ_SEND_HEADER_H
#define CJMQ_BROKER_ROCKETMQ_SEND_HEADER_H

#include "broker/rocketmq/frontend.h"
#include "broker/send.h"

/* Fields of MSG_REGION and TRACE_ON, which every answer to a send carries, and the others of a stored
 * message. */
enum { SEND_REPLY_FIELDS = 5, SEND_REFUSAL_FIELDS = 2 };

/* Fills the order from the header's fields. `letters`: they are named by one letter. False after eb was told
 * what is wrong. Slices are the command's. */
bool send_header_parse(const struct command *cmd, bool letters, struct send_order *o, bool *batch,
                       struct errbuf *eb);
/* The first SEND_REFUSAL_FIELDS fields. */
void send_header_add_region(struct broker *b, struct command_out_field *fields);
/* Response code of a refusal, and of a send_result's err. */
int send_code_of_refusal(enum send_refusal refusal);
int send_code_of_error(int err);

#endif
