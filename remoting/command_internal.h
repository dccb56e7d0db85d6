/* command_internal.h - the parts of the codec that the folder and its tests share.
 * Threads: any; no state. */
#ifndef CJMQ_REMOTING_COMMAND_INTERNAL_H
#define CJMQ_REMOTING_COMMAND_INTERNAL_H

#include "remoting/command.h"

/* Decoders of one header (without frame). They fill everything of `out` but serialize_type and body; scratch
 * as in command_decode(). 0 or ERR_PROTO (eb). */
int header_json_decode(struct slice header, char *scratch, size_t scratch_len, struct command *out,
                       struct errbuf *eb);
int header_binary_decode(struct slice header, struct command *out, struct errbuf *eb);

/* Looks for the opaque and the flags in the beginning of a frame that was refused, so that its sender can be
 * told why. `bytes` is what is there of the frame. False when nothing that looks like an opaque is in it. */
bool command_salvage(struct slice bytes, int32_t *opaque, int32_t *flag);

/* command_encode_head() for callers with memory of their own: how many bytes it takes at most, and writing
 * them (returns how many). */
size_t command_head_bound(const struct command_out *c);
size_t command_head_write(const struct command_out *c, char *dst);

#endif
