/* fanqd: reads what it is told, starts the shell, says where it listens, and runs until a signal. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "config.h"
#include "log/check_directory.h"
#include "net/malloc_count.h"
#include "net/shell.h"
#include "notify.h"

extern char **environ;

enum { ERROR_BYTES = 1024, PATH_BYTES_MAX = 4096 };

/* Writes the port so that whoever sees the file sees all of it. 0, or -1 with errno set. */
static int write_port_file(const char *path, int port)
{
    char temporary[PATH_BYTES_MAX];
    FILE *file;
    int failed;

    if (snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid()) >= (int)sizeof(temporary)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    file = fopen(temporary, "we");
    if (file == NULL)
        return -1;
    failed = fprintf(file, "%d\n", port) < 0;
    failed |= fclose(file) != 0;
    if (failed || rename(temporary, path) != 0) {
        int reason = errno;
        unlink(temporary);
        errno = reason;
        return -1;
    }
    return 0;
}

/* NULL: there is no TCP at all. */
static const struct listener *first_tcp(const struct shell *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i]->port >= 0)
            return s->listeners[i];
    return NULL;
}

static int publish_port(const struct shell *s, const char *path)
{
    const struct listener *tcp = first_tcp(s);

    if (path == NULL)
        return 0;
    if (tcp == NULL) {
        fprintf(
            stderr,
            "fanqd: --port-file has no port to tell, for there is no TCP listener: drop one of the two\n");
        return CONFIG_EXIT_CONFIG;
    }
    if (write_port_file(path, tcp->port) != 0) {
        fprintf(stderr,
                "fanqd: cannot write --port-file %s: %s. Name a file in a directory where you may write\n",
                path, strerror(errno));
        return CONFIG_EXIT_RUNTIME;
    }
    return 0;
}

static bool only_this_machine(const struct shell *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (!s->listeners[i]->loopback)
            return false;
    return true;
}

/* An address that takes all is none to connect to; this machine is among all. */
static bool is_usual_here(const char *address)
{
    static const char *const starts[] = {"0.0.0.0:", "[::]:", "127.0.0.1:"};

    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        if (strncmp(address, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* What to put before the commands so that they find this broker. */
static void client_hint(const struct shell *s, char *ret_text, size_t size)
{
    const struct listener *tcp = first_tcp(s);

    if (tcp == NULL)
        snprintf(ret_text, size, "export FANQ_URL=unix:%s && ", s->listeners[0]->address);
    else if (!is_usual_here(tcp->address))
        snprintf(ret_text, size, "export FANQ_URL=fanq://%s && ", tcp->address);
    else if (tcp->port != 9320)
        snprintf(ret_text, size, "export FANQ_URL=fanq://127.0.0.1:%d && ", tcp->port);
    else
        ret_text[0] = '\0';
}

/* Commands that work with this broker as it is. */
static void print_what_to_try(const struct shell *s)
{
    char hint[400];

    client_hint(s, hint, sizeof(hint));
    fprintf(stderr, "Try: %s%sfanq send hello \"hi there\" && fanq recv hello\n", hint,
            s->auto_create ? "" : "fanq queue create hello && ");
}

static void print_storage(const struct shell *s)
{
    const struct config *c = s->config;

    if (c->memory)
        fprintf(stderr, "  storage  memory only: messages vanish on exit; at most %" PRIu64 " MiB are held\n",
                c->memory_bytes_max / CONFIG_MIB(1));
    else if (c->fsync == CONFIG_FSYNC_GROUP)
        fprintf(stderr, "  storage  %s: what is answered is on the disk (fsync group)\n", c->directory);
    else if (c->fsync == CONFIG_FSYNC_ASYNC)
        fprintf(stderr,
                "  storage  %s: A POWER CUT LOSES the last %" PRIu64
                " ms of answered messages (fsync async)\n",
                c->directory, c->fsync_ms);
    else
        fprintf(stderr, "  storage  %s: A POWER CUT LOSES answered messages (fsync none)\n", c->directory);
}

static void print_banner(const struct shell *s)
{
    fprintf(stderr, "fanq " FANQ_VERSION " (pid %d)\n  native   ", (int)getpid());
    for (size_t i = 0; i < s->listener_count; i++)
        fprintf(stderr, "%s%s%s", i > 0 ? ", " : "",
                s->listeners[i]->port >= 0 ? "fanq://" : "unix:", s->listeners[i]->address);
    fputc('\n', stderr);
    print_storage(s);
    fprintf(stderr, "  access   %s\n",
            only_this_machine(s) ? "this machine only; --listen 0.0.0.0 lets others in"
                                 : "EVERYONE who reaches these addresses: there are no passwords yet");
    fprintf(stderr, "ready in %" PRIu64 " ms. ", (uv_hrtime() / 1000000) - s->started_ms);
    print_what_to_try(s);
}

static int run(const struct config *config)
{
    char error[ERROR_BYTES] = "";
    struct shell *s = shell_new(config, error, sizeof(error));
    int code;

    if (s == NULL) {
        fprintf(stderr, "fanqd: %s\n", error);
        return CONFIG_EXIT_RUNTIME;
    }
    code = publish_port(s, config->port_file);
    if (code == 0) {
        print_banner(s);
        notify_supervisor("READY=1");
        code = shell_run(s);
        notify_supervisor("STOPPING=1");
    }
    shell_free(s);
    return code;
}

int main(int argc, char *argv[])
{
    struct config config;
    char error[CONFIG_ERROR_BYTES];
    int code;

    malloc_count_start();
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of the write */
    code = config_read(&config, argc, argv, environ, error);
    if (code != 0) {
        fprintf(stderr, "fanqd: %s\n", error);
        return code;
    }
    switch (config.action) {
    case CONFIG_HELP:
        config_help(stdout);
        return 0;
    case CONFIG_VERSION:
        puts("fanqd " FANQ_VERSION);
        return 0;
    case CONFIG_CHECK:
        return check_directory(config.directory, stdout);
    case CONFIG_RUN:
        break;
    }
    return run(&config);
}
