/* steady.c - an application that goes on through failures: sends numbered messages at a steady rate, receives them, and prints every
 * second how it went; at the end, whether anything that a broker acknowledged is missing.
 *
 *   cc steady.c -o steady -pthread $(pkg-config --cflags --libs cjmq)
 *   ./steady 'A:9876;B:9876' MyTopic [PRODUCER_APP CONSUMER_APP [MESSAGES_A_SECOND]]        ends with ctrl-c
 *
 * Exit status: 0 when nothing is missing, else 1. */
#include <cjmq.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES_MAX = 10 * 1000 * 1000, THREADS = 4, DRAIN_SECONDS = 30 };

/* What became of a message. */
enum { ACKNOWLEDGED = 1, UNSAFE = 2, RECEIVED = 4, AGAIN = 8 };

enum { BROKERS_MAX = 8, NAME_BYTES = 64 };

struct second {
    unsigned sent, unsafe, failed, received;
    unsigned sent_by[BROKERS_MAX], received_by[BROKERS_MAX];
};

static struct {
    pthread_mutex_t mutex;
    unsigned char messages[MESSAGES_MAX]; /* bits of the above */
    long begun;                           /* sends begun: the next number */
    long acknowledged, unsafe, failed, received, repeated, missing;
    struct second now;                    /* since the last line */
    char brokers[BROKERS_MAX][NAME_BYTES]; /* seen so far */
    int broker_count;
    char last_error[512];
    double sent_at, sent_pause, received_at, received_pause; /* seconds; the longest without any */
    int stopping;
    char run[32]; /* messages of other runs are not ours */
} books = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_pause(double *at, double *longest)
{
    double now = now_s();
    if (now - *at > *longest)
        *longest = now - *at;
    *at = now;
}

/* Index of a broker's name; those that are too many share the last one. */
static int broker_index(const char *name)
{
    int i = 0;
    while (i < books.broker_count && strcmp(books.brokers[i], name) != 0)
        i++;
    if (i == BROKERS_MAX)
        return BROKERS_MAX - 1;
    if (i == books.broker_count)
        snprintf(books.brokers[books.broker_count++], NAME_BYTES, "%s", name);
    return i;
}

static void give_up(const struct cjmq_error *error)
{
    fprintf(stderr, "steady: %s\n", error->text);
    exit(1);
}

/* --- sending --- */

struct sender {
    struct cjmq_producer *producer;
    const char *topic;
    double interval_s;
};

static void note_sent(long number, int rc, const struct cjmq_send_result *result, const struct cjmq_error *error)
{
    if (rc != 0) {
        books.failed++;
        books.now.failed++;
        snprintf(books.last_error, sizeof books.last_error, "%s", error->text);
    } else if (result->status == CJMQ_SEND_OK) {
        if ((books.messages[number] & RECEIVED) == 0)
            books.missing++;
        books.messages[number] |= ACKNOWLEDGED;
        books.acknowledged++;
        books.now.sent++;
        books.now.sent_by[broker_index(result->broker_name)]++;
        note_pause(&books.sent_at, &books.sent_pause);
    } else { /* stored by the master, but by no slave yet, or not flushed */
        books.messages[number] |= UNSAFE;
        books.unsafe++;
        books.now.unsafe++;
    }
}

static void *send_all(void *arg)
{
    const struct sender *s = arg;
    for (;;) {
        pthread_mutex_lock(&books.mutex);
        int end = books.stopping || books.begun == MESSAGES_MAX;
        long number = end ? 0 : books.begun++;
        pthread_mutex_unlock(&books.mutex);
        if (end)
            return NULL;
        char body[64];
        snprintf(body, sizeof body, "%s %ld", books.run, number);
        struct cjmq_message message = {.topic = s->topic, .body = body, .body_len = strlen(body)};
        struct cjmq_send_result result;
        struct cjmq_error error;
        int rc = cjmq_send(s->producer, &message, &result, &error);
        pthread_mutex_lock(&books.mutex);
        note_sent(number, rc, &result, &error);
        pthread_mutex_unlock(&books.mutex);
        usleep((useconds_t)(s->interval_s * 1e6));
    }
}

/* --- receiving --- */

static enum cjmq_consume_result on_messages(void *arg, const struct cjmq_received *messages, size_t count)
{
    (void)arg;
    size_t run_len = strlen(books.run);
    pthread_mutex_lock(&books.mutex);
    for (size_t i = 0; i < count; i++) {
        char body[64];
        snprintf(body, sizeof body, "%.*s", (int)messages[i].body_len, (const char *)messages[i].body);
        long number = strncmp(body, books.run, run_len) == 0 ? strtol(body + run_len, NULL, 10) : -1;
        if (number < 0 || number >= books.begun)
            continue;
        if (books.messages[number] & RECEIVED) {
            books.repeated++;
            continue;
        }
        if (books.messages[number] & ACKNOWLEDGED)
            books.missing--;
        books.messages[number] |= RECEIVED;
        books.received++;
        books.now.received++;
        books.now.received_by[broker_index(messages[i].broker_name)]++;
        note_pause(&books.received_at, &books.received_pause);
    }
    pthread_mutex_unlock(&books.mutex);
    return CJMQ_CONSUME_SUCCESS;
}

static struct cjmq_consumer *consumer_start(struct cjmq_client *client, const char *topic, const char *app)
{
    struct cjmq_consumer_options options;
    struct cjmq_consumer *consumer;
    struct cjmq_error error;
    cjmq_consumer_options_init(&options);
    options.group = app;
    options.from = CJMQ_FROM_FIRST;
    options.consume = on_messages;
    if (cjmq_consumer_new(client, &options, &consumer, &error) != 0
        || cjmq_consumer_subscribe(consumer, topic, "*", &error) != 0 || cjmq_consumer_start(consumer, &error) != 0
        || cjmq_consumer_wait_ready(consumer, 20000, &error) != 0)
        give_up(&error);
    return consumer;
}

/* --- telling --- */

static void print_line(void)
{
    char time_text[16];
    time_t t = time(NULL);
    strftime(time_text, sizeof time_text, "%H:%M:%S", localtime(&t));
    pthread_mutex_lock(&books.mutex);
    printf("%s  sent %4u  received %4u ", time_text, books.now.sent, books.now.received);
    for (int i = 0; i < books.broker_count; i++)
        printf(" %s %3u/%-3u", books.brokers[i], books.now.sent_by[i], books.now.received_by[i]);
    if (books.now.unsafe > 0)
        printf("  stored, but not by a slave %u", books.now.unsafe);
    if (books.now.failed > 0)
        printf("  failed %u (%.200s)", books.now.failed, books.last_error);
    printf("\n");
    books.now = (struct second){0};
    pthread_mutex_unlock(&books.mutex);
    fflush(stdout);
}

static int summary(void)
{
    printf("acknowledged %ld, received %ld, missing %ld, twice %ld; stored but not by a slave %ld, failed %ld\n",
           books.acknowledged, books.received, books.missing, books.repeated, books.unsafe, books.failed);
    printf("longest pause: sending %.2f s, receiving %.2f s\n", books.sent_pause, books.received_pause);
    return books.missing > 0;
}

int main(int argc, char **argv)
{
    struct cjmq_error error;
    struct cjmq_client *client;
    struct cjmq_client_options client_options;
    struct cjmq_producer_options producer_options;
    struct sender sender = {.topic = argc > 2 ? argv[2] : "MyTopic"};
    double rate = argc > 5 ? atof(argv[5]) : 200;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* main waits for them; before any thread exists */
    if (rate <= 0) {
        fprintf(stderr, "usage: steady NAME_SERVERS TOPIC [PRODUCER_APP CONSUMER_APP [MESSAGES_A_SECOND]]\n");
        return 2;
    }
    sender.interval_s = THREADS / rate;

    cjmq_client_options_init(&client_options);
    client_options.namesrv = argc > 1 ? argv[1] : NULL;
    if (cjmq_client_new(&client_options, &client, &error) != 0)
        give_up(&error);
    cjmq_producer_options_init(&producer_options);
    producer_options.group = argc > 3 ? argv[3] : "example_producer";
    producer_options.attempt_timeout_ms = 1000; /* a host that is silent: time is left for another one */
    if (cjmq_producer_new(client, &producer_options, &sender.producer, &error) != 0)
        give_up(&error);

    snprintf(books.run, sizeof books.run, "steady-%d-%ld", (int)getpid(), (long)time(NULL));
    books.sent_at = books.received_at = now_s();
    struct cjmq_consumer *consumer = consumer_start(client, sender.topic, argc > 4 ? argv[4] : "example_consumer");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, send_all, &sender);

    const struct timespec one_second = {.tv_sec = 1};
    while (sigtimedwait(&ends, NULL, &one_second) < 0)
        print_line();
    pthread_mutex_lock(&books.mutex);
    books.stopping = 1;
    pthread_mutex_unlock(&books.mutex);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < DRAIN_SECONDS; i++) {
        pthread_mutex_lock(&books.mutex);
        long missing = books.missing;
        pthread_mutex_unlock(&books.mutex);
        if (missing == 0)
            break;
        print_line();
        sigtimedwait(&ends, NULL, &one_second);
    }
    cjmq_consumer_free(consumer);
    cjmq_producer_free(sender.producer);
    cjmq_client_free(client);
    return summary();
}
