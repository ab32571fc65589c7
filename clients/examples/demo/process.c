#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { END_MS_MAX = 20000, POLL_MS = 2 };

/* In the child. */
static void run(const char *const argv[], const char *log, pid_t parent)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd < 0 || getppid() != parent) /* the parent may have died before the line above */
        _exit(126);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    execv(argv[0], (char *const *)argv);
    perror(argv[0]);
    _exit(127);
}

pid_t process_start(const char *const argv[], const char *log)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        run(argv, log, parent);
    return pid;
}

bool process_runs(pid_t pid, int *ret_status)
{
    return waitpid(pid, ret_status, WNOHANG) == 0;
}

int process_signal(pid_t pid, int number)
{
    int status = 0;

    kill(pid, number);
    for (long waited_ms = 0; waited_ms < END_MS_MAX; waited_ms += POLL_MS) {
        if (waitpid(pid, &status, WNOHANG | (number == SIGSTOP ? WUNTRACED : 0)) == pid)
            return status;
        sleep_ms(POLL_MS);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return status;
}

void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}
