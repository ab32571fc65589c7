/* Why no wake-up is lost. The thread falls asleep in this order, and a waker does the same crosswise:
 *
 *     thread                           waker
 *     asleep = true                    push
 *     fence                            fence
 *     work() once more: a pop          asleep?
 *
 * Of the two fences one is first. If it is the thread's, the waker sees asleep and wakes. If it is the waker's, the last
 * work() sees what was pushed. Without fences a processor may let both look before either has stored. From asleep on the
 * mutex decides: the waker clears asleep under it, and the thread waits under it only as long as asleep is set.
 *
 * A waker that finds the thread awake has read one word that seldom changes, so waking after every push costs next to
 * nothing. */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "proto/fanq_error.h"

struct worker {
    struct worker_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    atomic_bool asleep; /* set by the thread alone; cleared by it, or by a waker under the mutex */
    atomic_bool stopping;
};

static bool work(struct worker *w)
{
    return w->options.work(w->options.context);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    int err = clock_gettime(CLOCK_MONOTONIC, &now);

    assert(err == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* What comes soon after work is found without a system call on either side. Gives whether something came. */
static bool spin(struct worker *w)
{
    uint64_t end_ns;

    if (w->options.spin_us == 0)
        return false;
    end_ns = now_ns() + (uint64_t)w->options.spin_us * 1000;
    do {
        if (work(w))
            return true;
        pause_briefly();
    } while (now_ns() < end_ns && !atomic_load_explicit(&w->stopping, memory_order_relaxed));
    return false;
}

/* Waits until a waker has cleared asleep, or the time is over. */
static void wait_woken(struct worker *w, uint32_t sleep_ms)
{
    uint64_t end_ns = now_ns() + (uint64_t)sleep_ms * 1000000;
    struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000), .tv_nsec = (long)(end_ns % 1000000000)};
    int err = 0;

    pthread_mutex_lock(&w->mutex);
    while (err == 0 && atomic_load_explicit(&w->asleep, memory_order_relaxed)) {
        if (sleep_ms == UINT32_MAX)
            err = pthread_cond_wait(&w->woken, &w->mutex);
        else
            err = pthread_cond_timedwait(&w->woken, &w->mutex, &end);
    }
    pthread_mutex_unlock(&w->mutex);
    assert(err == 0 || err == ETIMEDOUT);
}

/* Sleeps, unless there is something to do after all. The work that is found here is done here: the caller goes on as if
 * it had been woken. */
static void sleep_until_woken(struct worker *w)
{
    atomic_store_explicit(&w->asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* with the one in worker_wake() */
    if (!atomic_load_explicit(&w->stopping, memory_order_relaxed) && !work(w))
        wait_woken(w, w->options.sleep_ms != NULL ? w->options.sleep_ms(w->options.context) : UINT32_MAX);
    atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
}

static void *worker_run(void *context)
{
    struct worker *w = context;

    for (;;) {
        /* Read before the work: what was pushed before worker_stop() is then seen by the work that follows (acquire, with
         * the release there), and only when that finds nothing the thread ends. */
        bool stopping = atomic_load_explicit(&w->stopping, memory_order_acquire);

        if (work(w) || spin(w))
            continue;
        if (stopping)
            return NULL;
        sleep_until_woken(w);
    }
}

/* Signals are for the loop: the new thread inherits that all are blocked. */
static int start_thread(struct worker *w)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    err = pthread_sigmask(SIG_SETMASK, &all, &before);
    assert(err == 0);
    err = pthread_create(&w->thread, NULL, worker_run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* worked a moment ago */
    if (err == 0)
        (void)pthread_setname_np(w->thread, w->options.name); /* for ps and debuggers: no harm without */
    return err;
}

/* The clock of timed waits must not jump. */
static int init_waiting(struct worker *w)
{
    pthread_condattr_t attributes;
    int err = pthread_condattr_init(&attributes);

    if (err != 0)
        return err;
    err = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    assert(err == 0);
    err = pthread_cond_init(&w->woken, &attributes);
    (void)pthread_condattr_destroy(&attributes); /* holds nothing */
    if (err != 0)
        return err;
    err = pthread_mutex_init(&w->mutex, NULL);
    if (err != 0)
        (void)pthread_cond_destroy(&w->woken); /* nobody waits */
    return err;
}

static void worker_free(struct worker *w)
{
    (void)pthread_mutex_destroy(&w->mutex); /* neither can fail: nobody holds it, nobody waits */
    (void)pthread_cond_destroy(&w->woken);
    free(w);
}

int worker_start(const struct worker_options *options, struct worker **ret_worker)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return FANQ_ERR_NOMEM;
    w->options = *options;
    if (init_waiting(w) != 0) {
        free(w);
        return FANQ_ERR_NOMEM;
    }
    if (start_thread(w) != 0) {
        worker_free(w);
        return FANQ_ERR_NOMEM;
    }
    *ret_worker = w;
    return 0;
}

void worker_wake(struct worker *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* with the one in sleep_until_woken() */
    if (!atomic_load_explicit(&w->asleep, memory_order_relaxed))
        return;
    pthread_mutex_lock(&w->mutex);
    atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->mutex);
    pthread_cond_signal(&w->woken); /* not before: the thread would wake only to wait for the mutex */
}

void worker_stop(struct worker *w)
{
    int err;

    if (w == NULL)
        return;
    atomic_store_explicit(&w->stopping, true, memory_order_release);
    worker_wake(w);
    err = pthread_join(w->thread, NULL);
    assert(err == 0);
    worker_free(w);
}
