/* Memory by the program's means, bytes that grow, errors with their texts, the clock. */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void *fanq_memory_zeroed(const struct memory *memory, size_t bytes)
{
    void *new_memory = memory_resize(memory, NULL, bytes);

    if (new_memory != NULL)
        memset(new_memory, 0, bytes);
    return new_memory;
}

int fanq_buffer_reserve(const struct memory *memory, struct buffer *buffer, size_t bytes)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : 256;

    if (bytes <= buffer->capacity - buffer->length)
        return 0;
    while (capacity - buffer->length < bytes) {
        if (capacity > SIZE_MAX / 2)
            return FANQ_ERR_NOMEM;
        capacity *= 2;
    }
    uint8_t *data = memory_resize(memory, buffer->data, capacity);
    if (data == NULL)
        return FANQ_ERR_NOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

void fanq_buffer_close(const struct memory *memory, struct buffer *buffer)
{
    memory_free(memory, buffer->data);
    *buffer = (struct buffer){0};
}

void fanq_error_set(struct fanq_error *error, int code)
{
    fanq_error_set_text(error, code, "%s", code != 0 ? fanq_strerror(code) : "");
}

void fanq_error_set_text(struct fanq_error *error, int code, const char *format, ...)
{
    va_list arguments;

    error->code = code;
    error->retryable = code != 0 && fanq_error_retryable(code);
    error->name = code != 0 ? fanq_error_name(code) : "OK";
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format,
                    arguments); /* a text that is cut still says enough */
    va_end(arguments);
}

uint64_t fanq_clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock and a valid pointer */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
