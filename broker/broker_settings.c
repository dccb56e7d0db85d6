/* broker_settings.c - the settings table as settings.h wants it, and what follows from one setting for
 * another. */
#include "broker/broker_settings.h"

#include "base/mem.h"
#include "base/net.h"
#include "base/program.h"
#include "telnet/telnet_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the fields in struct identity_view. */
enum { BROKER_NAME_MAX = 127 };

static struct setting_def defs[] = {
#define DEF(n, t, d, ...) \
    {.name = #n, .type = (t), .offset = offsetof(struct broker_settings, n), .def = (d), __VA_ARGS__},
#define DEF_S(n, d, h) DEF(n, SETTING_STRING, d, .unit = "", .help = (h))
#define DEF_I(n, d, lo, hi, u, h) DEF(n, SETTING_INT, #d, .min = (lo), .max = (hi), .unit = (u), .help = (h))
#define DEF_B(n, d, h) DEF(n, SETTING_BOOL, d, .unit = "", .help = (h))
#define DEF_E(n, d, c, h) DEF(n, SETTING_ENUM, d, .choices = (c), .unit = "", .help = (h))
    BROKER_SETTINGS(DEF_S, DEF_I, DEF_B, DEF_E)
#undef DEF_S
#undef DEF_I
#undef DEF_B
#undef DEF_E
#undef DEF
};

struct setting_def *broker_setting_defs(size_t *n)
{
    *n = sizeof defs / sizeof *defs;
    return defs;
}

static void expand_path(char **path)
{
    char *expanded = program_expand_path(*path);
    free(*path);
    *path = expanded;
}

static void set_text(char **field, char *owned)
{
    free(*field);
    *field = owned;
}

static void fill_threads(struct broker_settings *s)
{
    if (s->reactorThreads != 0)
        return;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    s->reactorThreads = cores / 2 < 1 ? 1 : cores / 2 > 8 ? 8 : cores / 2;
}

/* A free port for listenPort=0. Somebody else may take it before the server does; that is then reported like
 * any port in use. */
static int find_port(struct broker_settings *s, struct errbuf *eb)
{
    char text[NET_ADDR_TEXT_MAX * 2];
    snprintf(text, sizeof text, "%.64s:0", s->bindAddress);
    struct net_addr addr;
    int err = net_addr_parse(slice_str(text), &addr, eb);
    if (err != 0)
        return err;
    int fd = net_listen(&addr, 1, eb);
    if (fd < 0)
        return fd;
    err = net_local_addr(fd, &addr);
    close(fd);
    if (err != 0)
        return errbuf_set(eb, err, "listenPort=0: no free port was found");
    s->listenPort = net_addr_port(&addr);
    s->fastListenPort = s->fastListenPort < 0 ? 0 : s->fastListenPort;
    s->telnetPort = s->telnetPort < 0 ? 0 : s->telnetPort;
    s->haListenPort = s->haListenPort < 0 ? 0 : s->haListenPort;
    return 0;
}

static void fill_ports(struct broker_settings *s)
{
    if (s->fastListenPort < 0)
        s->fastListenPort = s->listenPort > 2 ? s->listenPort - 2 : 0;
    if (s->telnetPort < 0)
        s->telnetPort = telnet_default_port((uint16_t)s->listenPort);
    if (s->haListenPort < 0)
        s->haListenPort = s->listenPort < 65535 ? s->listenPort + 1 : 0;
}

static bool is_any_address(const struct net_addr *a)
{
    return a->sa.sa_family == AF_INET ? a->in4.sin_addr.s_addr == htonl(INADDR_ANY)
                                      : IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static int check_address(const char *name, const char *value, struct errbuf *eb)
{
    char text[NET_ADDR_TEXT_MAX * 2];
    struct net_addr addr;
    struct errbuf why = {0};
    bool v6 = strchr(value, ':') != NULL && *value != '[';
    snprintf(text, sizeof text, v6 ? "[%.64s]:1" : "%.64s:1", value);
    if (*value != '\0' && net_addr_parse(slice_str(text), &addr, &why) == 0) {
        if (!is_any_address(&addr))
            return 0;
        errbuf_format(&why, "it stands for all of this machine's, and others are to be told one");
    }
    return errbuf_set(eb, ERR_INVAL, "%s=%s is no address: %s", name, value, why.text);
}

static int check_master_address(const char *value, struct errbuf *eb)
{
    const char *colon = strrchr(value, ':');
    int64_t port = 0;
    if (*value == '\0' || (colon != NULL && colon != value && slice_to_i64(slice_str(colon + 1), &port) == 0 && port > 1
                           && port <= 65535))
        return 0;
    return errbuf_set(eb, ERR_INVAL, "haMasterAddress=%s: host:port of the master's haListenPort was expected", value);
}

static int check_delete_when(const char *text, struct errbuf *eb)
{
    for (const char *p = text;;) {
        char *end;
        long hour = strtol(p, &end, 10);
        if (end == p || hour < 0 || hour > 23 || (*end != '\0' && *end != ';'))
            return errbuf_set(eb, ERR_INVAL, "deleteWhen=%s: hours 00 to 23 separated by ';' were expected",
                              text);
        if (*end == '\0')
            return 0;
        p = end + 1;
    }
}

/* Each listener needs a port of its own; told before one of them fails with "address already in use". */
static int check_ports(const struct broker_settings *s, struct errbuf *eb)
{
    const struct {
        const char *name;
        int64_t port;
    } ports[] = {
        {"listenPort", s->listenPort},
        {"fastListenPort", s->fastListenPort},
        {"telnetPort", s->telnetPort},
        {"haListenPort", s->haListenPort},
    };
    for (size_t i = 1; i < sizeof ports / sizeof ports[0]; i++) {
        for (size_t k = 0; k < i; k++) {
            if (ports[i].port != 0 && ports[i].port == ports[k].port)
                return errbuf_set(eb, ERR_INVAL, "%s=%" PRId64 " is %s too: give it another, or 0 for none",
                                  ports[i].name, ports[i].port, ports[k].name);
        }
    }
    return 0;
}

/* Both names are also those of topics, whose files lie in a folder of the name. */
static int check_name(const char *name, const char *value, struct errbuf *eb)
{
    if (strlen(value) > BROKER_NAME_MAX)
        return errbuf_set(eb, ERR_INVAL, "%s has %zu bytes, at most %d are allowed: %.40s...", name,
                          strlen(value), BROKER_NAME_MAX, value);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '/' || (unsigned char)*p <= ' ' || *p == 0x7f || (*p == '.' && p == value))
            return errbuf_set(
                eb, ERR_INVAL,
                "%s=%s: a name without '/', blanks, control characters and leading '.' was expected", name,
                value);
    }
    return 0;
}

static int check_combinations(const struct broker_settings *s, struct errbuf *eb)
{
    int err = check_name("brokerName", s->brokerName, eb);
    if (err == 0)
        err = check_name("brokerClusterName", s->brokerClusterName, eb);
    if (err != 0)
        return err;
    if (s->brokerRole == BROKER_ROLE_SLAVE && s->brokerId == 0)
        return errbuf_set(eb, ERR_INVAL,
                          "brokerRole=SLAVE needs a brokerId above 0, brokerId=0 is the master's");
    if (s->brokerRole != BROKER_ROLE_SLAVE && s->brokerId > 0)
        return errbuf_set(eb, ERR_INVAL,
                          "brokerId=%" PRId64 " is a slave's, but brokerRole is a master's: "
                          "set brokerRole=SLAVE or brokerId=0", s->brokerId);
    if ((s->brokerPermission & ~INT64_C(6)) != 0)
        return errbuf_set(eb, ERR_INVAL,
                          "brokerPermission=%" PRId64 ": 6 (read and write), 4 (read), 2 (write) or 0 "
                          "was expected", s->brokerPermission);
    if (s->sendBatchBytesMax < s->maxMessageSize + 65536)
        return errbuf_set(eb, ERR_INVAL,
                          "sendBatchBytesMax=%" PRId64 " cannot hold one message: maxMessageSize=%" PRId64
                          " and 65536 for its record",
                          s->sendBatchBytesMax, s->maxMessageSize);
    if (s->frameBytesMax < s->maxMessageSize + 65536)
        return errbuf_set(eb, ERR_INVAL,
                          "frameBytesMax=%" PRId64 " cannot hold a request with one message: "
                          "maxMessageSize=%" PRId64
                          " and 65536 for its header", s->frameBytesMax, s->maxMessageSize);
    return check_ports(s, eb);
}

int broker_settings_finish(struct broker_settings *s, struct errbuf *eb)
{
    int err = s->listenPort == 0 ? find_port(s, eb) : 0;
    if (err != 0)
        return err;
    fill_threads(s);
    fill_ports(s);
    expand_path(&s->storePathRootDir);
    expand_path(&s->logDir);
    if (*s->storePathCommitLog == '\0')
        set_text(&s->storePathCommitLog, mem_printf("%s/commitlog", s->storePathRootDir));
    else
        expand_path(&s->storePathCommitLog);
    if (*s->brokerIP1 == '\0') {
        char ip[NET_ADDR_TEXT_MAX];
        set_text(&s->brokerIP1, mem_strdup(net_local_ip(ip)));
    }
    if (*s->brokerIP2 == '\0')
        set_text(&s->brokerIP2, mem_strdup(s->brokerIP1));
    err = telnet_login_check(s->adminUser, s->adminPassword, eb);
    if (err == 0)
        err = check_address("brokerIP1", s->brokerIP1, eb);
    if (err == 0)
        err = check_address("brokerIP2", s->brokerIP2, eb);
    if (err == 0)
        err = check_master_address(s->haMasterAddress, eb);
    if (err == 0)
        err = check_delete_when(s->deleteWhen, eb);
    return err == 0 ? check_combinations(s, eb) : err;
}
