/* Backups: clients of this machine that copy the files of the directory while the broker goes on.
 *
 *     ASKED ──the log has rested──> STILLS ──the files are still──> HELD ──BACKUP_END, the connection ends──> gone
 *       |                            |                             |
 *       +────────────────────────────+──disk short, too long───────+──> ENDED: it is told so
 *
 * While any is STILLS or HELD the log is held (log_hold()), and so grows; therefore the bounds, and the rests. Loop thread only. */
#pragma once

#include <stdint.h>

struct connection;
struct shell;

/* BACKUP and BACKUP_END; each is answered, BACKUP perhaps in a later turn. */
void backup_begin(struct shell *s, struct connection *c, uint64_t request_id);
void backup_end(struct shell *s, struct connection *c, uint64_t request_id);

/* Answers those that waited for the files, and ends those that last too long or stand in the way. Behind storage_poll(). */
void backups_proceed(struct shell *s);
uint64_t backups_next_ms(const struct shell *s);

/* The connection has ended, and with it its backup. */
void backup_close(struct shell *s, struct connection *c);
