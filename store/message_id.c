/* message_id.c - offsetMsgId: where a record lies, as text. Store host (4 or 16 bytes), port (4), phys
 * offset (8), in upper-case hex.
 * Threads: any; no state. */
#include "store/record.h"

#include "base/bytes.h"

#include <string.h>

#define ID_BYTES_V4 16
#define ID_BYTES_V6 28

size_t message_id_format(const struct net_addr *store_host, int64_t phys_offset, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t raw[ID_BYTES_V6];
    size_t n;
    if (store_host->sa.sa_family == AF_INET6) {
        memcpy(raw, &store_host->in6.sin6_addr, 16);
        put_be32(raw + 16, ntohs(store_host->in6.sin6_port));
        n = 20;
    } else {
        memcpy(raw, &store_host->in4.sin_addr, 4);
        put_be32(raw + 4, ntohs(store_host->in4.sin_port));
        n = 8;
    }
    put_be64(raw + n, (uint64_t)phys_offset);
    n += 8;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[2 * n] = '\0';
    return 2 * n;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int message_id_parse(struct slice text, struct net_addr *store_host, int64_t *phys_offset, struct errbuf *eb)
{
    uint8_t raw[ID_BYTES_V6];
    if (text.len != 2 * ID_BYTES_V4 && text.len != 2 * ID_BYTES_V6)
        return errbuf_set(eb, ERR_INVAL,
                          "message id \"%.*s\" has %zu characters, expected 32 or 56 hex digits",
                          text.len > 80 ? 80 : (int)text.len, text.ptr, text.len);
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_value(text.ptr[i]), low = hex_value(text.ptr[i + 1]);
        if (high < 0 || low < 0)
            return errbuf_set(eb, ERR_INVAL, "message id \"%.*s\" has a character that is no hex digit",
                              SLICE_ARG(text));
        raw[i / 2] = (uint8_t)(high << 4 | low);
    }
    struct net_addr host;
    memset(&host, 0, sizeof host);
    size_t n;
    if (text.len == 2 * ID_BYTES_V6) {
        host.in6.sin6_family = AF_INET6;
        memcpy(&host.in6.sin6_addr, raw, 16);
        host.in6.sin6_port = htons((uint16_t)get_be32(raw + 16));
        host.len = sizeof host.in6;
        n = 20;
    } else {
        host.in4.sin_family = AF_INET;
        memcpy(&host.in4.sin_addr, raw, 4);
        host.in4.sin_port = htons((uint16_t)get_be32(raw + 4));
        host.len = sizeof host.in4;
        n = 8;
    }
    *store_host = host;
    *phys_offset = (int64_t)get_be64(raw + n);
    return 0;
}
