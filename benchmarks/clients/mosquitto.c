/* The reference: libmosquitto in one thread, with mosquitto_loop.
 *
 * Called as PROGRAM KIND PORT MESSAGES QOS SIZE IN_FLIGHT PROTOCOL LIMIT WINDOW PROPERTY_BYTES;
 * prints one line of JSON (see benchmarks/README.md). What it measures is what clients/common.py measures.
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HOST "127.0.0.1"
#define TOPIC "bench/temperature"
#define FILTER "bench/#"
#define IDLE_WARM_UP 50
#define LATENCY_WARM_UP 100
#define LOOP_MILLISECONDS 1000

static int messages, qos, size, in_flight, protocol;
static int port;
static double deadline; /* by now_wall() */

static int many_clients; /* the workload has more than select can do */
static int connected;
static int count;          /* messages received, or publishes acknowledged */
static long payload_bytes; /* received */
static int timed_out;
static double cpu_started, cpu_stopped, wall_started, wall_stopped;
static char extra[200];

static double now_wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double now_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void start_clocks(void)
{
    wall_started = now_wall();
    cpu_started = now_cpu();
}

static void stop_clocks(void)
{
    cpu_stopped = now_cpu();
    wall_stopped = now_wall();
}

static void check(int result, const char *what)
{
    if (result != MOSQ_ERR_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, mosquitto_strerror(result));
        exit(1);
    }
}

/* mosquitto_loop uses select, which ends at 1,024 files. */
static void loop_with_poll(struct mosquitto *client, int milliseconds)
{
    int writes = mosquitto_want_write(client);
    struct pollfd file = {mosquitto_socket(client), POLLIN | (writes ? POLLOUT : 0), 0};
    poll(&file, 1, milliseconds);
    if (file.revents & POLLOUT)
        check(mosquitto_loop_write(client, 1), "loop_write");
    if (file.revents & ~POLLOUT)
        check(mosquitto_loop_read(client, 1), "loop_read");
    check(mosquitto_loop_misc(client), "loop_misc");
}

/* One turn; false when the time limit has passed. */
static int turn(struct mosquitto *client, int milliseconds)
{
    if (many_clients)
        loop_with_poll(client, milliseconds);
    else
        check(mosquitto_loop(client, milliseconds, 1), "loop");
    if (now_wall() > deadline)
        timed_out = 1;
    return !timed_out;
}

static void on_connect(struct mosquitto *client, void *data, int result)
{
    (void)client, (void)data;
    check(result, "CONNACK");
    connected = 1;
}

static void on_message(struct mosquitto *client, void *data, const struct mosquitto_message *m)
{
    (void)client, (void)data;
    payload_bytes += m->payloadlen;
    if (++count == messages)
        stop_clocks();
}

static void on_publish(struct mosquitto *client, void *data, int id)
{
    (void)client, (void)data, (void)id;
    count++;
}

static struct mosquitto *new_connected(void)
{
    static int number;
    char identifier[32];
    snprintf(identifier, sizeof identifier, "bench-%d", ++number);
    struct mosquitto *client = mosquitto_new(identifier, true, NULL);
    if (client == NULL) {
        perror("mosquitto_new");
        exit(1);
    }
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION,
                         protocol == 5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
#ifdef NODELAY
    /* As asyncio does for each of the other clients. */
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
#endif
    mosquitto_max_inflight_messages_set(client, in_flight);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_message_callback_set(client, on_message);
    connected = 0;
    check(mosquitto_connect(client, HOST, port, 60), "connect");
    while (!connected && turn(client, LOOP_MILLISECONDS))
        ;
    return client;
}

static void flush_and_disconnect(struct mosquitto *client)
{
    while (mosquitto_want_write(client) && turn(client, LOOP_MILLISECONDS))
        ;
    mosquitto_disconnect(client);
    mosquitto_destroy(client);
}

static void publish_one(struct mosquitto *client, const char *payload)
{
    check(mosquitto_publish(client, NULL, TOPIC, size, payload, qos, false), "publish");
}

static void receive(void)
{
    struct mosquitto *client = new_connected();
    start_clocks();
    check(mosquitto_subscribe(client, NULL, FILTER, qos), "subscribe");
    while (count < messages && turn(client, LOOP_MILLISECONDS))
        ;
    if (timed_out)
        stop_clocks();
    flush_and_disconnect(client);
}

static void publish(const char *payload)
{
    struct mosquitto *client = new_connected();
    start_clocks();
    for (int i = 0; i < messages && !timed_out; i++) {
        publish_one(client, payload);
        while (mosquitto_want_write(client) && turn(client, LOOP_MILLISECONDS))
            ;
    }
    flush_and_disconnect(client);
    stop_clocks();
    count = messages;
}

static void publish_window(const char *payload)
{
    struct mosquitto *client = new_connected();
    mosquitto_publish_callback_set(client, on_publish);
    start_clocks();
    for (int sent = 0; sent < messages && !timed_out;) {
        int group = messages - sent < in_flight ? messages - sent : in_flight;
        for (int i = 0; i < group; i++)
            publish_one(client, payload);
        sent += group;
        while (count < sent && turn(client, LOOP_MILLISECONDS))
            ;
    }
    stop_clocks();
    flush_and_disconnect(client);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void latency(const char *payload)
{
    double *seconds = calloc(messages, sizeof *seconds);
    struct mosquitto *client = new_connected();
    mosquitto_publish_callback_set(client, on_publish);
    for (int i = -LATENCY_WARM_UP; i < messages && !timed_out; i++) {
        if (i == 0)
            start_clocks();
        double started = now_wall();
        int before = count;
        publish_one(client, payload);
        while (count == before && turn(client, LOOP_MILLISECONDS))
            ;
        if (i >= 0)
            seconds[i] = now_wall() - started;
    }
    stop_clocks();
    count -= LATENCY_WARM_UP;
    flush_and_disconnect(client);
    qsort(seconds, messages, sizeof *seconds, compare);
    snprintf(extra, sizeof extra, ", \"p50_us\": %.3f, \"p99_us\": %.3f",
             seconds[messages / 2] * 1e6, seconds[messages * 99 / 100] * 1e6);
    free(seconds);
}

static void connect_and_disconnect(void)
{
    flush_and_disconnect(new_connected()); /* the first one warms up, as in the others */
    start_clocks();
    for (; count < messages && !timed_out; count++)
        flush_and_disconnect(new_connected());
    stop_clocks();
}

static long resident_bytes(void)
{
    long total, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (statm != NULL)
        fclose(statm);
    return resident * sysconf(_SC_PAGESIZE);
}

static long peak_bytes(void)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return kib * 1024;
}

static void receive_watched(void)
{
    flush_and_disconnect(new_connected()); /* for the library's own memory */
    long before = resident_bytes();
    receive();
    snprintf(extra, sizeof extra, ", \"peak_bytes\": %ld", peak_bytes() - before);
}

static void idle(void)
{
    many_clients = 1;
    struct mosquitto **clients = calloc(IDLE_WARM_UP + messages, sizeof *clients);
    for (int i = 0; i < IDLE_WARM_UP; i++)
        clients[i] = new_connected();
    long before = resident_bytes();
    start_clocks();
    for (; count < messages && !timed_out; count++)
        clients[IDLE_WARM_UP + count] = new_connected();
    stop_clocks();
    snprintf(extra, sizeof extra, ", \"bytes_per_client\": %.1f",
             (double)(resident_bytes() - before) / messages);
    for (int i = 0; i < IDLE_WARM_UP + count; i++)
        flush_and_disconnect(clients[i]);
    free(clients);
}

int main(int argc, char **argv)
{
    if (argc != 11) {
        fprintf(stderr, "usage: %s KIND PORT MESSAGES QOS SIZE IN_FLIGHT PROTOCOL LIMIT"
                        " WINDOW PROPERTY_BYTES\n", argv[0]);
        return 2;
    }
    const char *kind = argv[1];
    port = atoi(argv[2]);
    messages = atoi(argv[3]);
    qos = atoi(argv[4]);
    size = atoi(argv[5]);
    in_flight = atoi(argv[6]);
    protocol = atoi(argv[7]);
    deadline = now_wall() + atof(argv[8]);
    char *payload = malloc(size + 1);
    memset(payload, 'x', size);
    mosquitto_lib_init();

    if (!strcmp(kind, "receive"))
        receive();
    else if (!strcmp(kind, "receive-watched"))
        receive_watched();
    else if (!strcmp(kind, "publish"))
        publish(payload);
    else if (!strcmp(kind, "publish-window") || !strcmp(kind, "publish-many"))
        publish_window(payload);
    else if (!strcmp(kind, "latency"))
        latency(payload);
    else if (!strcmp(kind, "connect"))
        connect_and_disconnect();
    else if (!strcmp(kind, "idle"))
        idle();
    else
        return 2;

    if (timed_out)
        strncat(extra, ", \"timed_out\": 1", sizeof extra - strlen(extra) - 1);
    int major, minor, revision;
    mosquitto_lib_version(&major, &minor, &revision);
    printf("{\"version\": \"%d.%d.%d\", \"build\": \"C\", \"python\": \"\", \"count\": %d, "
           "\"payload_bytes\": %ld, \"cpu_s\": %.9f, \"wall_s\": %.9f%s}\n",
           major, minor, revision, count, payload_bytes, cpu_stopped - cpu_started,
           wall_stopped - wall_started, extra);
    mosquitto_lib_cleanup();
    free(payload);
    return 0;
}
