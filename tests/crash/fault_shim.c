/* Stands between a broker and its disk (LD_PRELOAD), and does to writes and syncs what a test asks for while it runs.
 *
 * The test makes a file of a struct faults and names it in FAULT_SHIM; both map it. FAULT_SHIM_HOLD_BACK alone makes a broker that
 * answers what is not written, for the test of a test. Only files are meant whose names begin as
 * segments of the log do: other files go through unseen, but for `full`, which means the whole disk. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The test has the same in Python: eight-byte words in this order. */
struct faults {
    _Atomic uint64_t fail_syncs;  /* so many of the next syncs fail with EIO */
    _Atomic uint64_t fail_writes; /* the same of writes */
    _Atomic uint64_t full; /* while not 0: the disk is full; what makes a file longer fails with ENOSPC */
    _Atomic uint64_t sync_delay_ms; /* each sync takes longer by this */
    _Atomic uint64_t
        hold_back; /* while not 0: a write is told to be done, and done when the next one comes */
    _Atomic uint64_t syncs_begun, syncs_ended;
    _Atomic uint64_t full_told; /* how often something was refused because the disk is full */
};

static struct faults *faults; /* NULL: nothing is asked for */

static ssize_t (*real_pwritev)(int file, const struct iovec *parts, int count, off_t offset);
static ssize_t (*real_pwrite)(int file, const void *data, size_t length, off_t offset);
static int (*real_fdatasync)(int file);
static int (*real_fallocate)(int file, int mode, off_t offset, off_t length);

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (function == NULL)
        abort();
    return function;
}

__attribute__((constructor)) static void begin(void)
{
    static struct faults early = {.hold_back = 1};
    const char *path = getenv("FAULT_SHIM");
    int file = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    *(void **)&real_pwritev = real("pwritev");
    *(void **)&real_pwrite = real("pwrite");
    *(void **)&real_fdatasync = real("fdatasync");
    *(void **)&real_fallocate = real("fallocate");
    if (getenv("FAULT_SHIM_HOLD_BACK") != NULL)
        faults = &early;
    if (file < 0)
        return;
    faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (faults == MAP_FAILED)
        abort();
    (void)close(file);
}

static bool is_segment(int file)
{
    char link[32], path[4096];
    ssize_t length;
    const char *name;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    name = strrchr(path, '/');
    return name != NULL && strncmp(name, "/log-", 5) == 0 && strchr(name, '.') == NULL; /* not an index */
}

static bool counts_down(_Atomic uint64_t *count)
{
    if (*count == 0)
        return false;
    --*count;
    return true;
}

static bool refuses(int file, off_t end)
{
    struct stat status;

    if (faults->full == 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || end <= status.st_size)
        return false;
    faults->full_told++;
    errno = ENOSPC;
    return true;
}

/* ---- a broker that answers too early ---- */

/* On the one thread that writes segments. */
static struct {
    uint8_t *data;
    size_t length;
    off_t offset;
    int file;
} held;

static void write_held(void)
{
    if (held.data != NULL)
        (void)real_pwrite(held.file, held.data, held.length, held.offset);
    free(held.data);
    held.data = NULL;
}

static ssize_t hold(int file, const struct iovec *parts, int count, off_t offset)
{
    size_t at = 0;

    write_held();
    held.length = 0;
    for (int i = 0; i < count; i++)
        held.length += parts[i].iov_len;
    held.data = malloc(held.length);
    held.file = dup(file); /* left open: it is the test of a test */
    held.offset = offset;
    if (held.data == NULL || held.file < 0)
        abort();
    for (int i = 0; i < count; at += parts[i++].iov_len)
        memcpy(held.data + at, parts[i].iov_base, parts[i].iov_len);
    return (ssize_t)held.length;
}

/* ---- what is called instead ---- */

static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t offset)
{
    off_t end = offset;

    if (faults == NULL)
        return real_pwritev(file, parts, count, offset);
    for (int i = 0; i < count; i++)
        end += (off_t)parts[i].iov_len;
    if (refuses(file, end))
        return -1;
    if (!is_segment(file))
        return real_pwritev(file, parts, count, offset);
    if (counts_down(&faults->fail_writes)) {
        errno = EIO;
        return -1;
    }
    return faults->hold_back != 0 ? hold(file, parts, count, offset)
                                  : real_pwritev(file, parts, count, offset);
}

__attribute__((visibility("default"))) ssize_t pwritev(int file, const struct iovec *parts, int count,
                                                       off_t offset)
{
    return write_parts(file, parts, count, offset);
}

__attribute__((visibility("default"))) ssize_t pwrite(int file, const void *data, size_t length, off_t offset)
{
    return write_parts(file, &(struct iovec){(void *)data, length}, 1, offset);
}

static int sync_segment(int file)
{
    uint64_t delay_ms = faults->sync_delay_ms;
    int result;

    faults->syncs_begun++;
    if (delay_ms != 0)
        nanosleep(&(struct timespec){(time_t)(delay_ms / 1000), (long)(delay_ms % 1000) * 1000000}, NULL);
    result = real_fdatasync(file);
    if (counts_down(&faults->fail_syncs)) {
        errno = EIO;
        result = -1;
    }
    faults->syncs_ended++;
    return result;
}

__attribute__((visibility("default"))) int fdatasync(int file)
{
    return faults != NULL && is_segment(file) ? sync_segment(file) : real_fdatasync(file);
}

__attribute__((visibility("default"))) int fallocate(int file, int mode, off_t offset, off_t length)
{
    if (faults != NULL && refuses(file, offset + length))
        return -1;
    return real_fallocate(file, mode, offset, length);
}
