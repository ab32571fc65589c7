/* What a recovery told, and what the book of a drafted log says that it must tell.
 *
 * The oracle knows nothing of hashes: a commit is whole when its bytes on the disk are those that were written. */
#pragma once

#include "log_draft.h"

enum { LOG_TOLD_MAX = 4096 };

struct log_told {
    const struct log_draft *draft;
    uint64_t checkpoint_number; /* of the last commit that the checkpoint has; 0: it told none */
    struct {
        uint8_t bytes[LOG_DRAFT_FACT_BYTES];
    } facts[LOG_TOLD_MAX]; /* of commits */
    size_t fact_count;
    struct {
        struct block_header header;
        uint64_t place;
        bool behind;
    } blocks[LOG_TOLD_MAX];
    size_t block_count;
    size_t reports;
    char report[512]; /* the last one */
    int fail_at;      /* the sink function that is called so many calls from now fails with -99; 0: none */
    struct recovered recovered;
};

/* Recovers; gives what recovery_run() gave. */
int log_recover_draft(struct log_told *ret_told, const struct log_draft *draft, bool accept_loss,
                      bool verify);
struct recovery_options log_told_options(struct log_told *told, bool accept_loss, bool verify);

struct log_expected {
    bool damaged;
    uint64_t last;           /* the number of the last commit */
    bool lost[LOG_TOLD_MAX]; /* by number: commits before it that cannot be told */
};

/* What is on the disk, and what must be made of it. A segment that is not there is taken as reused when it is below the
 * checkpoint. */
void log_expect(const struct log_draft *draft, struct log_expected *ret_expected);

/* Fails the test, with `what` in front, unless the recovery told this; all of it, if loss was accepted. */
void log_told_check(const struct log_told *told, const struct log_expected *expected, bool accept_loss,
                    const char *what);
