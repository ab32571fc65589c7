/* Frames and requests: what decodes re-encodes to something that decodes equal. */
#include "fuzz.h"

#include "tests/lib/wire_samples.h"

enum { INPUT_BYTES_MAX = 1 << 16, MESSAGE_BYTES_MAX = 1000 };

static void check_payload(struct fanq_bytes payload)
{
    static uint8_t buffer[FANQ_FRAME_HEADER_BYTES + INPUT_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_request request, again;
    struct fanq_bytes encoded;
    size_t need;

    int err = fanq_request_decode(payload, MESSAGE_BYTES_MAX, &request);
    if (err != 0) {
        FUZZ_CHECK(err == FANQ_ERR_PROTOCOL || err == FANQ_ERR_INVALID || err == FANQ_ERR_BAD_RECORD ||
                   err == FANQ_ERR_UNSUPPORTED);
        return;
    }
    fanq_request_encode(&w, &request); /* shortest forms: never longer than what came */
    FUZZ_CHECK(!w.full);
    FUZZ_CHECK(fanq_frame_next(buffer, fanq_writer_length(&w), INPUT_BYTES_MAX, &encoded, &need) == 1);
    FUZZ_CHECK(encoded.length <= payload.length);
    FUZZ_CHECK(fanq_request_decode(encoded, MESSAGE_BYTES_MAX, &again) == 0);
    FUZZ_CHECK(requests_equal(&request, &again));
}

/* The input is a stream of frames; and, because lengths are hard to guess, also one payload behind any four
 * bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fanq_bytes payload;
    size_t at = 0, need = 0;

    if (size > INPUT_BYTES_MAX)
        return 0;
    int found;
    while ((found = fanq_frame_next(data + at, size - at, INPUT_BYTES_MAX, &payload, &need)) == 1) {
        check_payload(payload);
        at += FANQ_FRAME_HEADER_BYTES + payload.length;
    }
    FUZZ_CHECK(found < 0 || need > size - at);
    if (size > FANQ_FRAME_HEADER_BYTES)
        check_payload((struct fanq_bytes){data + FANQ_FRAME_HEADER_BYTES, size - FANQ_FRAME_HEADER_BYTES});
    return 0;
}

static void add_request(const struct fanq_request *request, void *context)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    fanq_request_encode(&w, request);
    (*(fuzz_seed_add *)context)(buffer, fanq_writer_length(&w));
}

void fuzz_seeds(fuzz_seed_add add)
{
    each_request(add_request, &add);
}
