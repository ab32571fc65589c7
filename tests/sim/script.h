/* Scripted runs: a few requests, one turn each, and a trace of what the broker did about them.
 *
 * Messages are words ("a b c"), queues are named, times count from the beginning of the script. So a
 * test reads like a log, and a difference shows at a glance what happened instead. Good answers are left
 * out of the trace. */
#pragma once

#include "sim.h"

enum {
    SCRIPT_WORDS_MAX = 4096,
    SCRIPT_QUEUES_MAX = 16,
    SCRIPT_REQUESTS_MAX = 4096,
    SCRIPT_TRACE_BYTES = 64 * 1024
};

/* Where a message was last delivered: acks name it by that. */
struct script_word {
    char word[16];
    uint64_t queue_id, batch, stream, seq;
};

struct script_queue {
    char name[16];
    uint64_t id;
};

struct script {
    struct sim *sim;
    uint64_t start_ms;
    bool turn_open; /* script_begin() */
    bool show_fetches, show_trims, show_answers;
    struct script_word words[SCRIPT_WORDS_MAX];
    uint32_t word_count;
    struct script_queue queues[SCRIPT_QUEUES_MAX];
    uint32_t queue_count;
    enum fanq_op ops[SCRIPT_REQUESTS_MAX]; /* by request id */
    uint64_t next_id;
    char trace[SCRIPT_TRACE_BYTES];
    size_t trace_length;
};

/* options may be NULL. */
struct script *script_new(const struct sim_options *options);
/* Deletes nothing, checks the core and frees it. */
void script_free(struct script *s);

void script_advance_ms(struct script *s, uint64_t ms); /* and a turn */
/* What stands between them happens in one turn. */
void script_begin(struct script *s);
void script_end(struct script *s);

/* All that follow give the request's id. */
uint64_t script_request(struct script *s, uint32_t connection, struct fanq_request *r);
uint64_t script_queue(struct script *s, const char *name, uint64_t visibility_ms);
uint64_t script_queue_early(struct script *s, const char *name, bool early); /* from now on */
uint64_t script_queue_delete(struct script *s, const char *name);
uint64_t script_purge(struct script *s, const char *name);
uint64_t script_count(struct script *s, const char *name); /* shows the queue's counts */
uint64_t script_topic(struct script *s, const char *name);
uint64_t script_topic_delete(struct script *s, const char *name);
uint64_t script_subscribe(struct script *s, const char *topic, const char *queue);
uint64_t script_unsubscribe(struct script *s, const char *topic, const char *queue);
uint64_t script_send(struct script *s, uint32_t connection, const char *queue, const char *words);
uint64_t script_publish(struct script *s, uint32_t connection, const char *topic, const char *words);
uint64_t script_peek(struct script *s, const char *queue, uint32_t messages_max);

/* queues: words. */
uint64_t script_receive(struct script *s, uint32_t connection, const char *queues, uint32_t messages_max,
                        uint64_t wait_ms);
uint64_t script_receive_bytes(struct script *s, uint32_t connection, const char *queues,
                              uint32_t messages_max, uint32_t bytes_max);
uint64_t script_push(struct script *s, uint32_t connection, const char *queue, enum fanq_push_mode mode,
                     uint64_t messages);
uint64_t script_push_bytes(struct script *s, uint32_t connection, const char *queue, uint64_t bytes);
uint64_t script_push_topic(struct script *s, uint32_t connection, const char *topic, uint64_t messages);
uint64_t script_push_stop(struct script *s, uint32_t connection, uint64_t push);
uint64_t script_credit(struct script *s, uint32_t connection, uint64_t push, uint64_t messages);

/* words as they were last delivered from the queue, all in one batch. */
uint64_t script_ack(struct script *s, uint32_t connection, const char *queue, const char *words);
uint64_t script_nack(struct script *s, uint32_t connection, const char *queue, const char *words,
                     uint64_t delay_ms);
uint64_t script_extend(struct script *s, uint32_t connection, const char *queue, const char *words,
                       uint64_t visibility_ms);

void script_disconnect(struct script *s, uint32_t connection);
void script_block(struct script *s, uint32_t connection);
void script_unblock(struct script *s, uint32_t connection);
void script_drain(struct script *s);

/* Compares the trace since the last time, and forgets it. */
void script_expect(struct script *s, const char *trace, const char *file, int line);
#define EXPECT_TRACE(s, trace) script_expect(s, trace, __FILE__, __LINE__)
