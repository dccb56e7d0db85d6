/* retry.c - retry: what waits for later on brokers, and dead letters. The words are the console's; a broker reads them, and
 * answers with text. */
#include "tools/mqadmin/mqadmin.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHANGE_TIMEOUT_MS = 300000 }; /* many rows in one go */

const struct mqadmin_option RETRY_OPTIONS[] = {
    {'b', "brokerAddr", false, false, "which broker; ids of rows are a broker's own"},
    {'c', "clusterName", false, false, "every master of the cluster"},
    {'t', "topic", false, false, "the masters of the topic; its rows only"},
    {'g', "group", false, false, "the masters that have rows of the consumer group; its rows only"},
    {0, NULL, false, false, NULL},
};

struct question {
    const char *command; /* the words, with blanks between them */
    bool with_addr;      /* print who answers */
};

/* The words of the command line, and what -t and -g add. */
static int join_words(const struct mqadmin *a, struct buf *out, struct errbuf *eb)
{
    const char *topic = mqadmin_value(a, 't'), *group = mqadmin_value(a, 'g');
    for (unsigned i = 0; i < a->word_count; i++) {
        if (a->words[i][0] == '\0' || strpbrk(a->words[i], " \t\r\n") != NULL)
            return errbuf_set(eb, ERR_INVAL, "'%.100s': a word has no blanks and is not empty", a->words[i]);
        buf_printf(out, "%s%s", i == 0 ? "" : " ", a->words[i]);
    }
    if (a->word_count == 0)
        return errbuf_set(eb, ERR_INVAL, "list, show, stats, requeue, delay or drop was expected");
    if (topic != NULL)
        buf_printf(out, " --topic %s", topic);
    if (group != NULL)
        buf_printf(out, " --app %s", group);
    return 0;
}

static int ask(struct mqadmin *a, const char *addr, void *arg, struct errbuf *eb)
{
    const struct question *q = arg;
    const struct passwd *user = getpwuid(getuid());
    struct command_out_field fields[] = {
        FIELD_TEXT("command", slice_str(q->command)),
        FIELD_TEXT("user", slice_str(user != NULL ? user->pw_name : "mqadmin")),
    };
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(a->client,
                            &(struct admin_request){.addr = addr,
                                                    .code = REQ_CJMQ_RETRY_COMMAND,
                                                    .fields = fields,
                                                    .field_count = sizeof fields / sizeof fields[0],
                                                    .timeout_ms = CHANGE_TIMEOUT_MS},
                            &storage, &answer, eb);
    if (err == 0) {
        if (q->with_addr)
            printf("#Broker %s\n", addr);
        printf("%.*s", SLICE_ARG(answer.body));
        if (answer.body.len == 0 || answer.body.ptr[answer.body.len - 1] != '\n')
            putchar('\n');
    }
    buf_fini(&storage);
    return err;
}

static int ask_route(struct mqadmin *a, const char *topic, struct question *q, struct errbuf *eb)
{
    struct topic_route route;
    int err = mqadmin_route(a, topic, &route, eb);
    if (err != 0)
        return err;
    unsigned asked = 0;
    for (unsigned i = 0; i < route.broker_count && err == 0; i++) {
        const char *master = route_broker_master(&route.brokers[i]);
        if (master == NULL)
            continue;
        asked++;
        err = ask(a, master, q, eb);
    }
    if (err == 0 && asked == 0)
        err = errbuf_set(eb, ERR_NOTFOUND, "no master of topic %s is alive", topic);
    topic_route_fini(&route);
    return err;
}

int mqadmin_retry(struct mqadmin *a, struct errbuf *eb)
{
    struct buf words = {0}, topic = {0};
    int err = join_words(a, &words, eb);
    char *command = buf_steal_str(&words);
    struct question q = {.command = command, .with_addr = mqadmin_value(a, 'b') == NULL};
    if (err != 0) {
        /* eb says it */
    } else if (mqadmin_value(a, 'b') != NULL) {
        err = ask(a, mqadmin_value(a, 'b'), &q, eb);
    } else if (mqadmin_value(a, 'c') != NULL) {
        err = mqadmin_each_master(a, mqadmin_value(a, 'c'), ask, &q, eb);
    } else {
        const char *group = mqadmin_value(a, 'g');
        buf_printf(&topic, "%s%s", group != NULL ? "%RETRY%" : "", group != NULL ? group : mqadmin_value(a, 't'));
        char *name = buf_steal_str(&topic);
        err = ask_route(a, name, &q, eb);
        free(name);
    }
    free(command);
    return err;
}
