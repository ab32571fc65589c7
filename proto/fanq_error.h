/* The one list of errors: name, wire number, whether the same request may succeed later, text.
 *
 * The broker, the wire, the C client and the documentation all take their errors from here. A number is never
 * given a second meaning; new errors are appended. Functions return 0 or the negative of these numbers
 * (FANQ_ERR_... below); the wire carries the positive number. Installed with fanq.h. */
#ifndef FANQ_ERROR_H
#define FANQ_ERROR_H

#include <stdbool.h>

#ifndef FANQ_EXPORT
#if defined(__GNUC__)
#define FANQ_EXPORT __attribute__((visibility("default")))
#else
#define FANQ_EXPORT
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define FANQ_ERROR_LIST(X)                                                                                   \
    X(INVALID, 1, false, "an argument is outside its range")                                                 \
    X(NOMEM, 2, true, "out of memory")                                                                       \
    X(TIMEOUT, 3, true, "the time given for the call has passed")                                            \
    X(NOT_CONNECTED, 4, true, "not connected to a broker")                                                   \
    X(CLOSED, 5, false, "the client was closed before the request was sent")                                 \
    X(UNKNOWN, 6, true, "the connection ended before the answer came; the request may have been applied")    \
    X(PROTOCOL, 7, false, "the peer broke the protocol")                                                     \
    X(VERSION, 8, false, "no protocol version in common")                                                    \
    X(UNSUPPORTED, 9, false, "the broker does not know this operation")                                      \
    X(HELLO_REQUIRED, 10, false, "the first frame must be a HELLO")                                          \
    X(FRAME_TOO_BIG, 11, false, "the frame is longer than frame_bytes_max")                                  \
    X(BAD_RECORD, 12, false, "a record is malformed")                                                        \
    X(MESSAGE_TOO_BIG, 13, false, "the message is longer than message_bytes_max")                            \
    X(NAME_INVALID, 14, false,                                                                               \
      "a name is 1 to 80 characters (topics: 256) of A-Z, a-z, 0-9, hyphen and underscore")                  \
    X(QUEUE_NOT_FOUND, 15, false, "there is no queue of this name")                                          \
    X(TOPIC_NOT_FOUND, 16, false, "there is no topic of this name")                                          \
    X(RECEIPT_EXPIRED, 17, false, "the visibility timeout has passed")                                       \
    X(EXISTS, 18, false, "it exists already, with different attributes")                                     \
    X(NO_ROOM, 19, true, "the broker's memory or its disk is full; receive and delete messages, then retry")    \
    X(LIMIT, 20, true, "a limit of the broker is reached")                                                   \
    X(DRAINING, 21, true, "the broker is shutting down")                                                     \
    X(SUBSCRIPTION_NOT_FOUND, 22, false, "the queue is not subscribed to the topic")                         \
    X(IO, 23, true, "an operation of the system failed")                                                     \
    X(PUSH_EXISTS, 24, false, "the request id is already in use by a push on this connection")               \
    X(HELLO_TIMEOUT, 25, true, "no HELLO came in time")                                                      \
    X(BACKUP_ENDED, 26, false, "the broker has ended the backup: the copy is worth nothing")

enum fanq_error_number {
#define X(name, number, retryable, text) FANQ_ERR_##name = -(number),
    FANQ_ERROR_LIST(X)
#undef X
};

/* The text of an error; takes either sign. Static; never NULL ("unknown error"). Any thread. */
FANQ_EXPORT const char *fanq_strerror(int err);

/* "QUEUE_NOT_FOUND" for either sign; never NULL ("UNKNOWN_ERROR"). Any thread. */
FANQ_EXPORT const char *fanq_error_name(int err);

/* Whether the same request may succeed later. Any thread. */
FANQ_EXPORT bool fanq_error_retryable(int err);

#ifdef __cplusplus
}
#endif
#endif
