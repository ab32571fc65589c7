/* Names and texts of the errors, made from the one list. */
#include "fanq_error.h"

/* Either sign stands for the same error; the negative side holds every int's partner. */
static int negative(int err)
{
    return err > 0 ? -err : err;
}

const char *fanq_strerror(int err)
{
    switch (negative(err)) {
#define X(name, number, retryable, text)                                                                     \
    case -(number):                                                                                          \
        return text;
        FANQ_ERROR_LIST(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *fanq_error_name(int err)
{
    switch (negative(err)) {
#define X(name, number, retryable, text)                                                                     \
    case -(number):                                                                                          \
        return #name;
        FANQ_ERROR_LIST(X)
#undef X
    default:
        return "UNKNOWN_ERROR";
    }
}

bool fanq_error_retryable(int err)
{
    switch (negative(err)) {
#define X(name, number, retryable, text)                                                                     \
    case -(number):                                                                                          \
        return retryable;
        FANQ_ERROR_LIST(X)
#undef X
    default:
        return false;
    }
}
