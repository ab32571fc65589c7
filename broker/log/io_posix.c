/* The table over the system's own files.
 *
 * Names:  are relative to a file descriptor of the directory, so it may be moved, and the process may change its own.
 * Made:   files have mode 0600 and directories 0700: messages are nobody else's. A directory that had to be made is synced
 *         into its parent, or a power cut could take all of the log with it.
 * Pipes: and what else may be in the directory under our names is not waited for: it is no file that can be read at a place.
 * EINTR:  open, truncate and sync are tried again here: an interrupted one has not failed. */
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct posix {
    int directory;
    int lock; /* -1: none */
};

static int directory_of(void *context)
{
    return ((struct posix *)context)->directory;
}

static int error_of(int result)
{
    return result < 0 ? -errno : 0;
}

/* ---- files ---- */

static int posix_open(void *context, const char *name, unsigned how, int *ret_file)
{
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
                ((how & IO_WRITE) == 0  ? O_RDONLY
                 : (how & IO_READ) == 0 ? O_WRONLY
                                        : O_RDWR);
    int file = (int)TEMP_FAILURE_RETRY(
        openat(directory_of(context), name, (how & IO_CREATE) != 0 ? flags | O_CREAT : flags, 0600));

    if (file < 0)
        return -errno;
    *ret_file = file;
    return 0;
}

static void posix_close(void *context, int file)
{
    (void)close(file); /* what matters was synced, and told its errors then */
}

static int64_t posix_read_at(void *context, int file, void *data, size_t length, uint64_t offset)
{
    ssize_t n = pread(file, data, length, (off_t)offset);

    return n < 0 ? -errno : n;
}

static int64_t posix_write_at(void *context, int file, const struct iovec *parts, int part_count,
                              uint64_t offset)
{
    ssize_t n = pwritev(file, parts, part_count < IOV_MAX ? part_count : IOV_MAX, (off_t)offset);

    return n < 0 ? -errno : n;
}

static int posix_sync(void *context, int file)
{
    return error_of((int)TEMP_FAILURE_RETRY(fdatasync(file)));
}

static int posix_size(void *context, int file, uint64_t *ret_bytes)
{
    struct stat status;

    if (fstat(file, &status) != 0)
        return -errno;
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

static int posix_truncate(void *context, int file, uint64_t bytes)
{
    return error_of((int)TEMP_FAILURE_RETRY(ftruncate(file, (off_t)bytes)));
}

static int posix_allocate(void *context, int file, uint64_t bytes)
{
    int err = error_of((int)TEMP_FAILURE_RETRY(fallocate(file, 0, 0, (off_t)bytes)));

    return err == -EOPNOTSUPP || err == -ENOSYS ? 0 : err;
}

/* ---- the directory ---- */

static int posix_rename(void *context, const char *from, const char *to)
{
    return error_of(renameat(directory_of(context), from, directory_of(context), to));
}

static int posix_remove(void *context, const char *name)
{
    return error_of(unlinkat(directory_of(context), name, 0));
}

/* Some file systems have no such call for directories, and say EINVAL: there is nothing that we could do instead. */
static int sync_directory_fd(int directory)
{
    int err = error_of((int)TEMP_FAILURE_RETRY(fsync(directory)));

    return err == -EINVAL ? 0 : err;
}

static int posix_sync_directory(void *context)
{
    return sync_directory_fd(directory_of(context));
}

static int each_name(DIR *names, int (*each)(void *context, const char *name), void *each_context)
{
    struct dirent *entry;
    int result = 0;

    while (result == 0 && (errno = 0, entry = readdir(names)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = each(each_context, entry->d_name);
    }
    return result == 0 && errno != 0 ? -errno : result;
}

static int posix_list(void *context, int (*each)(void *context, const char *name), void *each_context)
{
    int own = openat(directory_of(context), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = own >= 0 ? fdopendir(own) : NULL;
    int result;

    if (names == NULL) {
        result = -errno;
        if (own >= 0)
            (void)close(own);
        return result;
    }
    result = each_name(names, each, each_context);
    (void)closedir(names);
    return result;
}

static int posix_lock(void *context, const char *name)
{
    struct posix *p = context;
    int file = -1, err = posix_open(context, name, IO_READ | IO_WRITE | IO_CREATE, &file);

    if (err != 0)
        return err;
    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        err = -errno;
        (void)close(file);
        return err;
    }
    if (p->lock >= 0)
        (void)close(p->lock);
    p->lock = file;
    return 0;
}

/* ---- making it ---- */

/* A directory that may be entered need not be readable for us; then its own sync is left to the system. */
static int sync_parent(int parent)
{
    int readable = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err;

    if (readable < 0)
        return errno == EACCES ? 0 : -errno;
    err = sync_directory_fd(readable);
    (void)close(readable);
    return err;
}

/* Goes into the directory `name` of the directory *at, and makes it if need be. Closes *at. */
static int step_into(int *at, const char *name)
{
    int err = mkdirat(*at, name, 0700) == 0 ? sync_parent(*at) : errno == EEXIST ? 0 : -errno;
    int next = err == 0 ? openat(*at, name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

    if (err == 0 && next < 0)
        err = -errno;
    (void)close(*at);
    *at = next;
    return err;
}

static int make_directories(const char *path)
{
    char name[NAME_MAX + 1];
    int at = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int err = at < 0 ? -errno : 0;

    while (err == 0 && *(path += strspn(path, "/")) != '\0') {
        size_t length = strcspn(path, "/");
        if (length > NAME_MAX) {
            err = -ENAMETOOLONG;
            break;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        err = step_into(&at, name);
        path += length;
    }
    if (at >= 0)
        (void)close(at);
    return err;
}

static int open_directory(const char *path, int *ret_directory)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = directory < 0 ? -errno : 0;

    if (err == -ENOENT) {
        err = make_directories(path);
        if (err == 0)
            err = error_of(directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    if (err == 0)
        *ret_directory = directory;
    return err;
}

int io_posix_new(const char *path, struct io *ret_io)
{
    struct posix *p = malloc(sizeof *p);
    int err;

    if (p == NULL)
        return -ENOMEM;
    p->lock = -1;
    err = open_directory(path, &p->directory);
    if (err != 0) {
        free(p);
        return err;
    }
    *ret_io = (struct io){
        .context = p,
        .open = posix_open,
        .close = posix_close,
        .read_at = posix_read_at,
        .write_at = posix_write_at,
        .sync = posix_sync,
        .size = posix_size,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .rename = posix_rename,
        .remove = posix_remove,
        .sync_directory = posix_sync_directory,
        .list = posix_list,
        .lock = posix_lock,
    };
    return 0;
}

void io_posix_free(struct io *io)
{
    struct posix *p = io->context;

    if (p == NULL)
        return;
    if (p->lock >= 0)
        (void)close(p->lock);
    (void)close(p->directory);
    free(p);
    *io = (struct io){0};
}
