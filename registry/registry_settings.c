/* registry_settings.c - the table of settings.
 * Threads: the registry's reactor. */
#include "registry/registry_settings.h"

#include "base/program.h"
#include "telnet/telnet_server.h"

#include <stdlib.h>

#define FIELD(name) offsetof(struct registry_settings, name)
#define DEF_S(n, d, h) \
    {.name = #n, .type = SETTING_STRING, .offset = FIELD(n), .def = d, .unit = "", .help = h},
#define DEF_I(n, d, lo, hi, u, h) \
    {.name = #n,                  \
     .type = SETTING_INT,         \
     .offset = FIELD(n),          \
     .def = #d,                   \
     .min = lo,                   \
     .max = hi,                   \
     .unit = u,                   \
     .help = h},
#define DEF_B(n, d, h) \
    {.name = #n, .type = SETTING_BOOL, .offset = FIELD(n), .def = d, .unit = "", .help = h},
#define DEF_E(n, d, c, h) \
    {.name = #n, .type = SETTING_ENUM, .offset = FIELD(n), .def = d, .choices = c, .unit = "", .help = h},

static struct setting_def defs[] = {REGISTRY_SETTINGS(DEF_S, DEF_I, DEF_B, DEF_E)};

struct setting_def *registry_setting_defs(size_t *n)
{
    *n = sizeof defs / sizeof defs[0];
    return defs;
}

/* All else is read once, at start. */
static const char *const live_names[] = {
    "brokerExpireMs",     "brokersMax",           "topicsMax",
    "registerBytesMax",   "orderMessageEnable",   "returnOrderTopicConfigToBroker",
    "enableAllTopicList", "enableTopicList",      "kvEntriesMax",
    "kvBytesMax",         "documentVersionsKept", "watchersMax",
};

bool registry_setting_is_live(struct slice name)
{
    for (size_t i = 0; i < sizeof live_names / sizeof live_names[0]; i++) {
        if (slice_eq_str(name, live_names[i]))
            return true;
    }
    return false;
}

static void expand(char **path)
{
    char *expanded = program_expand_path(*path);
    free(*path);
    *path = expanded;
}

int registry_settings_finish(struct registry_settings *s, struct errbuf *eb)
{
    expand(&s->storePathRootDir);
    expand(&s->kvConfigPath);
    expand(&s->logDir);
    if (s->telnetPort < 0 && s->listenPort > 0)
        s->telnetPort = telnet_default_port((uint16_t)s->listenPort);
    /* listenPort 0 (any free port) with telnetPort -1: any free port, too; 0 alone would mean none. */
    return telnet_login_check(s->adminUser, s->adminPassword, eb);
}
