/* net.h - addresses and sockets: the few calls that servers and clients of every protocol share.
 * Threads: any; no state. Only IPv4 and IPv6 stream sockets. */
#ifndef CJMQ_BASE_NET_H
#define CJMQ_BASE_NET_H

#include "base/error.h"
#include "base/slice.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct net_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
};

#define NET_ADDR_TEXT_MAX 64

/* "host:port" or "[v6]:port"; host may be a name (blocking look-up), empty or "*" (any address, for listening).
 * 0, ERR_INVAL (no port, port out of range, an IPv4 address of other than four numbers) or ERR_NOTFOUND (unknown name). */
int net_addr_parse(struct slice text, struct net_addr *out, struct errbuf *eb);
/* "1.2.3.4:80" / "[::1]:80" into `out` (NET_ADDR_TEXT_MAX bytes); returns out. */
char *net_addr_format(const struct net_addr *a, char *out);
/* Like net_addr_format without the port. */
char *net_addr_format_host(const struct net_addr *a, char *out);
uint16_t net_addr_port(const struct net_addr *a);
int net_addr_is_loopback(const struct net_addr *a);
/* First non-loopback IPv4 address of this machine as text into `out`, 127.0.0.1 when there is none. */
char *net_local_ip(char *out);

/* Non-blocking, close-on-exec listening socket with SO_REUSEADDR; returns the descriptor or ERR_* with the address in eb. */
int net_listen(const struct net_addr *a, int backlog, struct errbuf *eb);
/* Accepts one connection: non-blocking, close-on-exec, TCP_NODELAY; fills `peer`. Descriptor, ERR_AGAIN, ERR_LIMIT (no
 * descriptors left) or ERR_IO. */
int net_accept(int listen_fd, struct net_addr *peer);
/* Starts a non-blocking connect (TCP_NODELAY): descriptor (wait for writable, then net_connect_result) or ERR_*. */
int net_connect_start(const struct net_addr *a, struct errbuf *eb);
/* 0 when a started connect succeeded, else ERR_CONNECT with the reason in eb. */
int net_connect_result(int fd, struct errbuf *eb);
/* Local / remote address of a connected socket. 0 or ERR_IO. */
int net_local_addr(int fd, struct net_addr *out);
int net_peer_addr(int fd, struct net_addr *out);

/* Iterates a list of addresses "a:1;b:2,c:3" (separators ';' and ',', blanks ignored): returns the next one and moves *rest
 * behind it; an empty slice at the end. */
struct slice net_list_next(struct slice *rest);

#endif
