#include "server.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOG_BYTES_TOLD = 4096 };

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

void server_init(struct server *s, const char *program)
{
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    s->program = program;
    if (snprintf(s->root, sizeof(s->root), "%s/fanq-crash-XXXXXX", parent) >= (int)sizeof(s->root) ||
        mkdtemp(s->root) == NULL)
        fail("crash: a directory for the broker");
    snprintf(s->directory, sizeof(s->directory), "%s/data", s->root);
    snprintf(s->log, sizeof(s->log), "%s/log", s->root);
    snprintf(s->socket, sizeof(s->socket), "%s/socket", s->root);
    snprintf(s->url, sizeof(s->url), "unix:%s", s->socket);
}

/* In the child: does not come back. */
static void become(const struct server *s, char *const *arguments)
{
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left behind */
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
        _exit(126);
    execv(arguments[0], arguments);
    perror(arguments[0]);
    _exit(127);
}

static pid_t launch(const struct server *s, char *const *arguments)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("crash: fork");
    if (pid == 0)
        become(s, arguments);
    return pid;
}

void server_start(struct server *s, const char *fsync)
{
    char *arguments[SERVER_FLAGS_MAX + 12] = {(char *)s->program, "--listen",      "none", "--unix",
                                              s->socket,          "--auto-create", "off"};
    int count = 7;

    if (s->memory) {
        arguments[count++] = "--memory";
    } else {
        arguments[count++] = "--dir";
        arguments[count++] = s->directory;
    }
    if (fsync != NULL && !s->memory) {
        arguments[count++] = "--fsync";
        arguments[count++] = (char *)fsync;
    }
    for (int i = 0; s->flags[i] != NULL; i++)
        arguments[count++] = (char *)s->flags[i];
    unlink(s->log); /* of the last run, which ended as it should */
    s->pid = launch(s, arguments);
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool server_has_ended(struct server *s, int *ret_code)
{
    int status;

    if (s->pid == 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
        return false;
    s->pid = 0;
    *ret_code = code_of(status);
    return true;
}

void server_kill(struct server *s)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    if (waitpid(s->pid, NULL, 0) != s->pid)
        fail("crash: waitpid");
    s->pid = 0;
}

void server_terminate(struct server *s)
{
    kill(s->pid, SIGTERM);
}

int server_check(struct server *s)
{
    char *arguments[] = {(char *)s->program, "--check", s->directory, NULL};
    pid_t pid;
    int status;

    unlink(s->log);
    pid = launch(s, arguments);
    if (waitpid(pid, &status, 0) != pid)
        fail("crash: waitpid");
    return code_of(status);
}

void server_tell_log(const struct server *s)
{
    char text[LOG_BYTES_TOLD];
    FILE *log = fopen(s->log, "r");

    if (log == NULL)
        return;
    size_t length = fread(text, 1, sizeof(text), log);
    fprintf(stderr, "crash: fanqd said:\n%.*s\n", (int)length, text);
    fclose(log);
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *where)
{
    return remove(path);
}

void server_remove(struct server *s)
{
    (void)nftw(s->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
