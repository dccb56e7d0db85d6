/* command.h - RocketMQ remoting commands: frame and header codec, bytes in, structs out; no socket, no clock,
 * no allocation.
 *
 * Frame (big endian; spec: rocketmq-protocol.md section 1):
 *   off 0  4  length        bytes that follow = 4 + header length + body length
 *   off 4  1  serialize type  0 JSON, 1 ROCKETMQ binary
 *   off 5  3  header length
 *   off 8  n  header
 *   off 8+n   body
 * Threads: any; no state. */
#ifndef CJMQ_REMOTING_COMMAND_H
#define CJMQ_REMOTING_COMMAND_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum serialize_type { SERIALIZE_JSON = 0, SERIALIZE_ROCKETMQ = 1 };
enum command_flag { COMMAND_RESPONSE = 1, COMMAND_ONEWAY = 2 };
/* Version announced in everything we send: V4_9_8. */
enum { COMMAND_VERSION = 409 };

/* Ext fields above this number make a header malformed; the largest real command (a send with ACL) has
 * under 25. */
#define COMMAND_EXT_MAX 64
#define FRAME_HEAD_BYTES 8

enum language_code {
    LANGUAGE_JAVA = 0,
    LANGUAGE_CPP = 1,
    LANGUAGE_DOTNET = 2,
    LANGUAGE_PYTHON = 3,
    LANGUAGE_DELPHI = 4,
    LANGUAGE_ERLANG = 5,
    LANGUAGE_RUBY = 6,
    LANGUAGE_OTHER = 7,
    LANGUAGE_HTTP = 8,
    LANGUAGE_GO = 9,
    LANGUAGE_PHP = 10,
    LANGUAGE_OMS = 11,
    LANGUAGE_RUST = 12,
    LANGUAGE_NODE_JS = 13,
    LANGUAGE_UNKNOWN = 255,
};
/* "JAVA", ...; "OTHER" for an unknown number. */
const char *language_name(unsigned code);
unsigned language_parse(struct slice name);

struct command_field {
    struct slice key;
    struct slice value;
};

/* A decoded command. All slices point into the frame or, where a JSON string had escapes, into the scratch
 * memory given to the decoder: valid as long as both. */
struct command {
    int32_t code;
    int32_t version;
    int32_t opaque;
    int32_t flag;
    uint8_t serialize_type; /* of the frame: a reply must use the same */
    uint8_t language;
    unsigned field_count;
    struct slice remark;
    struct slice body;
    struct command_field fields[COMMAND_EXT_MAX]; /* ext fields in the order received; numbers and booleans as
                                                     their text */
};

static inline bool command_is_response(const struct command *c)
{
    return (c->flag & COMMAND_RESPONSE) != 0;
}

static inline bool command_is_oneway(const struct command *c)
{
    return (c->flag & COMMAND_ONEWAY) != 0;
}

/* Looks at the first bytes of a stream. Returns the whole frame's size (prefix included) once 4 bytes are
 * there, 0 when fewer, or ERR_TOOBIG / ERR_PROTO (negative, eb filled) when the frame is larger than
 * `frame_bytes_max` or its lengths contradict each other. */
int64_t frame_size(struct slice bytes, uint32_t frame_bytes_max, struct errbuf *eb);

/* Decodes one whole frame. `scratch` (at least as large as the header) takes unescaped strings. 0 or
 * ERR_PROTO with the reason in eb. */
int command_decode(struct slice frame, char *scratch, size_t scratch_len, struct command *out,
                   struct errbuf *eb);

/* --- ext fields --- */
/* Value of `key`; false when absent. An empty value counts as present here. */
bool command_get(const struct command *c, const char *key, struct slice *out);
/* Whole numbers and booleans: ERR_NOTFOUND when absent or empty (the binary header cannot tell the two
 * apart), ERR_INVAL when not a number (eb names key and value). */
int command_get_i64(const struct command *c, const char *key, int64_t *out, struct errbuf *eb);
int command_get_i32(const struct command *c, const char *key, int32_t *out, struct errbuf *eb);
bool command_get_bool(const struct command *c, const char *key, bool def);

/* --- writing --- */
/* A value to send: text, or a number formatted by the writer. */
struct command_out_field {
    const char *key;   /* ASCII, needs no escape */
    struct slice text; /* used when `is_number` is false; a text with ptr NULL is left out */
    int64_t number;
    bool is_number;
};
#define FIELD_TEXT(k, s) ((struct command_out_field){.key = (k), .text = (s)})
#define FIELD_NUM(k, n) ((struct command_out_field){.key = (k), .number = (n), .is_number = true})

struct command_out {
    int32_t code;
    int32_t opaque;
    int32_t flag;
    uint8_t serialize_type;
    struct slice remark; /* ptr NULL: none */
    const struct command_out_field *fields;
    unsigned field_count;
    size_t body_len; /* of the body that the caller puts behind the header */
};

/* Appends length word, type and header (not the body) to `out`. Ext values are written as JSON strings,
 * language as "OTHER"... (C clients have no code of their own), version COMMAND_VERSION. */
void command_encode_head(const struct command_out *c, struct buf *out);

#endif
