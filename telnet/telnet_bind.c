/* telnet_bind.c - where the console listens, and how that is said at start.
 * Threads: any; no state. */
#include "telnet/telnet_server.h"

#include <stdio.h>

uint16_t telnet_default_port(uint16_t listen_port)
{
    unsigned port = listen_port % 10000u + 10000;
    return (uint16_t)(port == listen_port ? port + 10000 : port);
}

/* An empty password is not the default, so that the console would be open to all machines; and nobody can type it. */
int telnet_login_check(const char *user, const char *password, struct errbuf *eb)
{
    if (*user != '\0' && *password != '\0')
        return 0;
    return errbuf_set(eb, ERR_INVAL,
                      "%s is empty, so that nobody could log in: give it a value; telnetPort=0 means no console",
                      *user == '\0' ? "adminUser" : "adminPassword");
}

static int parse_bind(const char *bind, uint16_t port, struct net_addr *out, struct errbuf *eb)
{
    char text[300];
    struct errbuf why = {{0}};
    bool is_bare_v6 = strchr(bind, ':') != NULL && bind[0] != '[';
    int len = snprintf(text, sizeof text, is_bare_v6 ? "[%s]:%u" : "%s:%u", bind, port);
    if (len >= (int)sizeof text)
        return errbuf_set(eb, ERR_INVAL,
                          "telnetBind: a name of %zu bytes; a host name or address is expected",
                          strlen(bind));
    int err = net_addr_parse(slice_of(text, (size_t)len), out, &why);
    if (err < 0)
        return errbuf_set(eb, err, "telnetBind=%s: %s", bind, why.text);
    return 0;
}

int telnet_bind_choose(const char *bind, const char *password, uint16_t port, struct net_addr *out,
                       char *sentence, bool *warn, struct errbuf *eb)
{
    bool is_set = bind != NULL && bind[0] != '\0';
    bool is_default = strcmp(password, TELNET_DEFAULT_PASSWORD) == 0;
    const char *host = is_set ? bind : is_default ? "127.0.0.1" : "*";
    int err = parse_bind(host, port, out, eb);
    if (err < 0)
        return err;

    char where[NET_ADDR_TEXT_MAX];
    net_addr_format(out, where);
    *warn = is_default && !net_addr_is_loopback(out);
    const char *what = is_set ? "as telnetBind says" : "adminPassword is not the default any more";
    if (*warn)
        what = "as telnetBind says, open to other machines although adminPassword is still the default: "
               "change it";
    else if (is_default && !is_set)
        what = "this machine only, because adminPassword is still the default; change it, or set telnetBind, "
               "to open it";
    else if (is_default)
        what = "as telnetBind says, this machine only; adminPassword is still the default";
    snprintf(sentence, TELNET_BIND_SENTENCE_MAX, "the telnet console listens on %s (%s)", where, what);
    return 0;
}
