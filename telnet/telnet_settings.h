/* telnet_settings.h - the limits of the console as settings: one list for both daemons and the defaults.
 *
 * A daemon whose table of settings has integer rows I(name, default, min, max, unit, help) adds the line
 *     TELNET_SETTINGS_TABLE(I)
 * to it, and TELNET_OPTIONS_FROM_SETTINGS(&options, &settings) behind telnet_options_init(&options).
 * Threads: any; macros only. */
#ifndef CJMQ_TELNET_TELNET_SETTINGS_H
#define CJMQ_TELNET_TELNET_SETTINGS_H

/* I(name, default, min, max, unit, help) */
#define TELNET_SETTINGS_TABLE(I)                                                                            \
    I(telnetSessionsMax, 64, 1, 10000, "", "console sessions at a time")                                    \
    I(telnetCallsMax, 256, 1, 100000, "", "console commands not answered yet, all sessions")                \
    I(telnetLineBytesMax, 1048576, 1024, 67108864, "bytes", "one console command with its JSON")            \
    I(telnetLoginLineBytesMax, 65536, 256, 67108864, "bytes", "one console line before auth")               \
    I(telnetOutputBytesMax, 1048576, 4096, 1073741824, "bytes", "unsent replies that make a session wait")  \
    I(telnetTypeaheadBytesMax, 65536, 1024, 67108864, "bytes", "input kept while a command is answered")    \
    I(telnetHistoryMax, 100, 0, 10000, "", "commands remembered per console session")                       \
    I(telnetHistoryBytesMax, 262144, 0, 67108864, "bytes", "text of the commands remembered per console session") \
    I(telnetIdleTimeout, 1800000, 0, 86400000, "ms", "console session without input; 0: for ever")          \
    I(telnetLoginTimeout, 120000, 0, 86400000, "ms", "console session without auth; 0: for ever")           \
    I(telnetCallTimeout, 30000, 0, 86400000, "ms", "wait for a console command's reply; 0: for ever")       \
    I(telnetAuthDelay, 500, 0, 3600000, "ms", "an address's wait after a wrong password; doubles with each, up to telnetAuthDelayMax") \
    I(telnetAuthDelayMax, 30000, 0, 3600000, "ms", "longest wait of an address after wrong passwords")      \
    I(telnetAuthForget, 900000, 0, 86400000, "ms", "address without wrong passwords: forgotten")            \
    I(telnetAuthAddressesMax, 1024, 1, 1000000, "", "addresses with wrong passwords remembered")

/* X(setting, field of struct telnet_options), one for each row above (checked in telnet_server.c) */
#define TELNET_SETTINGS_FIELDS(X)                                                                           \
    X(telnetSessionsMax, sessions_max)                                                                      \
    X(telnetCallsMax, calls_max)                                                                            \
    X(telnetLineBytesMax, line_bytes_max)                                                                   \
    X(telnetLoginLineBytesMax, login_line_bytes_max)                                                        \
    X(telnetOutputBytesMax, output_bytes_max)                                                               \
    X(telnetTypeaheadBytesMax, typeahead_bytes_max)                                                         \
    X(telnetHistoryMax, history_max)                                                                        \
    X(telnetHistoryBytesMax, history_bytes_max)                                                             \
    X(telnetIdleTimeout, idle_timeout_ms)                                                                   \
    X(telnetLoginTimeout, login_timeout_ms)                                                                 \
    X(telnetCallTimeout, call_timeout_ms)                                                                   \
    X(telnetAuthDelay, auth_delay_ms)                                                                       \
    X(telnetAuthDelayMax, auth_delay_max_ms)                                                                \
    X(telnetAuthForget, auth_forget_ms)                                                                     \
    X(telnetAuthAddressesMax, auth_addresses_max)

#define TELNET_OPTIONS_FROM_SETTINGS(options, settings)                                                     \
    do {                                                                                                    \
        struct telnet_options *to_options_ = (options);                                                     \
        const __typeof__(*(settings)) *from_settings_ = (settings);                                         \
        TELNET_SETTINGS_FIELDS(TELNET_OPTION_COPY_)                                                         \
    } while (0)
#define TELNET_OPTION_COPY_(name, field)                                                                    \
    to_options_->field = (__typeof__(to_options_->field))from_settings_->name;

#endif
