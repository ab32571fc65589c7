/* The shell's life: start, signals, stop. See shell.h. */
#include "shell.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "connection.h"
#include "log/tail.h"
#include "notice.h"
#include "storage.h"

enum {
    DESCRIPTORS_BESIDE = 32, /* listeners, epoll, signals, standard streams, a spare */
};

/* ---- signals ---- */

static void close_listeners(struct shell *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(s->listeners[i]);
}

/* The second signal: nobody is waited for, nor the disk, which may need hours. The next start finds what it would after a kill:
 * all that was answered. */
static void abandon(struct shell *s)
{
    if (s->log != NULL) {
        NOTICE_WARNING("stopped at once: what was not answered may be lost", "why=\"a second signal\"");
        _exit(CONFIG_EXIT_RUNTIME);
    }
    s->exit_code = CONFIG_EXIT_RUNTIME;
    s->drain_deadline_ms = 0;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct shell *s = handle->data;

    turn_hurry(s);
    if (s->drain != DRAIN_NO) {
        abandon(s);
        return;
    }
    NOTICE_INFO("stopping", "signal=%d connections=%zu", number, s->connections_max - s->free_number_count);
    s->drain = DRAIN_ASKED;
    s->drain_deadline_ms = uv_now(&s->loop) + s->config->drain_ms;
    close_listeners(s);
}

/* ---- the loop's own handles ---- */

static void on_check(uv_check_t *check)
{
    turn_run(check->data);
}

/* Handles of these kinds cannot fail to start once they are initialised; signals can. */
static int start_handles(struct shell *s)
{
    int err;

    uv_check_init(&s->loop, &s->check);
    uv_idle_init(&s->loop, &s->idle);
    uv_timer_init(&s->loop, &s->timer);
    s->check.data = s->idle.data = s->timer.data = s;
    s->timer_due_ms = UINT64_MAX;
    uv_check_start(&s->check, on_check);
    err = uv_signal_init(&s->loop, &s->terminate);
    if (err != 0)
        return err;
    err = uv_signal_init(&s->loop, &s->interrupt);
    if (err != 0)
        return err;
    s->terminate.data = s->interrupt.data = s;
    err = uv_signal_start(&s->terminate, on_signal, SIGTERM);
    return err != 0 ? err : uv_signal_start(&s->interrupt, on_signal, SIGINT);
}

static void close_handle(uv_handle_t *handle, void *context)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void shell_stop(struct shell *s)
{
    s->stopping = true;
    uv_walk(&s->loop, close_handle, s);
}

_Noreturn void shell_fail(const char *what)
{
    NOTICE_ERROR("the broker cannot go on", "reason=\"%s\"", what);
    exit(CONFIG_EXIT_RUNTIME);
}

/* ---- start ---- */

/* How many connections there can be: each takes a descriptor, of which the system may give fewer than are wanted. */
static uint32_t possible_connections(uint64_t wanted)
{
    struct rlimit limit;
    uint64_t possible;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return (uint32_t)wanted;
    if (limit.rlim_cur < wanted + DESCRIPTORS_BESIDE) {
        limit.rlim_cur =
            limit.rlim_max < wanted + DESCRIPTORS_BESIDE ? limit.rlim_max : wanted + DESCRIPTORS_BESIDE;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
            return (uint32_t)wanted;
    }
    possible = limit.rlim_cur > DESCRIPTORS_BESIDE ? limit.rlim_cur - DESCRIPTORS_BESIDE : 1;
    if (possible >= wanted)
        return (uint32_t)wanted;
    NOTICE_WARNING("fewer connections than connections_max are possible",
                   "possible=%" PRIu64 " connections_max=%" PRIu64 " hint=\"raise ulimit -n or LimitNOFILE\"",
                   possible, wanted);
    return (uint32_t)possible;
}

static uint64_t wall_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t shell_cpu_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static uint64_t random_number(void)
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        shell_fail("the system gives no random numbers");
    return number;
}

static int make_core(struct shell *s)
{
    const struct config *config = s->config;

    return core_new(
        &(struct core_options){
            .view = {s->tail, tail_block},
            .epoch = s->epoch,
            .hash_seed = random_number(),
            .account = "000000000000",
            .region = "us-east-1",
            .durable = s->log != NULL,
            .auto_create = s->auto_create,
            .connections_max = s->connections_max,
            .queues_max = (uint32_t)config->queues_max,
            .topics_max = (uint32_t)config->topics_max,
            .subscriptions_max = (uint32_t)config->subscriptions_max,
            .producers_max = (uint32_t)config->producers_max,
            .producer_ms_max = config->producer_ms_max,
            .waiters_per_connection_max = (uint32_t)config->waiters_per_connection_max,
            .waits_max = (uint32_t)config->waits_max,
            .in_flight_per_queue_max = config->in_flight_per_queue_max,
            .serve_bytes_max = storage_serve_bytes(s),
            .ephemeral_backlog_messages_max = config->ephemeral_backlog_messages_max,
            .ephemeral_backlog_bytes_max = config->ephemeral_backlog_bytes_max,
        },
        &s->core);
}

static int make_tables(struct shell *s)
{
    size_t count = s->connections_max;

    s->connections = calloc(count, sizeof(struct connection *));
    s->free_numbers = calloc(count, sizeof(*s->free_numbers));
    if (s->connections == NULL || s->free_numbers == NULL)
        return FANQ_ERR_NOMEM;
    while (s->free_number_count < count) { /* the lowest is taken first */
        s->free_numbers[s->free_number_count] = (uint32_t)(count - 1 - s->free_number_count);
        s->free_number_count++;
    }
    return 0;
}

/* The next place in the table of listeners; it counts when it listens. */
static struct listener *listener_new(struct shell *s)
{
    struct listener *l = calloc(1, sizeof(*l));

    if (l == NULL)
        shell_fail("out of memory");
    s->listeners[s->listener_count++] = l;
    return l;
}

static void listener_undo(struct shell *s)
{
    free(s->listeners[--s->listener_count]);
}

static int open_listeners(struct shell *s, char *error, size_t size)
{
    const struct config *config = s->config;

    s->listeners = calloc(config->listen_count + 1, sizeof(struct listener *));
    if (s->listeners == NULL)
        shell_fail("out of memory");
    for (uint32_t i = 0; i < config->listen_count; i++) {
        if (listener_open_tcp(s, listener_new(s), &config->listens[i], error, size) != 0) {
            listener_undo(s);
            return -1;
        }
    }
    if (config->unix_path != NULL &&
        listener_open_unix(s, listener_new(s), config->unix_path, error, size) != 0) {
        listener_undo(s);
        return -1;
    }
    return 0;
}

/* By default on where nothing is kept, unless others can reach the broker: what a typing error makes is gone with the
 * broker then. */
static bool auto_create(const struct shell *s)
{
    if (s->config->auto_create != CONFIG_AUTO_CREATE_DEFAULT)
        return s->config->auto_create == CONFIG_AUTO_CREATE_ON;
    if (!s->config->memory)
        return false;
    for (size_t i = 0; i < s->listener_count; i++)
        if (!s->listeners[i]->loopback)
            return false;
    return true;
}

static void init_lists(struct shell *s)
{
    list_init(&s->greeting);
    list_init(&s->leaving);
    list_init(&s->news);
    list_init(&s->backups);
    effects_init(&s->effects);
    pool_init(&s->pool);
}

struct shell *shell_new(const struct config *config, char *error, size_t error_size)
{
    struct shell *s = calloc(1, sizeof(*s));

    if (s == NULL || uv_loop_init(&s->loop) != 0) {
        snprintf(error, error_size,
                 "cannot make an event loop: out of memory or descriptors (see ulimit -n)");
        free(s);
        return NULL;
    }
    s->config = config;
    s->now_ms = s->started_ms = uv_now(&s->loop);
    s->epoch = s->wall_ms = wall_clock_ms();
    init_lists(s);
    s->connections_max = possible_connections(config->connections_max);
    if (open_listeners(s, error, error_size) != 0) {
        shell_free(s);
        return NULL;
    }
    s->auto_create = auto_create(s);
    if (storage_open(s, error, error_size) != 0) {
        shell_free(s);
        return NULL;
    }
    if (reading_init(&s->reading) != 0 || writing_init(&s->writing) != 0 || make_tables(s) != 0 ||
        make_core(s) != 0 || start_handles(s) != 0) {
        snprintf(error, error_size, "cannot start: out of memory");
        shell_free(s);
        return NULL;
    }
    if (storage_recover(s, error, error_size) != 0) {
        shell_free(s);
        return NULL;
    }
    return s;
}

/* ---- the end ---- */

int shell_run(struct shell *s)
{
    s->running = true;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    s->running = false;
    return s->exit_code;
}

void shell_free(struct shell *s)
{
    int err;

    if (s == NULL)
        return;
    storage_stop(s); /* its threads use a handle */
    shell_stop(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    err = uv_loop_close(&s->loop);
    assert(err == 0);
    for (size_t i = 0; i < s->listener_count; i++)
        free(s->listeners[i]);
    free(s->listeners);
    core_free(s->core);
    storage_close(s);
    effects_close(&s->effects);
    free(s->next_effect);
    reading_close(&s->reading);
    writing_close(&s->writing);
    free(s->connections);
    free(s->free_numbers);
    pool_close(&s->pool);
    free(s);
}
