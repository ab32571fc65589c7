#include "disk_probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"
#include "payload.h"
#include "proto/fanq_error.h"

enum { FILL_BYTES = 1024 * 1024 };

static int write_all(int fd, const uint8_t *data, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, data, length, (off_t)offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return FANQ_ERR_IO;
        data += written;
        length -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

/* Zeros that were written, unlike room that was only promised, need no change of the file's extents later. */
static int fill(struct disk_probe *probe)
{
    int err = 0;

    memset(probe->data, 0, FILL_BYTES);
    for (uint64_t offset = 0; offset < DISK_PROBE_FILE_BYTES && err == 0; offset += FILL_BYTES)
        err = write_all(probe->fd, probe->data, FILL_BYTES, offset);
    return err == 0 && fsync(probe->fd) != 0 ? FANQ_ERR_IO : err;
}

int disk_probe_open(struct disk_probe *probe, const char *path, struct bench_error *error)
{
    *probe = (struct disk_probe){.fd = -1, .data = malloc(DISK_PROBE_WRITE_BYTES_MAX)};
    if (probe->data == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    probe->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (probe->fd < 0 || fill(probe) != 0) {
        bench_fail(error, FANQ_ERR_IO, "cannot write %s: %s", path, strerror(errno));
        disk_probe_close(probe);
        return FANQ_ERR_IO;
    }
    payload_fill(probe->data, DISK_PROBE_WRITE_BYTES_MAX, 1);
    return 0;
}

void disk_probe_close(struct disk_probe *probe)
{
    if (probe->fd >= 0)
        close(probe->fd);
    free(probe->data);
    *probe = (struct disk_probe){.fd = -1};
}

int disk_probe_write(struct disk_probe *probe, uint32_t bytes)
{
    int err;

    assert(bytes > 0 && bytes <= DISK_PROBE_WRITE_BYTES_MAX);
    if (probe->offset + bytes > DISK_PROBE_FILE_BYTES)
        probe->offset = 0;
    err = write_all(probe->fd, probe->data, bytes, probe->offset);
    probe->offset += bytes;
    return err == 0 && fdatasync(probe->fd) != 0 ? FANQ_ERR_IO : err;
}

int disk_probe_run(struct disk_probe *probe, uint32_t write_bytes, uint32_t ms, struct bench_error *error,
                   double *ret_bytes_per_s)
{
    uint64_t start_ns = clock_ns(), now_ns, bytes = 0;

    do {
        if (disk_probe_write(probe, write_bytes) != 0)
            return bench_fail(error, FANQ_ERR_IO, "cannot write to the disk: %s", strerror(errno));
        bytes += write_bytes;
        now_ns = clock_ns();
    } while (now_ns < start_ns + (uint64_t)ms * 1000000);
    *ret_bytes_per_s = (double)bytes * 1e9 / (double)(now_ns - start_ns);
    return 0;
}
