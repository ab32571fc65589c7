/* Backups: see backup.h. */
#include "backup.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "connection.h"
#include "log/log.h"
#include "native.h"
#include "notice.h"
#include "shell.h"

enum { BACKUPS_MAX = 8 /* at a time */, REST_MS_MIN = 100, REST_MS_MAX = 10 * 1000 };

enum backup_state { BACKUP_ASKED, BACKUP_STILLS, BACKUP_HELD, BACKUP_ENDED };

struct backup {
    struct list link; /* in shell.backups */
    const struct connection *connection;
    enum backup_state state;
    uint64_t request_id; /* of the BACKUP */
    uint64_t end_lsn;    /* since it holds */
    const char *why;     /* it was ended */
};

/* ---- holds ----
 *
 * Holds that overlap are a chain: from the beginning of its first to the end of its last the log gives nothing
 * back. So the bound is the chain's, or two clients that take turns could keep the log for ever. And behind a chain no
 * hold begins for a while, or one that ends and begins again in the same turn could.
 *
 * The log owes in proportion to how long it was held, so it rests from holds for as long. What it owes is not asked:
 * while messages come there is always something. At the most REST_MS_MAX, in which it writes the checkpoint that tells
 * which segments nobody needs, and removes thousands; at the least REST_MS_MIN, so that what is begun comes to its end:
 * the next hold breaks off the moving of blocks. */

static bool holds(const struct backup *b)
{
    return b->state == BACKUP_STILLS || b->state == BACKUP_HELD;
}

static uint64_t chain_end_ms(const struct shell *s)
{
    return s->backup_chain_ms + s->config->backup_ms_max;
}

static bool may_hold(const struct shell *s)
{
    return s->backup_holds > 0 || s->now_ms >= s->backup_rest_end_ms;
}

static void hold_begin(struct shell *s, struct backup *b)
{
    if (s->backup_holds++ == 0)
        s->backup_chain_ms = s->now_ms;
    b->end_lsn = log_hold(s->log);
    b->state = BACKUP_STILLS;
}

static void hold_end(struct shell *s)
{
    uint64_t rest_ms = s->now_ms - s->backup_chain_ms;

    log_unhold(s->log);
    if (--s->backup_holds > 0)
        return;
    if (rest_ms < REST_MS_MIN)
        rest_ms = REST_MS_MIN;
    if (rest_ms > REST_MS_MAX)
        rest_ms = REST_MS_MAX;
    s->backup_rest_end_ms = s->now_ms + rest_ms;
}

/* ---- the list ---- */

static struct backup *backup_find(const struct shell *s, const struct connection *c)
{
    list_for_each (at, &s->backups) {
        struct backup *b = container_of(at, struct backup, link);
        if (b->connection == c)
            return b;
    }
    return NULL;
}

static void backup_forget(struct shell *s, struct backup *b)
{
    if (holds(b))
        hold_end(s);
    if (b->state != BACKUP_ENDED)
        s->backup_count--;
    list_remove(&b->link);
    free(b);
}

static int backup_new(struct shell *s, const struct connection *c, uint64_t request_id)
{
    struct backup *b = malloc(sizeof(*b));

    if (b == NULL)
        return FANQ_ERR_NOMEM;
    *b = (struct backup){.connection = c, .state = BACKUP_ASKED, .request_id = request_id};
    list_init(&b->link);
    list_append(&s->backups, &b->link);
    s->backup_count++;
    return 0;
}

/* ---- the answer ---- */

static struct fanq_bytes bytes_of(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

/* Both lists, one behind the other. Gives NULL when there is no memory. */
static uint64_t *list_segments(struct shell *s, uint64_t end_lsn, struct fanq_backup_reply *ret_lists)
{
    size_t count = log_needed_segments(s->log, false, end_lsn, NULL);
    size_t cold_count = log_needed_segments(s->log, true, end_lsn, NULL);
    uint64_t *numbers = arena_take(&s->effects.arena, (count + cold_count + 1) * sizeof(*numbers));

    if (numbers == NULL)
        return NULL;
    (void)log_needed_segments(s->log, false, end_lsn, numbers); /* as many as before */
    (void)log_needed_segments(s->log, true, end_lsn, numbers + count);
    ret_lists->segments = numbers;
    ret_lists->segment_count = (uint32_t)count;
    ret_lists->cold_segments = numbers + count;
    ret_lists->cold_segment_count = (uint32_t)cold_count;
    return numbers;
}

/* The files are still: says which. */
static void tell(struct shell *s, struct backup *b)
{
    struct connection *c = s->connections[b->connection->number];
    struct fanq_backup_reply told = {.directory = bytes_of(s->log_path),
                                     .directory_id = log_directory_id(s->log),
                                     .end_lsn = b->end_lsn,
                                     .segment_bytes = log_segment_bytes(s->log)};
    struct fanq_reply *reply;

    if (list_segments(s, b->end_lsn, &told) == NULL) {
        native_refuse(s, c, b->request_id, FANQ_ERR_NOMEM, NULL);
        backup_forget(s, b);
        return;
    }
    b->state = BACKUP_HELD;
    reply = native_reply_new(s, c, FANQ_REPLY_BACKUP, b->request_id);
    if (reply != NULL) /* else the connection is lost, and the backup with it */
        reply->backup = told;
    NOTICE_INFO("backup begun", "connection=%u end_lsn=%llu", c->number, (unsigned long long)b->end_lsn);
}

/* ---- asking ---- */

static bool is_this_machine(const struct sockaddr_storage *address)
{
    static const uint8_t mapped[13] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}; /* ::ffff:127.x.x.x */

    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *at = &((const struct sockaddr_in6 *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(at) || memcmp(at, mapped, sizeof(mapped)) == 0;
    }
    return false;
}

static bool is_local(const struct connection *c)
{
    struct sockaddr_storage peer = {0};
    int length = sizeof(peer);

    if (c->handle.type != UV_TCP)
        return true; /* a Unix socket */
    return uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &length) == 0 && is_this_machine(&peer);
}

/* What speaks against a backup: an error, with a text. */
static int object(const struct shell *s, const struct connection *c, const char **ret_why)
{
    const struct backup *before = backup_find(s, c);

    *ret_why = NULL;
    if (s->log == NULL) {
        *ret_why = "this broker keeps messages in memory only: there is nothing to back up";
        return FANQ_ERR_UNSUPPORTED;
    }
    if (!is_local(c)) {
        *ret_why = "a backup copies files: connect on the broker's machine, to 127.0.0.1 or its Unix socket";
        return FANQ_ERR_UNSUPPORTED;
    }
    if (before != NULL && before->state != BACKUP_ENDED) {
        *ret_why = "this connection has a backup under way";
        return FANQ_ERR_INVALID;
    }
    if (log_is_short(s->log)) {
        *ret_why = "the broker's disk is short of space: a backup would keep it from giving any back";
        return FANQ_ERR_NO_ROOM;
    }
    if (s->backup_count >= BACKUPS_MAX) {
        *ret_why = "too many backups are under way";
        return FANQ_ERR_LIMIT;
    }
    return 0;
}

void backup_begin(struct shell *s, struct connection *c, uint64_t request_id)
{
    const char *why;
    int err = object(s, c, &why);

    if (err == 0) {
        backup_close(s, c); /* one that was ended */
        err = backup_new(s, c, request_id);
    }
    if (err != 0)
        native_refuse(s, c, request_id, err, why);
    else
        backups_proceed(s);
}

/* ---- the end ---- */

void backup_end(struct shell *s, struct connection *c, uint64_t request_id)
{
    struct backup *b = backup_find(s, c);

    if (b == NULL || b->state == BACKUP_ASKED || b->state == BACKUP_STILLS) {
        native_refuse(s, c, request_id, FANQ_ERR_INVALID, "this connection has no backup to end");
        return;
    }
    if (b->state == BACKUP_ENDED)
        native_refuse(s, c, request_id, FANQ_ERR_BACKUP_ENDED, b->why);
    else
        (void)native_reply_new(s, c, FANQ_REPLY_OK, request_id); /* NULL: the connection is lost */
    backup_forget(s, b);
}

void backup_close(struct shell *s, struct connection *c)
{
    struct backup *b = backup_find(s, c);

    if (b != NULL)
        backup_forget(s, b);
}

/* By us. The client is told when it asks, or now, if it has no answer yet. */
static void cut_off(struct shell *s, struct backup *b, const char *why)
{
    NOTICE_WARNING("backup ended", "connection=%u why=\"%s\"", b->connection->number, why);
    if (b->state != BACKUP_HELD) {
        native_refuse(s, s->connections[b->connection->number], b->request_id, FANQ_ERR_BACKUP_ENDED, why);
        backup_forget(s, b);
        return;
    }
    hold_end(s);
    s->backup_count--;
    b->state = BACKUP_ENDED;
    b->why = why;
}

/* Gives why it must end, or NULL. */
static const char *must_end(const struct shell *s, const struct backup *b)
{
    if (log_is_short(s->log))
        return "the broker's disk got short of space";
    if (holds(b) && s->now_ms >= chain_end_ms(s))
        return "it took longer than backup_ms_max, with those that it overlapped";
    return NULL;
}

static void proceed(struct shell *s, struct backup *b)
{
    const char *why;

    if (b->state == BACKUP_ENDED)
        return;
    why = must_end(s, b);
    if (why != NULL) {
        cut_off(s, b, why);
        return;
    }
    if (b->state == BACKUP_ASKED && may_hold(s))
        hold_begin(s, b);
    if (b->state == BACKUP_STILLS && log_is_still(s->log, b->end_lsn))
        tell(s, b);
}

void backups_proceed(struct shell *s)
{
    struct list *at, *next;

    for (at = s->backups.next; at != &s->backups; at = next) {
        next = at->next;
        proceed(s, container_of(at, struct backup, link));
    }
}

uint64_t backups_next_ms(const struct shell *s)
{
    list_for_each (at, &s->backups) {
        const struct backup *b = container_of(at, struct backup, link);
        if (b->state != BACKUP_ENDED)
            return s->backup_holds > 0 ? chain_end_ms(s) : s->backup_rest_end_ms;
    }
    return UINT64_MAX;
}
