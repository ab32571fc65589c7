/* Whether what the broker shows is what its commits say: every queue with every message and its history, every topic. */
#include <string.h>

#include "disk_world.h"
#include "proto/request.h"

enum { LOOK_CONNECTION = 1, LOOK_TURNS_MAX = 2000 };

struct disk_shown {
    uint32_t slot;
    bool seen[CRASH_UIDS];
    struct fanq_peek peek;
    bool answered, more;
    uint32_t topic;
    void (*read)(struct disk_world *w, const struct fanq_reply *reply);
};

/* ---- queues ---- */

static void shown_one(struct disk_world *w, const struct fanq_peeked_slice *p, uint32_t uid)
{
    struct disk_shown *s = w->shown;
    const struct crash_message *m = &w->truth.model.queues[s->slot].messages[uid];
    uint64_t due_ms = m->due_ms > w->truth.wall_ms ? m->due_ms - w->truth.wall_ms : 0;

    SIM_CHECK(!s->seen[uid], "queue %u has message %u twice", s->slot, uid);
    s->seen[uid] = true;
    if (w->seen != NULL)
        w->seen[s->slot][uid] = true;
    w->deliveries[s->slot][uid] = p->slice.deliveries;
    w->delays[s->slot][uid] = p->due_ms > 0 ? w->now_ms + p->due_ms : 0;
    if (w->truth.lossy)
        return;
    SIM_CHECK(m->there, "queue %u has message %u, which it should not", s->slot, uid);
    SIM_CHECK(p->slice.deliveries >= m->counted && p->slice.deliveries <= w->truth.delivered[s->slot][uid],
              "message %u of queue %u has %u deliveries, should be %u to %u", uid, s->slot,
              p->slice.deliveries, m->counted, w->truth.delivered[s->slot][uid]);
    SIM_CHECK(p->due_ms == due_ms && p->state == (due_ms > 0 ? FANQ_STATE_DELAYED : FANQ_STATE_READY),
              "message %u of queue %u is due in %lu, not in %lu", uid, s->slot, p->due_ms, due_ms);
}

static void shown_page(struct disk_world *w, const struct fanq_peeked *peeked)
{
    struct disk_shown *s = w->shown;

    for (uint32_t i = 0; i < peeked->slice_count; i++) {
        const uint8_t *at = peeked->slices[i].slice.records.data;

        for (uint32_t n = 0; n < peeked->slices[i].slice.records.count; n++, at += fanq_record_length(at))
            shown_one(w, &peeked->slices[i], record_read(w, at));
    }
    s->more = peeked->more;
    s->peek.after_valid = true;
    s->peek.after_stream = peeked->next_stream;
    s->peek.after_seq = peeked->next_seq;
}

static void read_page(struct disk_world *w, const struct fanq_reply *reply)
{
    bool alive = w->truth.model.queues[w->shown->slot].alive;

    w->shown->more = false;
    if (reply->op != FANQ_REPLY_ERROR) {
        SIM_CHECK(alive || w->truth.lossy, "queue %u is there again", w->shown->slot);
        shown_page(w, &reply->peeked);
    } else {
        SIM_CHECK(!alive || w->truth.lossy, "queue %u is lost", w->shown->slot);
    }
}

static void read_queue(struct disk_world *w, const struct fanq_reply *reply)
{
    const struct crash_queue *q = &w->truth.model.queues[w->shown->slot];

    SIM_CHECK(reply->op == FANQ_REPLY_ERROR || w->truth.lossy ||
                  (reply->queue.attributes.visibility_ms == q->visibility_ms &&
                   reply->queue.attributes.early_delivery == q->early),
              "queue %u has the wrong attributes", w->shown->slot);
}

/* ---- topics ---- */

static void read_topic(struct disk_world *w, const struct fanq_reply *reply)
{
    const struct crash_model *m = &w->truth.model;
    uint32_t topic = w->shown->topic, count = 0;

    if (w->truth.lossy)
        return;
    SIM_CHECK((reply->op == FANQ_REPLY_NAMES) == m->topics[topic], "topic %u is %s", topic,
              m->topics[topic] ? "lost" : "there again");
    for (uint32_t slot = 0; slot < CRASH_QUEUES && m->topics[topic]; slot++) {
        if (!m->queues[slot].subscribed[topic])
            continue;
        SIM_CHECK(count < reply->names.count &&
                      memcmp(reply->names.names[count].data, world_queue_names[slot], 1) == 0,
                  "queue %u has lost its subscription of topic %u", slot, topic);
        count++;
    }
    SIM_CHECK(reply->op != FANQ_REPLY_NAMES || count == reply->names.count, "topic %u has too many queues",
              topic);
}

/* ---- asking ---- */

void look_reply(struct disk_world *w, const struct fanq_reply *reply)
{
    SIM_CHECK(w->shown != NULL && !w->shown->answered, "an answer that nobody waits for");
    w->shown->answered = true;
    w->shown->read(w, reply);
}

/* What is not in memory is read from the disk: time stands still meanwhile, so that nothing else happens. */
static void ask(struct disk_world *w, struct fanq_request r)
{
    w->shown->answered = false;
    world_step(w, &(struct event){.kind = EVENT_REQUEST, .request = {LOOK_CONNECTION, &r}});
    for (uint32_t turns = 0; !w->shown->answered && w->error == 0; turns++) {
        SIM_CHECK(turns < LOOK_TURNS_MAX, "%s is never answered", fanq_op_name(r.op));
        world_turn(w, 0, 0);
        while (world_work(w, 100, 100))
            continue;
    }
}

static void look_at_queue(struct disk_world *w, uint32_t slot)
{
    struct disk_shown *s = w->shown;

    s->slot = slot;
    s->read = read_queue;
    ask(w, (struct fanq_request){.op = FANQ_OP_QUEUE_GET, .name = world_text(world_queue_names[slot])});
    memset(s->seen, 0, sizeof(s->seen));
    s->peek = (struct fanq_peek){.queue = world_text(world_queue_names[slot]),
                                 .messages_max = UINT32_MAX,
                                 .bytes_max = UINT32_MAX,
                                 .states = FANQ_STATE_ALL};
    s->read = read_page;
    s->more = true;
    while (s->more && w->error == 0)
        ask(w, (struct fanq_request){.op = FANQ_OP_PEEK, .peek = s->peek});
    for (uint32_t uid = 0; uid < w->truth.next_uid && w->error == 0 && !w->truth.lossy; uid++)
        SIM_CHECK(s->seen[uid] || !w->truth.model.queues[slot].messages[uid].there,
                  "queue %u has lost message %u", slot, uid);
}

void world_look(struct disk_world *w)
{
    struct disk_shown shown = {0};

    w->shown = &shown;
    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        look_at_queue(w, slot);
    shown.read = read_topic;
    for (shown.topic = 0; shown.topic < CRASH_TOPICS && w->error == 0; shown.topic++)
        ask(w,
            (struct fanq_request){.op = FANQ_OP_SUBSCRIPTION_LIST,
                                  .subscription_list = {.topic = world_text(world_topic_names[shown.topic]),
                                                        .limit = CRASH_QUEUES}});
    w->shown = NULL;
}
