/* sample_settings.h - a settings table as programs write it, for the tests of settings and program. */
#ifndef CJMQ_TESTS_UNIT_BASE_SAMPLE_SETTINGS_H
#define CJMQ_TESTS_UNIT_BASE_SAMPLE_SETTINGS_H

#include "base/settings.h"

enum flush_type { FLUSH_ASYNC, FLUSH_SYNC };

/* X(name, setting type, C type, default, min, max, choices, unit, help) */
#define SAMPLE_SETTINGS(X)                                                                                \
    X(namesrvAddr, SETTING_STRING, char *, "", 0, 0, NULL, "", "registries")                              \
    X(listenPort, SETTING_INT, int64_t, "10911", 1, 65535, NULL, "", "port that clients connect to")      \
    X(flushIntervalMs, SETTING_INT, int64_t, "500", 0, 60000, NULL, "ms", "time between flushes")         \
    X(autoCreate, SETTING_BOOL, bool, "true", 0, 0, NULL, "", "make topics on demand")                    \
    X(flushDiskType, SETTING_ENUM, int64_t, "ASYNC_FLUSH", 0, 0, "ASYNC_FLUSH|SYNC_FLUSH", "", "durability") \
    X(brokerName, SETTING_STRING, char *, "broker-a", 0, 0, NULL, "", "name of the group")

struct sample {
#define SAMPLE_FIELD(name, type, c_type, ...) c_type name;
    SAMPLE_SETTINGS(SAMPLE_FIELD)
#undef SAMPLE_FIELD
};

#define SAMPLE_DEF(name_, type_, c_type, def_, min_, max_, choices_, unit_, help_)                      \
    {.name = #name_, .type = type_, .offset = offsetof(struct sample, name_), .def = def_, .min = min_, \
     .max = max_, .choices = choices_, .unit = unit_, .help = help_},
#define SAMPLE_DEFS {SAMPLE_SETTINGS(SAMPLE_DEF)}

#endif
