/* main.c - the admin tool: the table of sub-commands, the command line, help.
 *
 * Exit status: 0 done; 1 wrong arguments (usage on stdout, the reason on stderr) or a sub-command that failed
 * (one sentence on stderr). */
#include "tools/mqadmin/mqadmin.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define RETRY_WORDS                                                                                          \
    "list [--topic T] [--app A] [--state waiting|dead] [--due-before TIME] [--limit N] | show ID | stats |\n"   \
    "        requeue ID|FILTERS [--yes] | drop ID|FILTERS [--yes] | delay ID|FILTERS --to TIME [--yes]\n"      \
    "        TIME: 30s, 5m, 2h, 1d from now, or ms since 1970; FILTERS: those of list"

static const struct mqadmin_command MQADMIN_COMMANDS[] = {
    {"updateTopic", "Update or create topic.", UPDATE_TOPIC_OPTIONS, "bc", mqadmin_update_topic, NULL},
    {"deleteTopic", "Delete topic from broker and NameServer.", DELETE_TOPIC_OPTIONS, NULL,
     mqadmin_delete_topic, NULL},
    {"topicList", "Fetch all topic list from name server.", TOPIC_LIST_OPTIONS, NULL, mqadmin_topic_list, NULL},
    {"topicRoute", "Examine topic route info.", TOPIC_ROUTE_OPTIONS, NULL, mqadmin_topic_route, NULL},
    {"topicStatus", "Examine topic Status info.", TOPIC_STATUS_OPTIONS, NULL, mqadmin_topic_status, NULL},
    {"brokerStatus", "Fetch broker runtime status data.", BROKER_STATUS_OPTIONS, "bc", mqadmin_broker_status, NULL},
    {"clusterList", "List cluster infos.", CLUSTER_LIST_OPTIONS, NULL, mqadmin_cluster_list, NULL},
    {"queryMsgById", "Query Message by Id.", QUERY_BY_ID_OPTIONS, NULL, mqadmin_query_by_id, NULL},
    {"queryMsgByKey", "Query Message by Key.", QUERY_BY_KEY_OPTIONS, NULL, mqadmin_query_by_key, NULL},
    {"consumerProgress", "Query consumer's progress, speed.", CONSUMER_PROGRESS_OPTIONS, NULL,
     mqadmin_consumer_progress, NULL},
    {"sendMessage", "Send a message.", SEND_MESSAGE_OPTIONS, NULL, mqadmin_send_message, NULL},
    {"consumeMessage", "Consume message.", CONSUME_MESSAGE_OPTIONS, NULL, mqadmin_consume_message, NULL},
    {"retry", "Look at messages that wait for later, and dead letters; change them.", RETRY_OPTIONS, "bctg", mqadmin_retry,
     RETRY_WORDS},
};

static const struct mqadmin_option COMMON_OPTIONS[] = {
    {'h', "help", true, false, "Print help"},
    {'n', "namesrvAddr", false, false,
     "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876' (or NAMESRV_ADDR)"},
    {0, NULL, false, false, NULL},
};

static const struct mqadmin_command *command_lookup(const char *name)
{
    for (size_t i = 0; i < sizeof MQADMIN_COMMANDS / sizeof MQADMIN_COMMANDS[0]; i++)
        if (strcasecmp(MQADMIN_COMMANDS[i].name, name) == 0)
            return &MQADMIN_COMMANDS[i];
    return NULL;
}

static int print_commands(void)
{
    printf("The most commonly used mqadmin commands are:\n");
    for (size_t i = 0; i < sizeof MQADMIN_COMMANDS / sizeof MQADMIN_COMMANDS[0]; i++)
        printf("   %-35s %s\n", MQADMIN_COMMANDS[i].name, MQADMIN_COMMANDS[i].help);
    printf("\nSee 'mqadmin help <command>' for more information on a specific command.\n");
    return 0;
}

static void print_options(const struct mqadmin_option *options)
{
    for (const struct mqadmin_option *o = options; o->letter != 0; o++) {
        char names[64];
        snprintf(names, sizeof names, "-%c,--%s%s", o->letter, o->long_name, o->is_flag ? "" : " <arg>");
        printf(" %-32s %s%s\n", names, o->help, o->required ? " (required)" : "");
    }
}

static void print_usage(const struct mqadmin_command *c)
{
    printf("usage: mqadmin %s", c->name);
    for (const struct mqadmin_option *o = c->options; o->letter != 0; o++)
        printf(o->required ? " -%c%s" : " [-%c%s]", o->letter, o->is_flag ? "" : " <arg>");
    printf(" [-h] [-n <arg>]%s\n", c->words != NULL ? " <words>" : "");
    if (c->words != NULL)
        printf(" words:  %s\n", c->words);
    print_options(COMMON_OPTIONS);
    print_options(c->options);
}

static int wrong_arguments(const struct mqadmin_command *c, const char *what, const char *which)
{
    fprintf(stderr, "%s: %s\n", what, which);
    print_usage(c);
    return 1;
}

/* "-t", "--topic", "--topic=VALUE" */
static const struct mqadmin_option *option_match(const struct mqadmin_option *options, const char *arg,
                                                 const char **inline_value)
{
    *inline_value = NULL;
    for (const struct mqadmin_option *o = options; o->letter != 0; o++) {
        if (arg[1] == o->letter && arg[2] == '\0')
            return o;
        size_t len = strlen(o->long_name);
        if (arg[1] == '-' && strncmp(arg + 2, o->long_name, len) == 0 &&
            (arg[2 + len] == '\0' || arg[2 + len] == '=')) {
            *inline_value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
            return o;
        }
    }
    return NULL;
}

enum parsed { PARSED_RUN, PARSED_HELP, PARSED_WRONG };

static bool is_word(const struct mqadmin *a, const char *arg)
{
    return a->command->words != NULL && (arg[0] != '-' || (a->word_count > 0 && arg[1] == '-'));
}

static enum parsed parse(struct mqadmin *a, int argc, char **argv)
{
    const struct mqadmin_command *c = a->command;
    a->words = argv; /* those found so far: never more than were looked at */
    for (int i = 0; i < argc; i++) {
        const char *value;
        if (is_word(a, argv[i])) {
            a->words[a->word_count++] = argv[i];
            continue;
        }
        const struct mqadmin_option *o = argv[i][0] == '-' ? option_match(c->options, argv[i], &value) : NULL;
        const struct mqadmin_option *common = o == NULL && argv[i][0] == '-'
                                                  ? option_match(COMMON_OPTIONS, argv[i], &value)
                                                  : NULL;
        if (o == NULL && common == NULL)
            return wrong_arguments(c, "Unrecognized option", argv[i]), PARSED_WRONG;
        const struct mqadmin_option *any = o != NULL ? o : common;
        if (any->is_flag)
            value = "true";
        else if (value == NULL && ++i < argc)
            value = argv[i];
        if (value == NULL)
            return wrong_arguments(c, "Missing argument for option", any->long_name), PARSED_WRONG;
        if (o != NULL)
            a->values[o - c->options] = value;
        else if (common->letter == 'h')
            return PARSED_HELP;
        else
            a->namesrv = value;
    }
    return PARSED_RUN;
}

static bool wrong_one_of(const struct mqadmin_command *c)
{
    struct buf letters = {0};
    for (const char *p = c->one_of; *p != '\0'; p++)
        buf_printf(&letters, "%s-%c", p == c->one_of ? "" : " ", *p);
    char *text = buf_steal_str(&letters);
    wrong_arguments(c, "Exactly one of these options is needed", text);
    free(text);
    return false;
}

static bool has_required(const struct mqadmin *a)
{
    const struct mqadmin_command *c = a->command;
    for (const struct mqadmin_option *o = c->options; o->letter != 0; o++)
        if (o->required && a->values[o - c->options] == NULL)
            return wrong_arguments(c, "Missing required option", o->long_name), false;
    unsigned given = 0;
    for (const char *p = c->one_of; p != NULL && *p != '\0'; p++)
        given += mqadmin_value(a, *p) != NULL;
    if (c->one_of != NULL && given != 1)
        return wrong_one_of(c);
    return true;
}

static int run(struct mqadmin *a)
{
    struct cjmq_client_options options;
    struct cjmq_error error;
    struct errbuf eb = {0};
    cjmq_client_options_init(&options);
    if (a->namesrv != NULL)
        options.namesrv = a->namesrv;
    if (cjmq_client_new(&options, &a->client, &error) != 0) {
        fprintf(stderr, "mqadmin: %s\n", error.text);
        return 1;
    }
    int err = a->command->run(a, &eb);
    if (err != 0)
        fprintf(stderr, "mqadmin %s: %s\n", a->command->name, eb.text[0] != '\0' ? eb.text : err_text(err));
    cjmq_client_free(a->client);
    return err != 0 ? 1 : 0;
}

static int help(const char *name)
{
    const struct mqadmin_command *c = command_lookup(name);
    if (c == NULL) {
        printf("The sub command %s not exist.\n", name);
        return 1;
    }
    print_usage(c);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return print_commands();
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return argc > 2 ? help(argv[2]) : print_commands();
    struct mqadmin a = {.command = command_lookup(argv[1])};
    if (a.command == NULL)
        return help(argv[1]);
    switch (parse(&a, argc - 2, argv + 2)) {
    case PARSED_HELP:
        print_usage(a.command);
        return 0;
    case PARSED_WRONG:
        return 1;
    case PARSED_RUN:
        break;
    }
    return has_required(&a) ? run(&a) : 1;
}
