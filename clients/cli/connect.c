/* Finding the broker, and the loop of commands that wait.
 *
 * Short commands use the library's blocking calls and let a signal end the process; commands that wait catch
 * signals first and turn the loop here, so that what is under way can be brought to an end. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS_DEFAULT = 30000, CONNECT_MS_MAX = 5000, CONNECT_PAUSE_MS_MAX = 500 };

uint64_t cli_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int cli_timeout_ms(const struct cli *cli)
{
    if (cli->options.timeout_ms < 0)
        return TIMEOUT_MS_DEFAULT;
    return cli->options.timeout_ms > INT_MAX ? INT_MAX : (int)cli->options.timeout_ms;
}

/* ---- signals ---- */

static volatile sig_atomic_t caught_signal;
static struct fanq *volatile wakened; /* the client that a signal wakes; NULL: a signal ends the program */

static void on_signal(int number)
{
    if (wakened == NULL || caught_signal != 0)
        _exit(EXIT_SIGNAL + number);
    caught_signal = number;
    fanq_wakeup(wakened);
}

void cli_init_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a blocked write ends too */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of fflush() */
}

void cli_catch_signals(struct cli *cli)
{
    wakened = cli->client;
}

int cli_signal(void)
{
    return caught_signal;
}

/* ---- the loop ---- */

static int poll_timeout(const struct cli *cli, int64_t timeout_ms)
{
    int64_t client_ms = fanq_timeout_ms(cli->client);

    if (timeout_ms < 0 || (client_ms >= 0 && client_ms < timeout_ms))
        timeout_ms = client_ms;
    return timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
}

bool cli_turn(struct cli *cli, int input_fd, int64_t timeout_ms)
{
    struct pollfd fds[2] = {{.fd = fanq_fd(cli->client), .events = (short)fanq_events(cli->client)},
                            {.fd = input_fd, .events = POLLIN}};

    /* A signal since the caller looked has made the client's descriptor readable. EINTR: a round without
     * news. */
    (void)poll(fds, 2, poll_timeout(cli, timeout_ms));
    (void)fanq_process(cli->client); /* CLOSED: every request has told its own end */
    return fds[1].revents != 0;
}

int cli_wait_done(struct cli *cli, const bool *done)
{
    while (!*done && caught_signal == 0)
        (void)cli_turn(cli, -1, -1);
    return *done ? 0 : caught_signal;
}

/* ---- connecting ---- */

/* The cause without the URL before it, which we say ourselves. */
static const char *cause_text(const struct fanq *client, const struct fanq_error *cause)
{
    const char *url = fanq_current_url(client);
    size_t url_bytes = url != NULL ? strlen(url) : 0;

    if (url_bytes > 0 && strncmp(cause->text, url, url_bytes) == 0 &&
        strncmp(cause->text + url_bytes, ": ", 2) == 0)
        return cause->text + url_bytes + 2;
    return cause->text;
}

static void on_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause,
                     void *user)
{
    struct cli *cli = user;

    if (state == FANQ_CLIENT_READY) {
        if (cli->ready_once)
            cli_say("fanq: connected again to %s", fanq_current_url(client));
        cli->ready_once = true;
    } else if (state == FANQ_CLIENT_LOST || state == FANQ_CLIENT_CLOSED) {
        if (cli->ready_once && state == FANQ_CLIENT_LOST && cli->lost.code == 0)
            cli_say("fanq: connection to %s lost: %s; trying again", fanq_current_url(client),
                    cause_text(client, cause));
        cli->lost = *cause;
        cli->failed_tries++;
    }
    if (state == FANQ_CLIENT_READY)
        cli->lost.code = 0;
}

static int open_client(struct cli *cli, enum cli_connect how)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    uint32_t timeout_ms = (uint32_t)cli_timeout_ms(cli);

    options.name = "fanq";
    options.reconnect = how == CLI_CONNECT_AGAIN;
    options.reconnect_ms_max = CONNECT_PAUSE_MS_MAX;
    options.request_timeout_ms = timeout_ms;
    options.connect_timeout_ms = timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX;
    return fanq_open(cli->options.url, &options, &cli->client);
}

static int report_open(struct cli *cli, int err)
{
    const char *url = cli->options.url != NULL ? cli->options.url : getenv("FANQ_URL");

    if (err != FANQ_ERR_INVALID || url == NULL)
        return cli_fail(EXIT_FAILED, "cannot make a client: %s", fanq_strerror(err));
    cli_fail(EXIT_USAGE, "\"%s\" is not the URL of a broker", url);
    cli_hint("it looks like fanq://HOST:9320 or unix:/PATH, given by --url or FANQ_URL");
    return EXIT_USAGE;
}

/* One try for each of the URLs, which have commas between them. */
static unsigned url_count(const struct cli *cli)
{
    const char *url = cli->options.url != NULL ? cli->options.url : getenv("FANQ_URL");
    unsigned count = 1;

    for (; url != NULL && *url != '\0'; url++)
        count += *url == ',';
    return count;
}

/* Whether a connection stands within the time, after at most so many failures. */
static bool wait_ready(struct cli *cli, int64_t wait_ms, unsigned failures_max)
{
    uint64_t deadline_ms = cli_now_ms() + (uint64_t)wait_ms;

    fanq_on_state(cli->client, on_state, cli);
    while (fanq_state(cli->client) != FANQ_CLIENT_READY) {
        uint64_t now_ms = cli_now_ms();

        if (now_ms >= deadline_ms || cli->failed_tries >= failures_max ||
            fanq_state(cli->client) == FANQ_CLIENT_CLOSED)
            return false;
        (void)cli_turn(cli, -1, (int64_t)(deadline_ms - now_ms));
    }
    return true;
}

bool cli_connect_wait(struct cli *cli, int64_t wait_ms)
{
    int err = open_client(cli, CLI_CONNECT_AGAIN);

    if (err != 0) {
        cli->lost.code = err;
        snprintf(cli->lost.text, sizeof(cli->lost.text), "%s", fanq_strerror(err));
        return false;
    }
    return wait_ready(cli, wait_ms, UINT_MAX);
}

static bool is_here(const char *url)
{
    static const char *const starts[] = {"unix:", "fanq://127.", "fanq://localhost", "fanq://[::1]"};

    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        if (strncmp(url, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* The flag with which fanqd listens there; none for the usual port. */
static void hint_start(const char *url)
{
    const char *port = url != NULL ? strrchr(url, ':') : NULL;
    char flag[256] = "";

    if (url != NULL && strncmp(url, "unix:", 5) == 0)
        snprintf(flag, sizeof(flag), " --unix %s", url + 5);
    else if (port != NULL && isdigit((unsigned char)port[1]) && strcmp(port, ":9320") != 0)
        snprintf(flag, sizeof(flag), " --port %s", port + 1);
    cli_hint("no broker on this machine? start one:  fanqd%s        other host?  "
             "export FANQ_URL=fanq://HOST:9320",
             flag);
}

int cli_report_unconnected(struct cli *cli)
{
    const char *url = cli->client != NULL ? fanq_current_url(cli->client) : NULL;

    if (url == NULL)
        cli_fail(EXIT_CONNECTION, "cannot connect: %s", cli->lost.text);
    else
        cli_fail(EXIT_CONNECTION, "cannot connect to %s: %s", url,
                 cli->lost.code != 0 ? cause_text(cli->client, &cli->lost) : "no answer in time");
    if (url == NULL || is_here(url))
        hint_start(url);
    else
        cli_hint("is it running there, and open to others?  fanqd --listen 0.0.0.0");
    return EXIT_CONNECTION;
}

int cli_connect(struct cli *cli, enum cli_connect how)
{
    int err = open_client(cli, how);

    if (err != 0)
        return report_open(cli, err);
    if (!wait_ready(cli, cli_timeout_ms(cli), url_count(cli)))
        return cli_report_unconnected(cli);
    return 0;
}
