#include "broker_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FLAGS_MAX = 32, PATIENCE_MS = 20000 };

static void fail(const char *what)
{
    fprintf(stderr, "fanqd for the test: %s\n", what);
    abort();
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void path_in(const struct broker_process *broker, const char *name, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/%s", broker->directory, name);
}

/* What would configure the broker or the test, as FANQD_PORT, is not for this one. */
static void clean_environment(void)
{
    for (char **at = environ; *at != NULL;) {
        char name[64];
        size_t length = strcspn(*at, "=");

        if (strncmp(*at, "FANQD", 5) != 0 || length >= sizeof(name)) {
            at++;
            continue;
        }
        memcpy(name, *at, length);
        name[length] = '\0';
        unsetenv(name);
        at = environ;
    }
}

/* In the child: does not come back. */
static void become_fanqd(char **arguments)
{
    clean_environment();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
    if (freopen("/dev/null", "r", stdin) == NULL || freopen("/dev/null", "w", stdout) == NULL)
        _exit(126);
    execv(arguments[0], arguments);
    perror(arguments[0]);
    _exit(127);
}

/* Reads the port once the file is there; 0 before. */
static uint16_t read_port(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned port = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%u", &port) != 1 || port > UINT16_MAX)
        port = 0;
    fclose(file);
    return (uint16_t)port;
}

static void launch(struct broker_process *broker, const char *const *flags)
{
    char program[512];
    char port_file[96], port[8];
    char *arguments[FLAGS_MAX] = {program, "--memory", "--port", port, "--port-file", port_file};
    int count = 6;

    if (getenv("FANQD") == NULL)
        fail("the environment must name it: FANQD=build/broker/fanqd");
    snprintf(program, sizeof(program), "%s", getenv("FANQD"));
    path_in(broker, "port", port_file, sizeof(port_file));
    snprintf(port, sizeof(port), "%u", (unsigned)broker->port);
    for (; flags != NULL && *flags != NULL && count < FLAGS_MAX - 1; flags++)
        arguments[count++] = (char *)*flags;
    unlink(port_file);
    broker->pid = fork();
    if (broker->pid < 0)
        fail("no process");
    if (broker->pid == 0)
        become_fanqd(arguments);
    for (int waited_ms = 0; (broker->port = read_port(port_file)) == 0; waited_ms += 2) {
        if (waited_ms > PATIENCE_MS || waitpid(broker->pid, NULL, WNOHANG) != 0)
            fail("it does not start");
        sleep_ms(2);
    }
    snprintf(broker->url, sizeof(broker->url), "fanq://127.0.0.1:%u", (unsigned)broker->port);
}

void broker_process_start(struct broker_process *broker, const char *const *flags)
{
    *broker = (struct broker_process){0};
    strcpy(broker->directory, "/tmp/fanq-test-XXXXXX");
    if (mkdtemp(broker->directory) == NULL)
        fail("no directory");
    launch(broker, flags);
}

void broker_process_restart(struct broker_process *broker)
{
    launch(broker, NULL);
}

static int wait_for(struct broker_process *broker)
{
    int status;

    if (waitpid(broker->pid, &status, 0) != broker->pid)
        fail("it is lost");
    broker->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int broker_process_stop(struct broker_process *broker)
{
    kill(broker->pid, SIGTERM);
    return wait_for(broker);
}

void broker_process_kill(struct broker_process *broker)
{
    kill(broker->pid, SIGKILL);
    (void)wait_for(broker);
}

void broker_process_close(struct broker_process *broker)
{
    char port_file[96];

    if (broker->pid != 0)
        (void)broker_process_stop(broker);
    path_in(broker, "port", port_file, sizeof(port_file));
    unlink(port_file);
    rmdir(broker->directory);
}
