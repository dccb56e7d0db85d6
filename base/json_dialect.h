/* json_dialect.h - reads the JSON that Java programs and people write where standard JSON stops: fastjson's
 * object keys and bare keys, single quotes, white space; and writes strings for hand-made JSON.
 *
 * The reader first turns the text into compact standard JSON (one pass, a bounded depth, no tree), keeping
 * members, order, numbers and strings as they are; an object or array used as a key becomes a string holding
 * its compact JSON:
 *   {0:'a', {"q":1,"t":"T"}:3}  ->  {"0":"a","{\"q\":1,\"t\":\"T\"}":3}
 * Threads: any; no state. */
#ifndef CJMQ_BASE_JSON_DIALECT_H
#define CJMQ_BASE_JSON_DIALECT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct cJSON;

enum { JSON_DEPTH_MAX = 64 };

/* Appends `text` as compact standard JSON to `out`. Depth above `depth_max` (at most JSON_DEPTH_MAX) is an
 * error. `text` must be one value; white space around it is allowed. 0, or ERR_PROTO (eb: line and column,
 * what was found and expected) with `out` as before. */
int json_dialect_compact(struct slice text, unsigned depth_max, struct buf *out, struct errbuf *eb);

/* Compacts, follows fastjson's {"$ref":"$.a.b[0]"} and builds a tree, owned by the caller (cJSON_Delete).
 * Callers bound the length of `text`; the tree takes about 30 times as much memory at worst. NULL on failure
 * with *err (may be NULL) ERR_PROTO and eb. */
struct cJSON *json_dialect_parse(struct slice text, int *err, struct errbuf *eb);

/* --- lenient members, as fastjson reads them ---
 * Member of an object by exact name; NULL when absent, null, or `object` is no object. */
const struct cJSON *json_member(const struct cJSON *object, const char *name);
/* Whole number from a number, "12" or true/false; `def` when absent or unusable. Exact up to 2^53. */
int64_t json_member_i64(const struct cJSON *object, const char *name, int64_t def);
bool json_member_bool(const struct cJSON *object, const char *name, bool def);
/* A string's text (valid as long as the tree); SLICE_NULL when absent or no string. */
struct slice json_member_str(const struct cJSON *object, const char *name);

/* --- writing --- */
/* Appends "..." with the escapes that JSON asks for; UTF-8 passes as it is. */
void json_append_string(struct buf *out, struct slice s);
/* Appends "name": ; no comma. */
void json_append_key(struct buf *out, const char *name);

#endif
