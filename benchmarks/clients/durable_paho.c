/* Publish with paho's C client, with its file persistence: PORT MESSAGES WINDOW SIZE
 * DURABILITY DIRECTORY. Prints seconds. It writes a file for each message and never
 * waits for the disk, so both durabilities are the same to it. */

#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIMIT 600 /* seconds */

static sem_t events; /* one for each acknowledgement, and one when connected */

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void on_success(void *context, MQTTAsync_successData *data)
{
    (void)context, (void)data;
    sem_post(&events);
}

static void on_failure(void *context, MQTTAsync_failureData *data)
{
    (void)data;
    fail(context);
}

static void await_event(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT;
    if (sem_timedwait(&events, &until))
        fail("waiting");
}

int main(int count, char **arguments)
{
    if (count < 7)
        fail("reading the arguments");
    int messages = atoi(arguments[2]), window = atoi(arguments[3]);
    int size = atoi(arguments[4]);
    char url[64];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%s", arguments[1]);
    char *payload = calloc(1, size + 1);
    MQTTAsync client;
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    options.maxBufferedMessages = window;
    sem_init(&events, 0, 0);
    if (MQTTAsync_createWithOptions(&client, url, "durable-paho",
            MQTTCLIENT_PERSISTENCE_DEFAULT, arguments[6], &options))
        fail("creating the client");
    MQTTAsync_connectOptions connecting = MQTTAsync_connectOptions_initializer;
    connecting.cleansession = 0;
    connecting.maxInflight = window;
    connecting.onSuccess = on_success;
    connecting.onFailure = on_failure;
    connecting.context = "connecting";
    if (MQTTAsync_connect(client, &connecting))
        fail("connecting");
    await_event();
    double started = now();
    for (int sent = 0, acknowledged = 0; acknowledged < messages; acknowledged++) {
        for (; sent < messages && sent < acknowledged + window; sent++) {
            MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
            response.onSuccess = on_success;
            response.onFailure = on_failure;
            response.context = "publishing";
            if (MQTTAsync_send(client, "durable", size, payload, 1, 0, &response))
                fail("publishing");
        }
        await_event();
    }
    printf("%f\n", now() - started);
    return 0;
}
