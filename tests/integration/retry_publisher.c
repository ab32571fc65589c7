/* Sends numbered messages to a queue, as many at a time as a window allows, and tells what became of them. Every 64th
 * goes to a queue that there cannot be: so seldom that the broker knows of all in a window that it refused them.
 *
 *     retry_publisher URL QUEUE COUNT       prints: applied N refused N open N */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fanq.h>

enum { WINDOW = 400, TO_NOWHERE_EVERY = 64, ROUND_MS = 20 };

struct totals {
    uint32_t applied, refused, open;
};

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct totals *totals = user;

    (void)client;
    if (sent->error.code == 0)
        totals->applied++;
    else if (sent->error.code == FANQ_ERR_UNSUPPORTED)
        totals->refused++;
    else
        totals->open++;
    if (sent->error.code != 0 && sent->error.code != FANQ_ERR_UNSUPPORTED)
        fprintf(stderr, "%s: %s\n", sent->error.name, sent->error.text);
}

static void send_number(struct fanq *client, const char *queue, uint32_t number, struct totals *totals)
{
    char body[200];
    struct fanq_content content = {.body = body, .body_bytes = 12 + number * 37 % 150};

    memset(body, '.', sizeof(body));
    (void)snprintf(body, sizeof(body), "%010u", number);
    if (fanq_send(client, number % TO_NOWHERE_EVERY == 0 ? "nowhere.fifo" : queue, &content, on_sent,
                  totals) != 0)
        abort();
}

int main(int argc, char **argv)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct totals totals = {0};
    uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    struct fanq *client;

    options.gather_count_max = 7;
    options.reconnect_ms_min = 1;
    options.reconnect_ms_max = 20;
    options.request_timeout_ms = 60000;
    if (count == 0 || fanq_open(argv[1], &options, &client) != 0)
        return 2;
    for (uint32_t number = 0; totals.applied + totals.refused + totals.open < count;) {
        while (number < count && fanq_pending_requests(client) < WINDOW)
            send_number(client, argv[2], number++, &totals);
        if (fanq_run(client, ROUND_MS) != 0)
            return 1;
    }
    fanq_free(client);
    printf("applied %u refused %u open %u\n", totals.applied, totals.refused, totals.open);
    return 0;
}
