/* producer.c - sends a few messages with CJMQ's C client, in the three ways there are.
 *
 *   cc producer.c -o producer $(pkg-config --cflags --libs cjmq)
 *   ./producer 127.0.0.1:9876 MyTopic [GROUP]        GROUP: the app that sends, example_producer without it
 *
 * (With CJMQ in a prefix of its own: PKG_CONFIG_PATH=PREFIX/lib/pkgconfig.) */
#include <cjmq.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called on the client's thread when the broker has answered an asynchronous send. */
static void on_sent(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    if (error != NULL)
        printf("asynchronous: failed: %s\n", error->text);
    else
        printf("asynchronous: stored in queue %d of %s\n", result->queue_id, result->broker_name);
    sem_post(arg);
}

static void give_up(const struct cjmq_error *error)
{
    fprintf(stderr, "producer: %s\n", error->text);
    exit(1);
}

int main(int argc, char **argv)
{
    struct cjmq_error error;
    struct cjmq_client *client;
    struct cjmq_producer *producer;

    /* A client knows the name servers and owns the connections. One is enough for a program. */
    struct cjmq_client_options client_options;
    cjmq_client_options_init(&client_options);
    client_options.namesrv = argc > 1 ? argv[1] : NULL; /* NULL: $NAMESRV_ADDR, else 127.0.0.1:9876 */
    if (cjmq_client_new(&client_options, &client, &error) != 0)
        give_up(&error);

    struct cjmq_producer_options options;
    cjmq_producer_options_init(&options);
    options.group = argc > 3 ? argv[3] : "example_producer";
    if (cjmq_producer_new(client, &options, &producer, &error) != 0)
        give_up(&error);

    const char *topic = argc > 2 ? argv[2] : "MyTopic";

    /* 1. Send and wait: when it returns 0, the broker has the message. */
    for (int i = 0; i < 3; i++) {
        char body[64];
        snprintf(body, sizeof body, "order %d", i);
        struct cjmq_property properties[] = {{"customer", "42"}};
        struct cjmq_message message = {
            .topic = topic,
            .body = body,
            .body_len = strlen(body),
            .tags = "orders",     /* consumers can ask for this tag alone */
            .keys = "order-key",  /* to find the message again: mqadmin queryMsgByKey */
            .properties = properties,
            .property_count = 1,
        };
        struct cjmq_send_result result;
        if (cjmq_send(producer, &message, &result, &error) != 0)
            give_up(&error);
        printf("sent \"%s\": id %s, queue %d of %s, offset %lld\n", body, result.message_id, result.queue_id,
               result.broker_name, (long long)result.queue_offset);
    }

    /* 2. Send without waiting: the function is called when the answer is there. */
    sem_t answered;
    sem_init(&answered, 0, 0);
    struct cjmq_message message = {
        .topic = topic, .body = "fast", .body_len = 4, .sharding_key = "customer 42"};
    if (cjmq_send_async(producer, &message, on_sent, &answered, &error) != 0)
        give_up(&error);
    sem_wait(&answered);
    sem_destroy(&answered);

    /* 3. Several messages in one request. */
    struct cjmq_message batch[3] = {
        {.topic = topic, .body = "one", .body_len = 3},
        {.topic = topic, .body = "two", .body_len = 3},
        {.topic = topic, .body = "three", .body_len = 5},
    };
    if (cjmq_send_batch(producer, batch, 3, NULL, &error) != 0)
        give_up(&error);
    printf("sent a batch of 3\n");

    cjmq_producer_free(producer);
    cjmq_client_free(client);
    return 0;
}
