#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link.h"
#include "proto/fanq_error.h"

enum { START_MS_MAX = 10000, STOP_MS_MAX = 5000 };

static void pause_ms(long ms)
{
    struct timespec step = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&step, NULL);
}

/* In the child: it ends with its parent, however that ends. */
static void die_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* the parent was faster */
}

static int process_adopt(struct process *process, pid_t pid, struct bench_error *error)
{
    process->pid = pid;
    if (clock_getcpuclockid(pid, &process->cpu_clock) != 0)
        return bench_fail(error, FANQ_ERR_IO, "cannot read the CPU time of process %d", (int)pid);
    return 0;
}

int process_fork(struct process *process, void (*function)(void *context), void *context,
                 struct bench_error *error)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return bench_fail(error, FANQ_ERR_NOMEM, "fork: %s", strerror(errno));
    if (pid == 0) {
        die_with(parent);
        function(context);
        _exit(0);
    }
    return process_adopt(process, pid, error);
}

/* ---- the broker ---- */

struct broker_start {
    const struct process_broker *broker;
    const char *port_file; /* NULL: none */
    int log_fd;
};

/* Neither what the broker prints on stdout nor its banner is ours to print. */
static void exec_broker(void *context)
{
    const struct broker_start *start = context;
    const char *arguments[8], **next = arguments;
    int null = open("/dev/null", O_RDWR);
    char port[8];

    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    if (start->log_fd >= 0)
        (void)dup2(start->log_fd, STDERR_FILENO);
    (void)snprintf(port, sizeof port, "%u", start->broker->port);
    *next++ = start->broker->fanqd;
    *next++ = "--port";
    *next++ = port;
    *next++ = start->broker->directory != NULL ? "--dir" : "--memory";
    if (start->broker->directory != NULL)
        *next++ = start->broker->directory;
    if (start->port_file != NULL) {
        *next++ = "--port-file";
        *next++ = start->port_file;
    }
    *next = NULL;
    execv(start->broker->fanqd, (char *const *)arguments);
    fprintf(stderr, "fanq-bench: cannot run %s: %s\n", start->broker->fanqd, strerror(errno));
    _exit(127);
}

/* The number in the file, once there is a whole line; 0 before. */
static unsigned read_port(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned port = 0;
    char end = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%u%c", &port, &end) != 2 || end != '\n')
        port = 0;
    (void)fclose(file); /* only read */
    return port;
}

/* Shows what the broker said. */
static void show_log(int log_fd)
{
    char text[4096];
    ssize_t got;
    off_t at = 0;

    while ((got = pread(log_fd, text, sizeof text, at)) > 0) {
        (void)!write(STDERR_FILENO, text, (size_t)got);
        at += got;
    }
}

bool process_ended(struct process *process)
{
    int status;

    if (process->pid == 0)
        return true;
    if (waitpid(process->pid, &status, WNOHANG) == 0)
        return false;
    process->pid = 0;
    if (process->log_fd >= 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        show_log(process->log_fd);
    return true;
}

static void set_port(struct process *process, unsigned port)
{
    (void)snprintf(process->url, sizeof process->url, "fanq://127.0.0.1:%u", port);
}

static int await_port(struct process *process, const char *path, struct bench_error *error)
{
    uint64_t until_ns = clock_ns() + (uint64_t)START_MS_MAX * 1000000;
    unsigned port;

    while ((port = read_port(path)) == 0) {
        if (process_ended(process))
            return bench_fail(error, FANQ_ERR_IO, "the broker ended before it took connections");
        if (clock_ns() > until_ns)
            return bench_fail(error, FANQ_ERR_TIMEOUT, "the broker did not start within %d s",
                              START_MS_MAX / 1000);
        pause_ms(2);
    }
    set_port(process, port);
    return 0;
}

uint16_t process_port(const struct process *process)
{
    return (uint16_t)strtoul(strrchr(process->url, ':') + 1, NULL, 10);
}

int process_launch_broker(struct process *process, const struct process_broker *broker,
                          struct bench_error *error)
{
    struct broker_start start = {.broker = broker};

    *process = (struct process){.log_fd = memfd_create("fanqd", MFD_CLOEXEC)};
    set_port(process, broker->port);
    start.log_fd = process->log_fd;
    return process_fork(process, exec_broker, &start, error);
}

int process_start_broker(struct process *process, const struct process_broker *broker,
                         struct bench_error *error)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char directory[PATH_MAX], port_file[PATH_MAX + 8];
    struct broker_start start = {broker, port_file, memfd_create("fanqd", MFD_CLOEXEC)};
    int err;

    *process = (struct process){.log_fd = start.log_fd};
    (void)snprintf(directory, sizeof directory, "%s/fanq-bench-XXXXXX", base);
    if (mkdtemp(directory) == NULL)
        return bench_fail(error, FANQ_ERR_IO, "cannot make a directory in %s: %s", base, strerror(errno));
    (void)snprintf(port_file, sizeof port_file, "%s/port", directory);
    err = process_fork(process, exec_broker, &start, error);
    if (err == 0)
        err = await_port(process, port_file, error);
    (void)unlink(port_file); /* not there after a failure */
    (void)rmdir(directory);
    if (err != 0)
        process_stop(process);
    return err;
}

const char *process_find_broker(void)
{
    static const char *const places[] = {"/fanqd", "/../broker/fanqd", "/../broker/net/fanqd"};
    static char path[PATH_MAX];
    char self[PATH_MAX / 2];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *directory;

    if (length < 0)
        return NULL;
    self[length] = '\0';
    directory = dirname(self);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", directory, places[i]);
        if (access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

/* ---- memory ---- */

/* A line of /proc/PID/status: "VmRSS:      1234 kB". */
static bool status_bytes(const char *line, const char *name, uint64_t *ret_bytes)
{
    size_t length = strlen(name);

    if (strncmp(line, name, length) != 0 || line[length] != ':')
        return false;
    *ret_bytes = strtoull(line + length + 1, NULL, 10) * 1024;
    return true;
}

int process_memory(const struct process *process, struct bench_error *error, uint64_t *ret_resident_bytes,
                   uint64_t *ret_peak_bytes)
{
    uint64_t resident_bytes = 0, peak_bytes = 0;
    char path[64], line[256];
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (!status_bytes(line, "VmRSS", &resident_bytes))
            (void)status_bytes(line, "VmHWM", &peak_bytes); /* or none of the two */
    if (file != NULL)
        (void)fclose(file); /* only read */
    if (resident_bytes == 0)
        return bench_fail(error, FANQ_ERR_IO, "cannot read the memory of process %d", (int)process->pid);
    *ret_resident_bytes = resident_bytes;
    *ret_peak_bytes = peak_bytes;
    return 0;
}

/* ---- ending ---- */

/* The log goes unread: the end was ours. */
void process_kill(struct process *process)
{
    if (process->log_fd >= 0)
        close(process->log_fd);
    process->log_fd = -1;
    if (process->pid == 0)
        return;
    (void)kill(process->pid, SIGKILL);    /* fails if it has ended */
    (void)waitpid(process->pid, NULL, 0); /* of a child of ours */
    process->pid = 0;
}

void process_stop(struct process *process)
{
    uint64_t until_ns = clock_ns() + (uint64_t)STOP_MS_MAX * 1000000;

    if (process->pid != 0)
        (void)kill(process->pid, SIGTERM); /* fails if it has ended: waitpid() tells */
    while (process->pid != 0 && !process_ended(process)) {
        if (clock_ns() > until_ns)
            (void)kill(process->pid, SIGKILL);
        pause_ms(1);
    }
    if (process->log_fd >= 0)
        close(process->log_fd);
    process->log_fd = -1;
}
