#include "log_told.h"

#include <inttypes.h>
#include <string.h>

#include "log/place.h"
#include "unit.h"

/* ---- the sink ---- */

static int call(struct log_told *t)
{
    return t->fail_at > 0 && --t->fail_at == 0 ? -99 : 0;
}

static int tell_facts(void *context, const uint8_t *facts, uint64_t bytes, uint64_t count, bool of_checkpoint)
{
    struct log_told *t = context;

    if (of_checkpoint) {
        assert_int_equal(bytes, sizeof(t->checkpoint_number));
        assert_int_equal(count, 1);
        assert_int_equal(t->fact_count + t->block_count, 0);
        memcpy(&t->checkpoint_number, facts, bytes);
    } else {
        assert_true(t->fact_count < LOG_TOLD_MAX);
        assert_int_equal(bytes, LOG_DRAFT_FACT_BYTES);
        assert_int_equal(count, LOG_DRAFT_FACTS);
        memcpy(t->facts[t->fact_count++].bytes, facts, bytes);
    }
    return call(t);
}

static int tell_block(void *context, const struct block_header *block, uint64_t place, bool behind)
{
    struct log_told *t = context;

    assert_true(t->block_count < LOG_TOLD_MAX);
    t->blocks[t->block_count].header = *block;
    t->blocks[t->block_count].place = place;
    t->blocks[t->block_count++].behind = behind;
    return call(t);
}

static void tell_report(void *context, const char *text)
{
    struct log_told *t = context;

    t->reports++;
    strcpy(t->report, text);
}

struct recovery_options log_told_options(struct log_told *told, bool accept_loss, bool verify)
{
    return (struct recovery_options){.directory = &told->draft->directory,
                                     .sink = {told, tell_facts, tell_block, tell_report},
                                     .accept_loss = accept_loss,
                                     .verify = verify};
}

int log_recover_draft(struct log_told *ret_told, const struct log_draft *draft, bool accept_loss, bool verify)
{
    struct recovery_options options;

    ret_told->draft = draft;
    ret_told->checkpoint_number = 0;
    ret_told->fact_count = ret_told->block_count = ret_told->reports = 0;
    ret_told->fail_at = 0;
    ret_told->report[0] = '\0';
    options = log_told_options(ret_told, accept_loss, verify);
    return recovery_run(&options, &ret_told->recovered);
}

/* ---- the oracle ---- */

enum state { COMMIT_WHOLE, COMMIT_HEADER, COMMIT_BROKEN, COMMIT_REUSED };

static enum state state_of(const struct log_draft *d, const struct log_drafted *c)
{
    uint64_t offset = c->lsn % d->directory.segment_bytes, length;
    char name[DIRECTORY_NAME_BYTES_MAX];
    const uint8_t *content;

    directory_segment_name(name, DIRECTORY_LOG, c->lsn / d->directory.segment_bytes);
    content = sim_disk_content(d->disk, name, &length);
    if (content == NULL)
        return (c->lsn / d->directory.segment_bytes + 1) * d->directory.segment_bytes <= d->checkpoint_lsn
                   ? COMMIT_REUSED
                   : COMMIT_BROKEN;
    if (length >= offset + c->bytes && memcmp(content + offset, c->image, c->bytes) == 0)
        return COMMIT_WHOLE;
    if (length >= offset + sizeof(struct commit_header) &&
        memcmp(content + offset, c->image, sizeof(struct commit_header)) == 0)
        return COMMIT_HEADER;
    return COMMIT_BROKEN;
}

/* What is cut off knows what was on the disk as well. */
static uint64_t highest_synced(const struct log_draft *d, const struct log_drafted *commits, uint64_t count)
{
    uint64_t highest = 0;

    for (uint64_t i = 0; i < count; i++) {
        enum state state = state_of(d, &commits[i]);
        if ((state == COMMIT_WHOLE || state == COMMIT_HEADER) && commits[i].synced_lsn > highest)
            highest = commits[i].synced_lsn;
    }
    return highest;
}

/* The end of what something says was on the disk. */
static uint64_t proven_lsn(const struct log_draft *d)
{
    uint64_t said = highest_synced(d, d->commits, d->count), cut = highest_synced(d, d->cut, d->cut_count);

    said = said > cut ? said : cut;
    return said > d->checkpoint_lsn ? said : d->checkpoint_lsn;
}

/* The same as said by the run itself, or by the first commit in a segment of a later one. */
static uint64_t run_proven_lsn(const struct log_draft *d, uint64_t epoch)
{
    uint64_t proven = 0;

    for (uint64_t i = 0; i < d->count; i++) {
        const struct log_drafted *c = &d->commits[i];
        enum state state = state_of(d, c);
        uint64_t said = 0;
        if (state != COMMIT_WHOLE && state != COMMIT_HEADER)
            continue;
        if (c->epoch == epoch)
            said = c->synced_lsn;
        else if (c->lsn % d->directory.segment_bytes == 0 && i > 0 && c[-1].epoch == epoch)
            said = c[-1].end;
        proven = said > proven ? said : proven;
    }
    return proven;
}

/* Commits that are not told must not be missed: what is proven, below the checkpoint or behind it. When loss is accepted,
 * the next commit behind what is proven is told, too, and what continues it. */
void log_expect(const struct log_draft *d, struct log_expected *ret_expected)
{
    struct log_expected *e = ret_expected;
    uint64_t proven = proven_lsn(d);

    memset(e, 0, sizeof(*e));
    for (uint64_t i = 0; i < d->count; i++) {
        const struct log_drafted *c = &d->commits[i];
        enum state state = state_of(d, c);
        uint64_t previous_end = i > 0 ? c[-1].end : 0;
        bool behind_gap = i > 0 && e->lost[c->number - 1] && previous_end > d->checkpoint_lsn;

        e->lost[c->number] = state != COMMIT_WHOLE;
        if (c->end == d->checkpoint_lsn)
            e->last = c->number; /* as the checkpoint says */
        if (state == COMMIT_REUSED)
            continue;
        if (state != COMMIT_WHOLE && proven <= previous_end)
            break;
        if (state != COMMIT_WHOLE)
            e->damaged = true;
        else if (behind_gap && previous_end > run_proven_lsn(d, c->epoch))
            e->lost[c->number] = true;
        else
            e->last = c->number;
    }
}

/* ---- the comparison ---- */

#define CHECK(condition, format, ...)                                                                        \
    if (!(condition))                                                                                        \
    fail_msg("%s: " format " (last report: %s)", what, __VA_ARGS__, t->report)

static void check_facts(const struct log_told *t, const struct log_expected *e, const char *what)
{
    const struct log_draft *d = t->draft;
    size_t told = 0;

    for (uint64_t n = t->checkpoint_number + 1; n <= e->last; n++) {
        if (e->lost[n])
            continue;
        CHECK(told < t->fact_count, "the facts of commit %" PRIu64 " are missing", n);
        CHECK(log_drafted_has_facts(&d->commits[n - 1], t->facts[told].bytes, LOG_DRAFT_FACT_BYTES),
              "the facts of commit %" PRIu64 " are other ones", n);
        told++;
    }
    CHECK(told == t->fact_count, "%zu facts too many", t->fact_count - told);
}

static void check_blocks(const struct log_told *t, const struct log_expected *e, const char *what)
{
    const struct log_draft *d = t->draft;
    size_t told = 0;

    while (told < t->block_count && place_is_cold(t->blocks[told].place))
        told++;
    for (uint64_t n = 1; n <= e->last; n++) {
        const struct log_drafted *c = &d->commits[n - 1];
        for (uint32_t i = 0; i < c->block_count && !e->lost[n]; i++, told++) {
            CHECK(told < t->block_count, "block %u of commit %" PRIu64 " is missing", i, n);
            CHECK(log_drafted_has_block(c, i, &t->blocks[told].header, t->blocks[told].place),
                  "block %u of commit %" PRIu64 " is another", i, n);
            CHECK(t->blocks[told].behind == (n > t->checkpoint_number),
                  "block %u of commit %" PRIu64 " is on the wrong side of the checkpoint", i, n);
        }
    }
    CHECK(told == t->block_count, "%zu blocks too many", t->block_count - told);
}

void log_told_check(const struct log_told *t, const struct log_expected *e, bool accept_loss,
                    const char *what)
{
    const struct recovered *r = &t->recovered;
    uint64_t end = e->last > 0 ? t->draft->commits[e->last - 1].end : 0;

    CHECK(!e->damaged || t->reports > 0, "damage from commit %" PRIu64 " on is not reported", e->last);
    CHECK(r->damaged == (e->damaged && !accept_loss), "damaged is %d", r->damaged);
    if (r->damaged)
        return;
    CHECK(r->last_number == e->last, "the last commit is %" PRIu64 ", not %" PRIu64, r->last_number, e->last);
    CHECK(r->end_lsn == end, "the end is %" PRIu64 ", not %" PRIu64, r->end_lsn, end);
    CHECK(r->proven_lsn <= end, "more is proven than there is: %" PRIu64, r->proven_lsn);
    check_facts(t, e, what);
    check_blocks(t, e, what);
}
