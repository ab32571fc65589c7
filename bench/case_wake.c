/* From a send to the waking of an idle long poll, beside a bare echo over the same kind of sockets.
 *
 * Nothing else goes on: one connection waits in a receive, another sends one message, and the time runs until
 * the first has it in hand. The echo takes as many bytes in and gives as many out as the broker, from and to
 * the same kinds of sockets. Between two samples is a pause in which all fall asleep. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "ceiling.h"
#include "control.h"
#include "exchange.h"
#include "histogram.h"
#include "link.h"
#include "report.h"

enum { SIZE = 128, SAMPLES = 400, WARMUP_SAMPLES = 50, PAUSE_US = 500 };

static const char queue[] = "bench-wake";

struct wake {
    const struct case_options *options;
    struct bench_error *error;
    struct control sender;
    struct control receiver;
    struct ceiling echo;
    int echo_from;
    int echo_to;
    struct exchange_frame send;     /* of one message */
    struct exchange_frame delivery; /* what came for it */
    struct histogram broker_ns;
    struct histogram echo_ns;
};

static void pause_us(long us)
{
    struct timespec step = {0, us * 1000};

    nanosleep(&step, NULL);
}

/* ---- the broker ---- */

static int ask_receive(struct wake *wake)
{
    struct fanq_request request = {.op = FANQ_OP_RECEIVE,
                                   .receive = {.queues = {FANQ_BYTES("bench-wake")},
                                               .queue_count = 1,
                                               .messages_max = 10,
                                               .bytes_max = 64 * 1024,
                                               .wait_ms = 60 * 1000,
                                               .visibility_ms = FANQ_QUEUE_DEFAULT,
                                               .flags = FANQ_RECEIVE_AUTO_DELETE}};

    return control_send(&wake->receiver, &request);
}

/* The message that was sent, and the answer to the send. */
static int check_sample(struct wake *wake)
{
    struct fanq_bytes delivery = {wake->delivery.data + FANQ_FRAME_HEADER_BYTES,
                                  wake->delivery.bytes - FANQ_FRAME_HEADER_BYTES};
    struct fanq_delivery_reader reader;
    struct exchange_frame answer;
    struct fanq_slice slice;
    int err;

    if (fanq_delivery_open(delivery, &reader) != 0 || fanq_delivery_next(&reader, &slice) != 1 ||
        slice.records.count != 1 || slice.records.length != SIZE + FANQ_RECORD_PLAIN_BYTES)
        return bench_fail(wake->error, FANQ_ERR_PROTOCOL, "the long poll was not answered with the message");
    err = exchange_read(wake->sender.fd, wake->error, &answer);
    return err == 0 ? exchange_check_taken(&answer, wake->error) : err;
}

static int broker_sample(struct wake *wake, uint64_t *ret_ns)
{
    uint64_t start_ns;
    int err = ask_receive(wake);

    if (err != 0)
        return err;
    pause_us(PAUSE_US);
    start_ns = clock_ns();
    if (link_write(wake->sender.fd, wake->send.data, wake->send.bytes) != 0)
        return bench_fail(wake->error, FANQ_ERR_NOT_CONNECTED, "the broker closed a connection");
    err = exchange_read(wake->receiver.fd, wake->error, &wake->delivery);
    *ret_ns = clock_ns() - start_ns;
    return err == 0 ? check_sample(wake) : err;
}

/* ---- the echo ---- */

static int echo_sample(struct wake *wake, uint64_t *ret_ns)
{
    uint8_t buffer[EXCHANGE_FRAME_BYTES_MAX];
    uint64_t start_ns;
    int err;

    pause_us(PAUSE_US);
    start_ns = clock_ns();
    err = link_write(wake->echo_from, wake->send.data, wake->send.bytes);
    if (err == 0)
        err = link_read(wake->echo_to, buffer, wake->send.bytes);
    *ret_ns = clock_ns() - start_ns;
    return err == 0 ? 0 : bench_fail(wake->error, err, "the echo failed");
}

static int echo_open(struct wake *wake)
{
    int err = ceiling_start_echo(&wake->echo, wake->error);

    if (err == 0)
        err = link_connect(wake->echo.process.url, wake->error, &wake->echo_from);
    if (err == 0)
        err = link_connect(wake->echo.process.url, wake->error, &wake->echo_to);
    return err;
}

static void echo_close(struct wake *wake)
{
    if (wake->echo_from >= 0)
        close(wake->echo_from);
    if (wake->echo_to >= 0)
        close(wake->echo_to);
    ceiling_stop(&wake->echo);
}

/* ---- rounds ---- */

typedef int sample_function(struct wake *wake, uint64_t *ret_ns);

static int wake_round(struct wake *wake, sample_function *sample, struct histogram *histogram)
{
    for (int i = 0; i < WARMUP_SAMPLES + SAMPLES; i++) {
        uint64_t ns = 0;
        int err = sample(wake, &ns);

        if (err != 0)
            return err;
        if (i >= WARMUP_SAMPLES)
            histogram_add(histogram, ns, 1);
    }
    return 0;
}

static int wake_rounds(struct wake *wake)
{
    int err = 0;

    for (uint32_t i = 0; i < wake->options->round_count && err == 0; i++) {
        report_progress("wake: round %u of %u", i + 1, wake->options->round_count);
        err = wake_round(wake, broker_sample, &wake->broker_ns);
        if (err == 0)
            err = wake_round(wake, echo_sample, &wake->echo_ns);
    }
    return err;
}

static void wake_report(const struct wake *wake)
{
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "wake"},
        {"size", "bytes", FIGURE_COUNT, .value = SIZE},
        {"p50_us", "p50 us", FIGURE_RATIO, .value = (double)histogram_quantile(&wake->broker_ns, 0.5) / 1000},
        {"p99_us", "p99 us", FIGURE_RATIO,
         .value = (double)histogram_quantile(&wake->broker_ns, 0.99) / 1000},
        {"echo_p50_us", "echo p50 us", FIGURE_RATIO,
         .value = (double)histogram_quantile(&wake->echo_ns, 0.5) / 1000},
        {"echo_p99_us", "echo p99 us", FIGURE_RATIO,
         .value = (double)histogram_quantile(&wake->echo_ns, 0.99) / 1000},
        {"samples", NULL, FIGURE_COUNT, .value = (double)wake->broker_ns.count},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int wake_measure(struct wake *wake)
{
    int err = control_queue_create(&wake->sender, queue);

    if (err == 0)
        err = exchange_prepare_send(queue, SIZE, wake->error, &wake->send);
    if (err == 0)
        err = wake_rounds(wake);
    if (err == 0)
        err = control_queue_delete(&wake->sender, queue);
    if (err == 0)
        wake_report(wake);
    return err;
}

int case_wake(const struct case_options *options, struct bench_error *error)
{
    struct wake *wake = calloc(1, sizeof *wake);
    int err;

    if (wake == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    wake->options = options;
    wake->error = error;
    wake->echo_from = wake->echo_to = wake->sender.fd = wake->receiver.fd = -1;
    histogram_init(&wake->broker_ns);
    histogram_init(&wake->echo_ns);
    err = echo_open(wake); /* first, so that the child does not inherit connections to the broker */
    if (err == 0)
        err = control_open(&wake->sender, options->url, error);
    if (err == 0)
        err = control_open(&wake->receiver, options->url, error);
    if (err == 0)
        err = wake_measure(wake);
    control_close(&wake->sender);
    control_close(&wake->receiver);
    echo_close(wake);
    free(wake);
    return err;
}
