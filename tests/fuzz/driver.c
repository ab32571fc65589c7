/* Runs a fuzz target where libFuzzer is not at hand: a loop of random mutations of its seeds.
 *
 *   fuzz_NAME_driver [--runs N] [--seed S]     N inputs; says how to repeat the one that crashed
 *   fuzz_NAME_driver --seed S --run I          just this one
 *   fuzz_NAME_driver --write DIRECTORY         the seeds as files, for libFuzzer
 *
 * Each input depends on (seed, run) alone. It ends at an unreadable page, so that an over-read crashes
 * without a sanitizer too. */
#include "fuzz.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/guard.h"

enum { SEEDS_MAX = 512, INPUT_BYTES_MAX = 1 << 14, MUTATIONS_MAX = 8 };

struct seed {
    uint8_t *data;
    size_t size;
};

static struct seed seeds[SEEDS_MAX];
static size_t seed_count;

/* For the crash handler. */
static unsigned long long seed_now, run_now;

static void crashed(int signal_number)
{
    char line[160];
    int length = snprintf(line, sizeof(line), "crashed (signal %d); repeat with --seed %llu --run %llu\n",
                          signal_number, seed_now, run_now);

    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void seed_add(const void *data, size_t size)
{
    struct seed *seed = &seeds[seed_count++];

    FUZZ_CHECK(seed_count <= SEEDS_MAX);
    if (size > INPUT_BYTES_MAX)
        size = INPUT_BYTES_MAX;
    seed->data = (uint8_t *)malloc(size + 1);
    FUZZ_CHECK(seed->data != NULL);
    memcpy(seed->data, data, size);
    seed->size = size;
}

/* splitmix64: any state is as good as any other. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static size_t below(uint64_t *state, size_t bound)
{
    return (size_t)(next_random(state) % bound);
}

/* Bytes that mean something: msgpack's tags, and values at the edges. */
static uint8_t interesting_byte(uint64_t *state)
{
    static const uint8_t bytes[] = {0,    1,    0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf,
                                    0xc0, 0xc1, 0xc2, 0xc4, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcc, 0xcd, 0xce,
                                    0xcf, 0xd0, 0xd3, 0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xff};

    return bytes[below(state, sizeof(bytes))];
}

static size_t insert(uint8_t *data, size_t size, size_t at, const uint8_t *from, size_t length)
{
    if (length > INPUT_BYTES_MAX - size)
        length = INPUT_BYTES_MAX - size;
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, from, length);
    return size + length;
}

static size_t erase(uint8_t *data, size_t size, size_t at, size_t length)
{
    memmove(data + at, data + at + length, size - at - length);
    return size - length;
}

/* One change somewhere in data; gives the new size. */
static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
    const struct seed *other = &seeds[below(state, seed_count)];
    size_t at = below(state, size);
    size_t run_bytes = 1 + below(state, size - at < 16 ? size - at : 16);
    uint8_t bytes[16];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = interesting_byte(state);
    switch (below(state, 8)) {
    case 0:
        data[at] ^= (uint8_t)(1u << below(state, 8));
        return size;
    case 1:
        data[at] = bytes[0];
        return size;
    case 2:
        data[at] = (uint8_t)(data[at] + (below(state, 2) == 0 ? 1 : -1));
        return size;
    case 3:
        data[at] = (uint8_t)next_random(state);
        return size;
    case 4:
        return size > run_bytes ? erase(data, size, at, run_bytes) : size;
    case 5:
        return insert(data, size, at, bytes, run_bytes);
    case 6: /* a piece of another seed */
        at = at < other->size ? at : 0;
        return insert(data, size, at < size ? at : 0, other->data + at, below(state, other->size - at + 1));
    default:
        return at > 0 ? at : size; /* cut short */
    }
}

static void run(struct guard *guard)
{
    static uint8_t data[INPUT_BYTES_MAX];
    uint64_t state = seed_now * 0x9e3779b97f4a7c15u + run_now;
    const struct seed *seed = &seeds[below(&state, seed_count)];
    size_t size = seed->size;

    memcpy(data, seed->data, size);
    for (size_t left = below(&state, MUTATIONS_MAX + 1); left > 0 && size > 0; left--)
        size = mutate(data, size, &state);
    (void)LLVMFuzzerTestOneInput(guard_put(guard, data, size), size);
}

static int write_seeds(const char *directory)
{
    char path[4096];

    if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
        perror(directory);
        return 1;
    }
    for (size_t i = 0; i < seed_count; i++) {
        snprintf(path, sizeof(path), "%s/seed-%zu", directory, i);
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(seeds[i].data, 1, seeds[i].size, file) != seeds[i].size ||
            fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long long run_count = 100000, first = 0;
    const char *directory = NULL;
    struct guard guard;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--runs") == 0)
            run_count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed_now = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--run") == 0)
            first = strtoull(argv[i + 1], NULL, 10), run_count = 1;
        else if (strcmp(argv[i], "--write") == 0)
            directory = argv[i + 1];
    }
    fuzz_seeds(seed_add);
    if (directory != NULL)
        return write_seeds(directory);

    signal(SIGABRT, crashed);
    signal(SIGSEGV, crashed);
    guard_init(&guard, INPUT_BYTES_MAX);
    for (run_now = first; run_now < first + run_count; run_now++)
        run(&guard);
    printf("%llu inputs from %zu seeds\n", run_count, seed_count);
    guard_close(&guard);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].data);
    return 0;
}
