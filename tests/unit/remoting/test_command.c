/* test_command.c - the codec on literal bytes: frames as the published clients write them, round trips, and
 * what is malformed. */
#include "tests/unit/testing.h"

#include "base/bytes.h"
#include "remoting/codes.h"
#include "remoting/command_internal.h"

#define JAVA_HEARTBEAT \
    "{\"code\":34,\"flag\":0,\"language\":\"JAVA\",\"opaque\":0,\"serializeTypeCurrentRPC\":\"JSON\"," \
    "\"version\":409}"
#define GO_SEND \
    "{\"code\":310,\"language\":\"GO\",\"version\":317,\"opaque\":12,\"flag\":0,\"remark\":\"\"," \
    "\"extFields\":{\"a\":\"pg\"," \
    "\"b\":\"topic\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"1\",\"f\":\"0\",\"g\":\"1700000000000\",\"h\":" \
    "\"0\",\"i\":\"TAGS\\u0001a\\u0002\"}}"
#define CPP_PULL \
    "{\"code\":11,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":\"\",\"Signature\":\"\"," \
    "\"commitOffset\":0,\"queueId\":3," \
    "\"queueOffset\":17,\"sysFlag\":6,\"m\":false,\"consumerGroup\":\"g\"},\"flag\":0,\"language\":\"CPP\"," \
    "\"opaque\":5,\"version\":333}\n"

struct decoded {
    char *frame;
    size_t frame_len;
    char *scratch;
    struct command cmd;
    struct errbuf eb;
    int err;
};

/* Memory of exact sizes, so that a byte too far is found. */
static void decode(struct decoded *d, int type, struct slice header, struct slice body)
{
    memset(d, 0, sizeof *d);
    d->frame_len = FRAME_HEAD_BYTES + header.len + body.len;
    d->frame = malloc(d->frame_len);
    d->scratch = malloc(header.len + 1);
    put_be32(d->frame, (uint32_t)(4 + header.len + body.len));
    put_be32(d->frame + 4, (uint32_t)type << 24 | (uint32_t)header.len);
    memcpy(d->frame + FRAME_HEAD_BYTES, header.ptr, header.len);
    if (body.len > 0)
        memcpy(d->frame + FRAME_HEAD_BYTES + header.len, body.ptr, body.len);
    d->err = command_decode(slice_of(d->frame, d->frame_len), d->scratch, header.len, &d->cmd, &d->eb);
}

static void decoded_free(struct decoded *d)
{
    free(d->frame);
    free(d->scratch);
}

static void decode_json(struct decoded *d, const char *text)
{
    decode(d, SERIALIZE_JSON, slice_str(text), SLICE_NULL);
}

static void assert_field(const struct command *c, const char *key, const char *want)
{
    struct slice got;
    if (!command_get(c, key, &got))
        fail_msg("no field %s", key);
    if (!slice_eq_str(got, want))
        fail_msg("field %s is '%.*s', expected '%s'", key, SLICE_ARG(got), want);
}

static void assert_refused(const char *header, const char *reason)
{
    struct decoded d;
    decode_json(&d, header);
    if (d.err != ERR_PROTO)
        fail_msg("taken: %s", header);
    if (strstr(d.eb.text, reason) == NULL)
        fail_msg("refused for another reason: %s: %s", header, d.eb.text);
    decoded_free(&d);
}

/* --- frames --- */

static void test_frame_size_is_known_from_four_bytes(void **state)
{
    (void)state;
    struct errbuf eb;
    char head[8] = {0, 0, 1, 0, 0, 0, 0, 100};
    for (size_t n = 0; n < 4; n++)
        assert_int_equal(frame_size(slice_of(head, n), 1024, &eb), 0);
    for (size_t n = 4; n <= 8; n++)
        assert_int_equal(frame_size(slice_of(head, n), 1024, &eb), 260);
}

static void test_frame_size_refuses_contradictions(void **state)
{
    (void)state;
    struct errbuf eb = {""};
    static const struct {
        unsigned char head[8];
        unsigned len;
        int err;
    } rows[] = {
        {{0, 0, 0, 3, 0, 0, 0, 0}, 4, ERR_PROTO}, /* shorter than the second word */
        {{0, 0, 0, 0, 0, 0, 0, 0}, 4, ERR_PROTO},
        {{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 4, ERR_PROTO}, /* negative */
        {{0x80, 0, 0, 0, 0, 0, 0, 0}, 8, ERR_PROTO},
        {{0, 0, 4, 0, 0, 0, 0, 0}, 4, ERR_TOOBIG}, /* 1028 > 1024 */
        {{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 4, ERR_TOOBIG},
        {{0, 0, 0, 20, 0, 0, 0, 17}, 8, ERR_PROTO}, /* header longer than the frame */
        {{0, 0, 0, 20, 0, 0xff, 0xff, 0xff}, 8, ERR_PROTO},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        eb.text[0] = '\0';
        assert_int_equal(frame_size(slice_of(rows[i].head, rows[i].len), 1024, &eb), rows[i].err);
        assert_true(eb.text[0] != '\0');
    }
    char limit[4] = {0, 0, 3, (char)0xfc};
    assert_int_equal(frame_size(slice_of(limit, 4), 1024, &eb), 1024); /* the prefix counts */
    char all_header[8] = {0, 0, 0, 20, 0, 0, 0, 16};
    assert_int_equal(frame_size(slice_of(all_header, 8), 1024, &eb), 24);
}

static void test_command_decode_needs_one_whole_frame_of_a_known_type(void **state)
{
    (void)state;
    struct decoded d;
    decode(&d, 2, slice_str(JAVA_HEARTBEAT), SLICE_NULL);
    assert_int_equal(d.err, ERR_PROTO);
    assert_non_null(strstr(d.eb.text, "serialize type 2"));
    decoded_free(&d);
    decode_json(&d, JAVA_HEARTBEAT);
    assert_int_equal(d.err, 0);
    assert_int_equal(
        command_decode(slice_of(d.frame, d.frame_len - 1), d.scratch, d.frame_len, &d.cmd, &d.eb), ERR_PROTO);
    decoded_free(&d);
}

/* --- JSON --- */

static void test_json_java_heartbeat(void **state)
{
    (void)state;
    struct decoded d;
    decode(&d, SERIALIZE_JSON, slice_str(JAVA_HEARTBEAT), SLICE_LIT("body"));
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.code, 34);
    assert_int_equal(d.cmd.version, 409);
    assert_int_equal(d.cmd.opaque, 0);
    assert_int_equal(d.cmd.flag, 0);
    assert_int_equal(d.cmd.language, LANGUAGE_JAVA);
    assert_int_equal(d.cmd.serialize_type, SERIALIZE_JSON);
    assert_int_equal(d.cmd.field_count, 0);
    assert_null(d.cmd.remark.ptr);
    assert_true(slice_eq_str(d.cmd.body, "body"));
    decoded_free(&d);
}

static void test_json_go_send_with_escaped_properties(void **state)
{
    (void)state;
    struct decoded d;
    int64_t v;
    decode_json(&d, GO_SEND);
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.language, LANGUAGE_GO);
    assert_int_equal(d.cmd.field_count, 9);
    assert_true(d.cmd.remark.ptr != NULL && d.cmd.remark.len == 0);
    assert_field(&d.cmd, "b", "topic");
    assert_field(&d.cmd, "i", "TAGS\001a\002");
    assert_int_equal(command_get_i64(&d.cmd, "g", &v, &d.eb), 0);
    assert_int_equal(v, 1700000000000);
    /* What has no escape points into the frame. */
    assert_true(d.cmd.fields[1].value.ptr > d.frame && d.cmd.fields[1].value.ptr < d.frame + d.frame_len);
    decoded_free(&d);
}

static void test_json_cpp_pull_with_bare_values(void **state)
{
    (void)state;
    struct decoded d;
    int32_t v;
    decode_json(&d, CPP_PULL);
    assert_int_equal(d.err, 0);
    assert_int_equal(command_get_i32(&d.cmd, "queueOffset", &v, &d.eb), 0);
    assert_int_equal(v, 17);
    assert_field(&d.cmd, "m", "false");
    assert_false(command_get_bool(&d.cmd, "m", true));
    assert_field(&d.cmd, "Signature", "");
    decoded_free(&d);
}

static void test_json_tolerates_what_json_allows(void **state)
{
    (void)state;
    struct decoded d;
    decode_json(&d, " {\t\"unknown\" : {\"a\":[1,{\"}\":\"]\"}],\"b\":\"\\\"\"} , \"extFields\" : null "
                    ",\r\n\"opaque\":-7,\"x\":[],\"code\":1,"
                    "\"y\":-1.5e+3,\"remark\":null,\"language\":\"COBOL\",\"z\":true } \n");
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.opaque, -7);
    assert_int_equal(d.cmd.language, LANGUAGE_UNKNOWN);
    assert_null(d.cmd.remark.ptr);
    decoded_free(&d);

    decode_json(&d, "{\"code\":\"25\",\"version\":null,\"language\":9,\"extFields\":{ }}");
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.code, 25);
    assert_int_equal(d.cmd.language, LANGUAGE_GO);
    decoded_free(&d);

    decode_json(&d, "{\"code\":1,\"extFields\":{\"n\":null,\"o\":{\"k\":[1, \"]\"]},\"l\":[ 1 "
                    "],\"f\":1.25,\"t\":true,\"s\":\"null\"}}");
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.field_count, 5);
    assert_field(&d.cmd, "o", "{\"k\":[1, \"]\"]}");
    assert_field(&d.cmd, "l", "[ 1 ]");
    assert_field(&d.cmd, "f", "1.25");
    assert_field(&d.cmd, "s", "null");
    assert_true(command_get_bool(&d.cmd, "t", false));
    decoded_free(&d);
}

static void test_json_unescapes_strings(void **state)
{
    (void)state;
    struct decoded d;
    decode_json(
        &d, "{\"code\":1,\"remark\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u4e2D\\ud83d\\ude00 end\","
            "\"extFields\":{\"\\u006bey\":\"v\\u0001\",\"lone\":\"a\\ud83dz\\ude00\\ud83d\",\"raw\":"
            "\"\x01\x02 \xff\"}}");
    assert_int_equal(d.err, 0);
    assert_true(slice_eq_str(d.cmd.remark, "\"\\/\b\f\n\r\tA\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 end"));
    assert_field(&d.cmd, "key", "v\001");
    assert_field(&d.cmd, "lone", "a\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd");
    assert_field(&d.cmd, "raw", "\x01\x02 \xff");
    decoded_free(&d);
}

static void test_json_of_a_key_given_twice_the_last_counts(void **state)
{
    (void)state;
    struct decoded d;
    decode_json(&d, "{\"code\":1,\"code\":2,\"extFields\":{\"a\":\"1\",\"a\":\"2\"}}");
    assert_int_equal(d.err, 0);
    assert_int_equal(d.cmd.code, 2);
    assert_field(&d.cmd, "a", "2");
    decoded_free(&d);
}

static void test_json_malformed_headers_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "'{' expected"},
        {"[]", "'{' expected"},
        {"{", "member name expected"},
        {"{\"opaque\":1}", "no member \"code\""},
        {"{\"code\":1", "',' or '}' expected"},
        {"{\"code\":1} x", "text behind"},
        {"{\"code\":1,}", "member name expected"},
        {"{\"code\"}", "':' expected"},
        {"{\"code\":}", "value expected"},
        {"{\"code\":1.5}", "32 bits"},
        {"{\"code\":2147483648}", "32 bits"},
        {"{\"code\":{}}", "32 bits"},
        {"{\"code\":nil}", "value expected"},
        {"{\"code\":1,\"x\":12ab}", "malformed number"},
        {"{\"code\":1,\"x\":\"abc", "without an end"},
        {"{\"code\":1,\"x\":\"abc\\", "without an end"},
        {"{\"code\":1,\"remark\":\"\\", "without an end"},
        {"{\"code\":1,\"remark\":\"\\u12\"}", "four hex digits"},
        {"{\"code\":1,\"remark\":\"\\u12g4\"}", "four hex digits"},
        {"{\"code\":1,\"remark\":\"\\x\"}", "unknown escape"},
        {"{\"code\":1,\"extFields\":[]}", "extFields"},
        {"{\"code\":1,\"extFields\":\"a\"}", "extFields"},
        {"{\"code\":1,\"extFields\":{\"a\":\"1\"", "',' or '}' expected"},
        {"{\"code\":1,\"extFields\":{1:2}}", "member name expected"},
        {"{\"code\":1,\"x\":[1,2}", "do not match"},
        {"{\"code\":1,\"x\":[1,2", "without an end"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(rows[i][0], rows[i][1]);
}

static void test_json_every_cut_of_a_header_is_refused(void **state)
{
    (void)state;
    struct slice whole = slice_str(GO_SEND);
    for (size_t n = 0; n < whole.len; n++) {
        struct decoded d;
        decode(&d, SERIALIZE_JSON, slice_of(whole.ptr, n), SLICE_NULL);
        assert_int_equal(d.err, ERR_PROTO);
        decoded_free(&d);
    }
}

static void test_json_nesting_and_field_count_are_bounded(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_str(&b, "{\"code\":1,\"x\":");
    for (int i = 0; i < 65; i++)
        buf_append_str(&b, "[");
    char *text = buf_steal_str(&b);
    assert_refused(text, "nested too deep");
    free(text);

    for (int count = COMMAND_EXT_MAX; count <= COMMAND_EXT_MAX + 1; count++) {
        buf_append_str(&b, "{\"code\":1,\"extFields\":{\"k\":\"v\"");
        for (int i = 1; i < count; i++)
            buf_printf(&b, ",\"k%d\":\"v\"", i);
        buf_append_str(&b, "}}");
        text = buf_steal_str(&b);
        struct decoded d;
        decode_json(&d, text);
        assert_int_equal(d.err, count <= COMMAND_EXT_MAX ? 0 : ERR_PROTO);
        decoded_free(&d);
        free(text);
    }
}

/* --- binary --- */

static const unsigned char spec_frame[] = {0, 0, 0, 0x21, 1, 0,   0, 0x1d, 0, 0x0f, 0,  1, 0x99,
                                           0, 0, 0, 3,    0, 0,   0, 0,    0, 0,    0,  0, 0,
                                           0, 0, 8, 0,    1, 'a', 0, 0,    0, 1,    'b'};

static void test_binary_frame_of_the_specification(void **state)
{
    (void)state;
    struct command c;
    struct errbuf eb;
    assert_int_equal(command_decode(slice_of(spec_frame, sizeof spec_frame), NULL, 0, &c, &eb), 0);
    assert_int_equal(c.code, 15);
    assert_int_equal(c.language, LANGUAGE_JAVA);
    assert_int_equal(c.version, 409);
    assert_int_equal(c.opaque, 3);
    assert_int_equal(c.serialize_type, SERIALIZE_ROCKETMQ);
    assert_int_equal(c.field_count, 1);
    assert_field(&c, "a", "b");
    assert_int_equal(c.body.len, 0);
}

static void test_binary_lengths_that_run_over_are_refused(void **state)
{
    (void)state;
    const struct slice header = slice_of(spec_frame + FRAME_HEAD_BYTES, sizeof spec_frame - FRAME_HEAD_BYTES);
    struct decoded d;
    for (size_t n = 0; n < header.len; n++) {
        decode(&d, SERIALIZE_ROCKETMQ, slice_of(header.ptr, n), SLICE_NULL);
        assert_int_equal(d.err, ERR_PROTO);
        decoded_free(&d);
    }
    static const struct {
        unsigned at, value;
    } broken[] = {{13, 0xff}, {16, 200}, {17, 0x80}, {20, 9}, {20, 7},
                  {21, 0xff}, {22, 7},   {24, 0x80}, {27, 2}};
    for (unsigned i = 0; i < sizeof broken / sizeof *broken; i++) {
        char copy[64];
        memcpy(copy, header.ptr, header.len);
        copy[broken[i].at] = (char)broken[i].value;
        decode(&d, SERIALIZE_ROCKETMQ, slice_of(copy, header.len), SLICE_NULL);
        assert_int_equal(d.err, ERR_PROTO);
        assert_true(d.eb.text[0] != '\0');
        decoded_free(&d);
    }
}

/* --- fields --- */

static void test_command_get_numbers(void **state)
{
    (void)state;
    struct decoded d;
    int64_t v = 99;
    int32_t w = 99;
    decode_json(&d, "{\"code\":1,\"extFields\":{\"n\":\"-12\",\"big\":\"4294967296\",\"word\":\"12x\","
                    "\"empty\":\"\",\"t\":\"true\",\"T\":\"TRUE\"}}");
    assert_int_equal(command_get_i64(&d.cmd, "n", &v, &d.eb), 0);
    assert_int_equal(v, -12);
    assert_int_equal(command_get_i64(&d.cmd, "big", &v, &d.eb), 0);
    assert_int_equal(v, 4294967296);
    assert_int_equal(command_get_i32(&d.cmd, "big", &w, &d.eb), ERR_INVAL);
    assert_non_null(strstr(d.eb.text, "\"big\""));
    assert_int_equal(command_get_i64(&d.cmd, "word", &v, &d.eb), ERR_INVAL);
    assert_non_null(strstr(d.eb.text, "12x"));
    assert_int_equal(command_get_i64(&d.cmd, "none", &v, &d.eb), ERR_NOTFOUND);
    assert_int_equal(command_get_i64(&d.cmd, "empty", &v, NULL), ERR_NOTFOUND);
    assert_int_equal(command_get_i64(&d.cmd, "t", &v, NULL), 0);
    assert_int_equal(v, 1);
    assert_int_equal(w, 99); /* untouched on failure */
    assert_true(command_get_bool(&d.cmd, "T", false));
    assert_true(command_get_bool(&d.cmd, "none", true));
    assert_false(command_get_bool(&d.cmd, "word", true));
    decoded_free(&d);
}

/* --- writing --- */

static char *encode(const struct command_out *out, size_t *len)
{
    struct buf b = {0};
    command_encode_head(out, &b);
    *len = buf_len(&b);
    assert_true(*len <= command_head_bound(out));
    return buf_steal_str(&b);
}

static void test_encode_json_reply_text(void **state)
{
    (void)state;
    struct command_out_field fields[] = {FIELD_TEXT("msgId", SLICE_LIT("AB")), FIELD_TEXT("gone", SLICE_NULL),
                                         FIELD_NUM("queueOffset", INT64_MIN),
                                         FIELD_TEXT("empty", SLICE_LIT("")), FIELD_NUM("q", 7)};
    struct command_out out = {
        .code = -1, .opaque = 100, .flag = 1, .fields = fields, .field_count = 5, .body_len = 10};
    static const char want[] =
        "{\"code\":-1,\"extFields\":{\"msgId\":\"AB\",\"queueOffset\":\"-9223372036854775808\",\"empty\":"
        "\"\","
        "\"q\":\"7\"},\"flag\":1,\"language\":\"OTHER\",\"opaque\":100,\"version\":409}";
    size_t len;
    char *got = encode(&out, &len);
    assert_int_equal(get_be32(got), 4 + sizeof want - 1 + 10);
    assert_int_equal(get_be32(got + 4), sizeof want - 1);
    assert_int_equal(len, 8 + sizeof want - 1);
    assert_memory_equal(got + 8, want, sizeof want - 1);
    free(got);
}

static void test_encode_json_escapes_and_mends_text(void **state)
{
    (void)state;
    struct command_out out = {
        .remark = SLICE_LIT("\x01\x1f\n\t\"\\/ plain text of some length \xc3\xa9 \xe4\xb8\xad "
                            "\xf0\x9f\x98\x80 bad:\xff \xc0\x80 \xed\xa0\x80 "
                            "cut:\xe4\xb8"),
    };
    static const char want[] = "\"remark\":\"\\u0001\\u001f\\n\\t\\\"\\\\/ plain text of some length "
                               "\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80 "
                               "bad:\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd "
                               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd cut:\xef\xbf\xbd\xef\xbf\xbd\",";
    size_t len;
    char *got = encode(&out, &len);
    assert_non_null(memmem(got, len, want, sizeof want - 1));
    free(got);
}

/* Every byte at every place of an eight-byte word, through the writer and back through the scanner. */
static void test_encode_json_text_comes_back(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        for (unsigned at = 0; at < 9; at++) {
            char text[] = "aaaaaaaaa", scratch[256];
            text[at] = (char)c;
            struct command_out_field field = FIELD_TEXT("k", slice_of(text, 9));
            struct command_out out = {.code = 5, .fields = &field, .field_count = 1};
            struct command cmd;
            struct errbuf eb;
            size_t len;
            char *got = encode(&out, &len);
            assert_int_equal(command_decode(slice_of(got, len), scratch, sizeof scratch, &cmd, &eb), 0);
            struct slice value = cmd.fields[0].value;
            if (c < 0x80) {
                assert_true(slice_eq(value, field.text));
            } else {
                assert_int_equal(value.len, 11);
                assert_memory_equal(value.ptr + at, "\xef\xbf\xbd", 3);
            }
            free(got);
        }
    }
}

static void test_encode_binary_equals_the_specification(void **state)
{
    (void)state;
    struct command_out_field field = FIELD_TEXT("a", SLICE_LIT("b"));
    struct command_out out = {
        .code = 15, .opaque = 3, .serialize_type = SERIALIZE_ROCKETMQ, .fields = &field, .field_count = 1};
    size_t len;
    char *got = encode(&out, &len);
    unsigned char want[sizeof spec_frame];
    memcpy(want, spec_frame, sizeof want);
    want[10] = LANGUAGE_OTHER; /* the example was written by Java */
    assert_int_equal(len, sizeof want);
    assert_memory_equal(got, want, sizeof want);
    free(got);
}

static void test_encode_round_trip_of_both_types(void **state)
{
    (void)state;
    char scratch[1024], longest[300];
    memset(longest, '\x02', sizeof longest);
    for (int type = SERIALIZE_JSON; type <= SERIALIZE_ROCKETMQ; type++) {
        struct command_out_field fields[] = {FIELD_NUM("zero", 0), FIELD_NUM("big", INT64_MAX),
                                             FIELD_NUM("n", -100),
                                             FIELD_TEXT("long", slice_of(longest, sizeof longest))};
        struct command_out out = {.code = 32767,
                                  .opaque = INT32_MIN,
                                  .flag = 3,
                                  .serialize_type = (uint8_t)type,
                                  .remark = SLICE_LIT("why"),
                                  .fields = fields,
                                  .field_count = 4};
        struct command cmd;
        struct errbuf eb;
        size_t len;
        char *got = encode(&out, &len);
        char *mem = malloc(4096);
        assert_int_equal(command_decode(slice_of(got, len), mem, 4096, &cmd, &eb), 0);
        assert_int_equal(cmd.serialize_type, type);
        assert_int_equal(cmd.code, 32767);
        assert_int_equal(cmd.opaque, INT32_MIN);
        assert_int_equal(cmd.flag, 3);
        assert_int_equal(cmd.version, COMMAND_VERSION);
        assert_true(slice_eq_str(cmd.remark, "why"));
        assert_field(&cmd, "zero", "0");
        assert_field(&cmd, "big", "9223372036854775807");
        assert_field(&cmd, "n", "-100");
        assert_true(slice_eq(cmd.fields[3].value, fields[3].text));
        free(mem);
        free(got);
    }
    /* A code that has no binary form goes as JSON. */
    struct command_out pop = {.code = 200050, .serialize_type = SERIALIZE_ROCKETMQ};
    struct command cmd;
    size_t len;
    char *got = encode(&pop, &len);
    assert_int_equal(command_decode(slice_of(got, len), scratch, sizeof scratch, &cmd, NULL), 0);
    assert_int_equal(cmd.serialize_type, SERIALIZE_JSON);
    assert_int_equal(cmd.code, 200050);
    free(got);
}

static void test_command_salvage_finds_the_opaque_of_a_broken_frame(void **state)
{
    (void)state;
    int32_t opaque = 0, flag = 0;
    static const char broken[] =
        "\0\0\0\x40\0\0\0\x3c{\"code\":oops,\"flag\":2, \"opaque\" : 77 ,\"extFields\":";
    assert_true(command_salvage(slice_of(broken, sizeof broken - 1), &opaque, &flag));
    assert_int_equal(opaque, 77);
    assert_int_equal(flag, 2);
    for (size_t n = 0; n < 8 + 37; n++) /* a number that may go on is none */
        assert_false(command_salvage(slice_of(broken, n), &opaque, &flag));
    assert_true(command_salvage(slice_of(spec_frame, 21), &opaque, &flag));
    assert_int_equal(opaque, 3);
    assert_false(command_salvage(slice_of(spec_frame, 20), &opaque, &flag));
}

static void test_code_and_language_names(void **state)
{
    (void)state;
    assert_string_equal(request_code_name(310), "SEND_MESSAGE_V2");
    assert_null(request_code_name(9));
    assert_string_equal(response_code_name(17), "TOPIC_NOT_EXIST");
    assert_null(response_code_name(-1));
    assert_string_equal(language_name(LANGUAGE_GO), "GO");
    assert_string_equal(language_name(200), "OTHER");
    assert_int_equal(language_parse(SLICE_LIT("NODE_JS")), LANGUAGE_NODE_JS);
    assert_int_equal(language_parse(SLICE_LIT("java")), LANGUAGE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_size_is_known_from_four_bytes),
        cmocka_unit_test(test_frame_size_refuses_contradictions),
        cmocka_unit_test(test_command_decode_needs_one_whole_frame_of_a_known_type),
        cmocka_unit_test(test_json_java_heartbeat),
        cmocka_unit_test(test_json_go_send_with_escaped_properties),
        cmocka_unit_test(test_json_cpp_pull_with_bare_values),
        cmocka_unit_test(test_json_tolerates_what_json_allows),
        cmocka_unit_test(test_json_unescapes_strings),
        cmocka_unit_test(test_json_of_a_key_given_twice_the_last_counts),
        cmocka_unit_test(test_json_malformed_headers_are_refused_with_a_reason),
        cmocka_unit_test(test_json_every_cut_of_a_header_is_refused),
        cmocka_unit_test(test_json_nesting_and_field_count_are_bounded),
        cmocka_unit_test(test_binary_frame_of_the_specification),
        cmocka_unit_test(test_binary_lengths_that_run_over_are_refused),
        cmocka_unit_test(test_command_get_numbers),
        cmocka_unit_test(test_encode_json_reply_text),
        cmocka_unit_test(test_encode_json_escapes_and_mends_text),
        cmocka_unit_test(test_encode_json_text_comes_back),
        cmocka_unit_test(test_encode_binary_equals_the_specification),
        cmocka_unit_test(test_encode_round_trip_of_both_types),
        cmocka_unit_test(test_command_salvage_finds_the_opaque_of_a_broken_frame),
        cmocka_unit_test(test_code_and_language_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
