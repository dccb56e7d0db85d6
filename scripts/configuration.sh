#!/bin/sh
# Prints docs/configuration.md from what the programs say with -h.
#
#   scripts/configuration.sh build/release/bin >docs/configuration.md

bin=${1:?Usage: scripts/configuration.sh FOLDER_OF_THE_PROGRAMS}

# Turns the settings of a help page into a table. They look so:
#     listenPort=port  (default: 10911; 0..65535)
#         port for clients
settings_table() {
    awk '
        /^Settings, / { inside = 1; next }
        !inside { next }
        /^  [A-Za-z]/ {
            line = substr($0, 3)
            at = index(line, "=")
            name = substr(line, 1, at - 1)
            rest = substr(line, at + 1)
            at = index(rest, "  (default: ")
            type = substr(rest, 1, at - 1)
            default_value = substr(rest, at + 12)
            sub(/\)$/, "", default_value)
            allowed = ""
            if (match(default_value, /; -?[0-9]+\.\.-?[0-9]+$/)) {
                allowed = substr(default_value, RSTART + 2)
                default_value = substr(default_value, 1, RSTART - 1)
            }
            gsub(/\|/, ", ", type)
            next
        }
        /^      / {
            help = substr($0, 7)
            gsub(/\|/, "\\|", help)
            if (default_value != "empty")
                default_value = "`" default_value "`"
            printf "| `%s` | %s%s | %s | %s |\n", name, type, allowed == "" ? "" : ", " allowed, default_value, help
        }'
}

program() {
    printf '\n## %s\n\n%s\n\n| setting | value | default | meaning |\n|---|---|---|---|\n' "$1" "$2"
    "$bin/$1" -h | settings_table
}

cat <<'HEAD'
# Configuration

This page is made from the programs' own help (`mqbroker -h`, `mqregistry -h`) by `scripts/configuration.sh`.

Every setting can stand in a properties file (`-c FILE`) and on the command line (`--name=value`). The command line wins over
the file, the file over the environment variable `NAMESRV_ADDR` (which counts for `namesrvAddr`), that over the default.
`-p` prints what is in effect and where each value came from, `-m` only what differs from the defaults. A value that is
not allowed stops the program, naming file and line; an unknown name does so on the command line, while in a file it is
only warned of, because files written for Apache RocketMQ hold properties that a Java program needs and this one does not.
HEAD
program mqbroker "Names are those of Apache RocketMQ where it has the setting, too."
program mqregistry "The registry is also installed under the name \`mqnamesrv\`."
