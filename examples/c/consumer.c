/* consumer.c - prints the messages of a topic as they arrive, with CJMQ's C client. Ctrl-c ends it.
 *
 *   cc consumer.c -o consumer $(pkg-config --cflags --libs cjmq)
 *   ./consumer 127.0.0.1:9876 MyTopic [COUNT [GROUP]]        ends after COUNT messages; 0: never
 *
 * Start several: as members of one group they share the topic's queues. */
#include <cjmq.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct progress {
    atomic_long seen;
    long wanted; /* 0: no end */
};

/* Called on one of the consumer's threads, so two may run at once. */
static enum cjmq_consume_result on_messages(void *arg, const struct cjmq_received *messages, size_t count)
{
    struct progress *p = arg;
    for (size_t i = 0; i < count; i++) {
        const struct cjmq_received *m = &messages[i];
        const char *customer = cjmq_received_property(m, "customer");
        printf("%s queue %d offset %lld tag %s customer %s: %.*s\n", m->broker_name, m->queue_id,
               (long long)m->queue_offset, m->tags != NULL ? m->tags : "-", customer != NULL ? customer : "-",
               (int)m->body_len, (const char *)m->body);
    }
    fflush(stdout);
    long seen = atomic_fetch_add(&p->seen, (long)count) + (long)count;
    if (p->wanted > 0 && seen >= p->wanted)
        kill(getpid(), SIGTERM); /* wakes main */
    /* CJMQ_CONSUME_LATER would make the broker deliver them again, after a pause that grows. */
    return CJMQ_CONSUME_SUCCESS;
}

static void give_up(const struct cjmq_error *error)
{
    fprintf(stderr, "consumer: %s\n", error->text);
    exit(1);
}

int main(int argc, char **argv)
{
    struct cjmq_error error;
    struct cjmq_client *client;
    struct cjmq_consumer *consumer;
    struct progress progress = {.wanted = argc > 3 ? atol(argv[3]) : 0};

    /* Before any thread starts: main alone takes these signals, by waiting for them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    struct cjmq_client_options client_options;
    cjmq_client_options_init(&client_options);
    client_options.namesrv = argc > 1 ? argv[1] : NULL; /* NULL: $NAMESRV_ADDR, else 127.0.0.1:9876 */
    if (cjmq_client_new(&client_options, &client, &error) != 0)
        give_up(&error);

    struct cjmq_consumer_options options;
    cjmq_consumer_options_init(&options);
    options.group = argc > 4 ? argv[4] : "example_consumer";
    options.from = CJMQ_FROM_FIRST; /* a new group begins with what is there already */
    options.consume = on_messages;
    options.arg = &progress;
    if (cjmq_consumer_new(client, &options, &consumer, &error) != 0)
        give_up(&error);
    if (cjmq_consumer_subscribe(consumer, argc > 2 ? argv[2] : "MyTopic", "*", &error) != 0)
        give_up(&error);
    if (cjmq_consumer_start(consumer, &error) != 0)
        give_up(&error);

    int signal_number;
    sigwait(&signals, &signal_number);

    /* Lets running calls end and tells the broker how far this group has come. */
    cjmq_consumer_free(consumer);
    cjmq_client_free(client);
    return 0;
}
