/* net.c - addresses and stream sockets. Threads: any; no state. */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOST_TEXT_MAX = 256 }; /* names are at most 253 bytes long */

/* Takes "host:port" or "[host]:port" apart. */
static int split_host_port(struct slice text, struct slice *host, struct slice *port, struct errbuf *eb)
{
    const char *colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
    if (colon == NULL)
        return errbuf_set(eb, ERR_INVAL, "address '%.*s' has no port (expected HOST:PORT)", SLICE_ARG(text));
    *host = slice_of(text.ptr, (size_t)(colon - text.ptr));
    *port = slice_of(colon + 1, text.len - host->len - 1);
    if (host->len >= 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']')
        *host = slice_of(host->ptr + 1, host->len - 2);
    else if (memchr(host->ptr, ':', host->len) != NULL)
        return errbuf_set(eb, ERR_INVAL, "address '%.*s' is ambiguous (expected [IPV6]:PORT)",
                          SLICE_ARG(text));
    return 0;
}

/* inet_aton()'s ways to write an address, which getaddrinfo() takes: 1.2.3 is 1.2.0.3 to them, and 010.1.1.1 is 8.1.1.1.
 * Whoever writes so has mistyped it. */
static bool is_mistyped_ipv4(const char *host)
{
    struct in_addr loose, strict;
    return inet_aton(host, &loose) != 0 && inet_pton(AF_INET, host, &strict) != 1;
}

static void addr_set_port(struct net_addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in4.sin_port = htons(port);
}

/* Looks a name or a literal address up; the port is left 0. IPv4 is preferred: brokers announce it. */
static int host_lookup(const char *host, struct net_addr *out, struct errbuf *eb)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (is_mistyped_ipv4(host))
        return errbuf_set(eb, ERR_INVAL, "'%s' is no IPv4 address: four numbers of 0 to 255 were expected", host);
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0)
        return errbuf_set(eb, ERR_NOTFOUND, "host '%s' is unknown: %s", host,
                          rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    const struct addrinfo *best = found;
    for (const struct addrinfo *i = found; i != NULL; i = i->ai_next) {
        if (i->ai_family == AF_INET) {
            best = i;
            break;
        }
    }
    memset(out, 0, sizeof *out);
    memcpy(&out->sa, best->ai_addr, best->ai_addrlen);
    out->len = best->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int net_addr_parse(struct slice text, struct net_addr *out, struct errbuf *eb)
{
    struct slice host, port_text;
    int rc = split_host_port(text, &host, &port_text, eb);
    if (rc != 0)
        return rc;
    int64_t port;
    if (slice_to_i64(port_text, &port) != 0 || port < 0 || port > 65535)
        return errbuf_set(eb, ERR_INVAL, "address '%.*s': '%.*s' is not a port (allowed: 0..65535)",
                          SLICE_ARG(text), SLICE_ARG(port_text));
    struct net_addr addr;
    if (host.len == 0 || slice_eq_str(host, "*")) {
        memset(&addr, 0, sizeof addr);
        addr.in4.sin_family = AF_INET;
        addr.in4.sin_addr.s_addr = htonl(INADDR_ANY);
        addr.len = sizeof addr.in4;
    } else {
        char name[HOST_TEXT_MAX];
        if (host.len >= sizeof name || memchr(host.ptr, '\0', host.len) != NULL)
            return errbuf_set(eb, ERR_INVAL, "address '%.64s...': the host name is not valid", host.ptr);
        memcpy(name, host.ptr, host.len);
        name[host.len] = '\0';
        rc = host_lookup(name, &addr, eb);
        if (rc != 0)
            return rc;
    }
    addr_set_port(&addr, (uint16_t)port);
    *out = addr;
    return 0;
}

char *net_addr_format_host(const struct net_addr *a, char *out)
{
    if (a->sa.sa_family == AF_INET6) {
        out[0] = '[';
        inet_ntop(AF_INET6, &a->in6.sin6_addr, out + 1, NET_ADDR_TEXT_MAX - 2);
        strcat(out, "]");
    } else if (a->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in4.sin_addr, out, NET_ADDR_TEXT_MAX);
    } else {
        strcpy(out, "?");
    }
    return out;
}

char *net_addr_format(const struct net_addr *a, char *out)
{
    net_addr_format_host(a, out);
    size_t n = strlen(out);
    snprintf(out + n, NET_ADDR_TEXT_MAX - n, ":%u", net_addr_port(a));
    return out;
}

uint16_t net_addr_port(const struct net_addr *a)
{
    return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in4.sin_port);
}

int net_addr_is_loopback(const struct net_addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohl(a->in4.sin_addr.s_addr) >> 24 == 127;
    if (a->sa.sa_family != AF_INET6)
        return 0;
    const struct in6_addr *ip = &a->in6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

char *net_local_ip(char *out)
{
    strcpy(out, "127.0.0.1");
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return out;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) ||
            !(i->ifa_flags & IFF_UP))
            continue;
        struct net_addr a = {.len = sizeof a.in4};
        memcpy(&a.in4, i->ifa_addr, sizeof a.in4);
        net_addr_format_host(&a, out);
        break;
    }
    freeifaddrs(all);
    return out;
}

/* --- sockets --- */

/* Small requests must not wait for the acknowledgement of others. Fails only on sockets that are dead. */
static void set_nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int net_listen(const struct net_addr *a, int backlog, struct errbuf *eb)
{
    char text[NET_ADDR_TEXT_MAX];
    net_addr_format(a, text);
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errbuf_set(eb, errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_IO,
                          "cannot open a socket for %s: %s", text, strerror(errno));
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, &a->sa, a->len) != 0 ||
        listen(fd, backlog) != 0) {
        int reason = errno;
        close(fd);
        return errbuf_set(eb, reason == EADDRINUSE ? ERR_EXISTS : ERR_IO, "cannot listen on %s: %s", text,
                          strerror(reason));
    }
    return fd;
}

int net_accept(int listen_fd, struct net_addr *peer)
{
    for (;;) {
        memset(peer, 0, sizeof *peer);
        peer->len = sizeof peer->in6;
        int fd = accept4(listen_fd, &peer->sa, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            set_nodelay(fd);
            return fd;
        }
        switch (errno) {
        case EINTR:
        case ECONNABORTED: /* gone while it waited: the next one */
            continue;
        case EAGAIN:
            return ERR_AGAIN;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return ERR_LIMIT;
        default:
            return ERR_IO;
        }
    }
}

int net_connect_start(const struct net_addr *a, struct errbuf *eb)
{
    char text[NET_ADDR_TEXT_MAX];
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errbuf_set(eb, errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_IO,
                          "cannot open a socket for %s: %s", net_addr_format(a, text), strerror(errno));
    set_nodelay(fd);
    if (connect(fd, &a->sa, a->len) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int reason = errno;
        close(fd);
        return errbuf_set(eb, ERR_CONNECT, "cannot connect to %s: %s", net_addr_format(a, text),
                          strerror(reason));
    }
    return fd;
}

int net_connect_result(int fd, struct errbuf *eb)
{
    int reason = 0;
    socklen_t len = sizeof reason;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &len) != 0)
        reason = errno;
    if (reason != 0)
        return errbuf_set(eb, ERR_CONNECT, "cannot connect: %s", strerror(reason));
    return 0;
}

int net_local_addr(int fd, struct net_addr *out)
{
    struct net_addr a = {.len = sizeof a.in6};
    if (getsockname(fd, &a.sa, &a.len) != 0)
        return ERR_IO;
    *out = a;
    return 0;
}

int net_peer_addr(int fd, struct net_addr *out)
{
    struct net_addr a = {.len = sizeof a.in6};
    if (getpeername(fd, &a.sa, &a.len) != 0)
        return ERR_IO;
    *out = a;
    return 0;
}

/* --- lists --- */

static bool is_list_separator(char c)
{
    return c == ';' || c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice net_list_next(struct slice *rest)
{
    size_t start = 0;
    while (start < rest->len && is_list_separator(rest->ptr[start]))
        start++;
    size_t end = start;
    while (end < rest->len && !is_list_separator(rest->ptr[end]))
        end++;
    if (start == end) {
        *rest = SLICE_NULL;
        return SLICE_NULL;
    }
    struct slice item = slice_of(rest->ptr + start, end - start);
    *rest = slice_of(rest->ptr + end, rest->len - end);
    return item;
}
