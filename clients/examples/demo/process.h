/* Programs of the demo: started, stopped and ended by their process id. They end with the demo, however that
 * ends. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Starts argv[0]; what it says (stdout and stderr) goes to the file log. Gives the process id, or -1. */
pid_t process_start(const char *const argv[], const char *log);

/* Whether it still runs; reaps it if not, with *ret_status as from waitpid(). */
bool process_runs(pid_t pid, int *ret_status);

/* Sends the signal and waits for what it brings about: the stop after SIGSTOP, else the end. Gives
 * waitpid()'s status; after 20 s of waiting it kills, and the status says so. */
int process_signal(pid_t pid, int number);

/* Sleeps; shortened by signals. */
void sleep_ms(long ms);
