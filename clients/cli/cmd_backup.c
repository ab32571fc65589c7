/* fanq backup: a copy of the broker's directory, made while the broker runs.
 *
 * The broker leaves its files alone from the answer to BACKUP until BACKUP_END (PROTOCOL.md); we copy them as the user that
 * it runs as, into DIRECTORY.new, which becomes DIRECTORY when all is on the disk and BACKUP_END was answered OK. "identity"
 * comes last: half a copy is no directory of a broker. "epoch" is not copied: a broker on the copy begins far above all
 * epochs of the original, so that no id is ever given out twice. */
#include "cli.h"

#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PIECE_BYTES = 1024 * 1024,
    PATH_BYTES_MAX = 4096,
    NAME_BYTES = 64,
    IDENTITY_ID_OFFSET = 16, /* of the directory's id, little-endian */
    CHECK_FINE = 0,          /* exit codes of fanqd --check */
    CHECK_DAMAGED = 1
};

struct copy {
    struct cli *cli;
    const struct fanq_backup *backup;
    char path[PATH_BYTES_MAX]; /* DIRECTORY */
    char new_path[PATH_BYTES_MAX + 4];
    int from, to; /* directories; -1: not open */
    uint8_t *piece;
    uint64_t files, bytes;
    struct progress progress;
};

/* ---- one file ---- */

/* The connection is kept up, and looked at: with it the broker's word ends. 0 or an exit code. */
static int keep_connection(struct copy *copy)
{
    struct cli *cli = copy->cli;

    (void)cli_turn(cli, -1, 0);
    if (cli_signal() != 0)
        return EXIT_SIGNAL + cli_signal();
    if (fanq_state(cli->client) == FANQ_CLIENT_READY)
        return 0;
    return cli_fail(EXIT_CONNECTION, "the connection to the broker was lost, and the backup with it");
}

/* name "": the directory itself. */
static int fail_at(const char *doing, const char *directory, const char *name)
{
    int reason = errno;

    cli_fail(EXIT_FAILED, "cannot %s %s%s%s: %s", doing, directory, name[0] != '\0' ? "/" : "", name,
             strerror(reason));
    if (reason == EACCES || reason == EPERM)
        cli_hint("run it as the user that fanqd runs as, with a DIRECTORY where that user may write");
    return EXIT_FAILED;
}

static bool write_all(int file, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(file, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* The first bytes_max bytes, or what there is of them. Gives how many in *ret_bytes. */
static int copy_bytes(struct copy *copy, int in, int out, const char *name, uint64_t bytes_max,
                      uint64_t *ret_bytes)
{
    uint64_t done = 0;

    while (done < bytes_max) {
        uint64_t left = bytes_max - done;
        int code = keep_connection(copy);
        ssize_t got;

        if (code != 0)
            return code;
        got = read(in, copy->piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_at("read", copy->backup->directory, name);
        if (got == 0)
            break;
        if (!write_all(out, copy->piece, (size_t)got))
            return fail_at("write", copy->new_path, name);
        done += (uint64_t)got;
        copy->bytes += (uint64_t)got;
        progress_show(&copy->progress, copy->bytes / PIECE_BYTES);
    }
    *ret_bytes = done;
    return 0;
}

/* What there must be of a file: nothing, not even the file itself; the file; all bytes_max bytes of it. */
enum need { NEED_NOTHING, NEED_FILE, NEED_ALL };

static int copy_file(struct copy *copy, const char *name, uint64_t bytes_max, enum need need)
{
    int in = openat(copy->from, name, O_RDONLY | O_CLOEXEC);
    int out, code;
    uint64_t bytes = 0;

    if (in < 0 && errno == ENOENT && need == NEED_NOTHING)
        return 0;
    if (in < 0)
        return fail_at("read", copy->backup->directory, name);
    out = openat(copy->to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        code = fail_at("make", copy->new_path, name);
    else
        code = copy_bytes(copy, in, out, name, bytes_max, &bytes);
    if (code == 0 && need == NEED_ALL && bytes < bytes_max)
        code = cli_fail(EXIT_FAILED, "%s/%s is shorter than the broker says", copy->backup->directory, name);
    if (code == 0 && fsync(out) != 0)
        code = fail_at("write", copy->new_path, name);
    if (out >= 0 && close(out) != 0 && code == 0)
        code = fail_at("write", copy->new_path, name);
    close(in);
    copy->files++;
    return code;
}

/* ---- all files ---- */

static int copy_segment(struct copy *copy, const char *kind, uint64_t number, uint64_t bytes, enum need need)
{
    char name[NAME_BYTES];
    int code;

    snprintf(name, sizeof(name), "%s-%016" PRIx64, kind, number);
    code = copy_file(copy, name, bytes, need);
    if (code != 0)
        return code;
    snprintf(name, sizeof(name), "%s-%016" PRIx64 ".index", kind, number);
    return copy_file(copy, name, UINT64_MAX, NEED_NOTHING);
}

static int copy_segments(struct copy *copy)
{
    const struct fanq_backup *b = copy->backup;
    int code = 0;

    for (size_t i = 0; code == 0 && i < b->segment_count; i++) {
        uint64_t left = b->end_lsn - b->segments[i] * b->segment_bytes;
        bool is_last = left <= b->segment_bytes; /* it is cut where the backup ends */
        code = copy_segment(copy, "log", b->segments[i], is_last ? left : b->segment_bytes,
                            is_last ? NEED_ALL : NEED_FILE);
    }
    for (size_t i = 0; code == 0 && i < b->cold_segment_count; i++)
        code = copy_segment(copy, "cold", b->cold_segments[i], b->segment_bytes, NEED_FILE);
    return code;
}

static int copy_files(struct copy *copy)
{
    int code = copy_file(copy, "checkpoint-a", UINT64_MAX, NEED_NOTHING);

    if (code == 0)
        code = copy_file(copy, "checkpoint-b", UINT64_MAX, NEED_NOTHING);
    if (code == 0)
        code = copy_segments(copy);
    if (code == 0)
        code = copy_file(copy, "identity", UINT64_MAX, NEED_FILE);
    if (code == 0 && fsync(copy->to) != 0)
        code = fail_at("write", copy->path, "");
    return code;
}

/* ---- the directories ---- */

/* The broker's path may lead elsewhere for us, as when one of us is in a container. */
static int check_identity(const struct copy *copy)
{
    const char *directory = copy->backup->directory;
    int file = openat(copy->from, "identity", O_RDONLY | O_CLOEXEC);
    uint8_t data[IDENTITY_ID_OFFSET + 8];
    uint64_t id = 0;
    ssize_t got;

    if (file < 0 && errno != ENOENT)
        return fail_at("read", directory, "identity");
    got = file >= 0 ? read(file, data, sizeof(data)) : 0;
    if (file >= 0)
        close(file);
    for (int i = 7; i >= 0 && got == (ssize_t)sizeof(data); i--)
        id = id << 8 | data[IDENTITY_ID_OFFSET + i];
    if (got == (ssize_t)sizeof(data) && id == copy->backup->directory_id)
        return 0;
    cli_fail(EXIT_FAILED, "%s is not the broker's directory, though it has that name there", directory);
    cli_hint("is the broker in a container? run fanq backup there");
    return EXIT_FAILED;
}

static int open_source(struct copy *copy)
{
    const char *directory = copy->backup->directory;

    copy->from = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy->from >= 0)
        return check_identity(copy);
    if (errno == EACCES || errno == EPERM)
        return fail_at("read", directory, "");
    cli_fail(EXIT_FAILED, "cannot read the broker's directory %s: %s", directory, strerror(errno));
    cli_hint("is the broker in a container? run fanq backup there");
    return EXIT_FAILED;
}

static int make_target(struct copy *copy)
{
    if (mkdir(copy->new_path, 0700) != 0) {
        if (errno != EEXIST)
            return fail_at("make", copy->new_path, "");
        cli_fail(EXIT_FAILED, "%s exists already", copy->new_path);
        cli_hint("if no other backup runs, one was cut off there: remove it");
        return EXIT_FAILED;
    }
    copy->to = open(copy->new_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy->to < 0)
        return fail_at("open", copy->new_path, "");
    return 0;
}

/* Half a copy goes again; it is ours, for we made it. */
static void remove_target(struct copy *copy)
{
    DIR *list = fdopendir(copy->to);
    struct dirent *entry;

    while (list != NULL && (entry = readdir(list)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(copy->to, entry->d_name, 0);
    if (list != NULL)
        closedir(list); /* with the descriptor */
    else
        close(copy->to);
    copy->to = -1;
    if (rmdir(copy->new_path) != 0)
        cli_hint("half of it is left in %s", copy->new_path);
}

static void sync_parent(const struct copy *copy)
{
    char parent[PATH_BYTES_MAX];
    char *slash;
    int directory;

    snprintf(parent, sizeof(parent), "%s", copy->path);
    slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent] = '\0';
    directory = open(slash != NULL ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || fsync(directory) != 0)
        cli_hint("%s may have another name after a power cut: its directory cannot be synced", copy->path);
    if (directory >= 0)
        close(directory);
}

static int put_in_place(struct copy *copy)
{
    int failed = renameat2(AT_FDCWD, copy->new_path, AT_FDCWD, copy->path, RENAME_NOREPLACE);

    if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) /* a file system that cannot promise that */
        failed = rename(copy->new_path, copy->path);
    if (failed != 0)
        return cli_fail(EXIT_FAILED, "cannot rename %s to %s: %s", copy->new_path, copy->path,
                        strerror(errno));
    sync_parent(copy);
    return 0;
}

/* ---- is it as it was written? ---- */

/* The fanqd beside us, or the one in PATH. Its words go to standard error. Gives its exit code; -1: there is none. */
static int run_check(const char *path)
{
    char program[PATH_BYTES_MAX + sizeof("fanqd")] = "";
    ssize_t length = readlink("/proc/self/exe", program, PATH_BYTES_MAX);
    char *slash = length > 0 ? memrchr(program, '/', (size_t)length) : NULL;
    pid_t child;
    int status;

    if (slash != NULL)
        strcpy(slash + 1, "fanqd");
    child = fork();
    if (child == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        if (slash != NULL)
            execl(program, "fanqd", "--check", path, (char *)NULL);
        execlp("fanqd", "fanqd", "--check", path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

static int check(const struct copy *copy)
{
    int result = copy->cli->options.no_check ? -1 : run_check(copy->path);

    if (result == CHECK_FINE)
        return 0;
    if (result == CHECK_DAMAGED) {
        cli_fail(EXIT_FAILED, "%s is damaged, as is said above; the broker's own directory may be, too",
                 copy->path);
        cli_hint("when the broker is stopped:  fanqd --check %s", copy->backup->directory);
        return EXIT_FAILED;
    }
    if (result >= 0)
        return cli_fail(EXIT_FAILED, "%s could not be checked", copy->path);
    cli_hint("it was not checked; that does:  fanqd --check %s", copy->path);
    return 0;
}

/* ---- the command ---- */

static int take_path(struct copy *copy, const char *path)
{
    size_t length = strlen(path);
    struct stat status;

    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof(copy->path))
        return cli_fail(EXIT_USAGE, "\"%s\" is no path for a directory", path);
    snprintf(copy->path, sizeof(copy->path), "%.*s", (int)length, path);
    snprintf(copy->new_path, sizeof(copy->new_path), "%s.new", copy->path);
    if (lstat(copy->path, &status) == 0) {
        cli_fail(EXIT_FAILED, "%s exists already", copy->path);
        cli_hint("a backup is a new directory:  fanq backup %s-$(date +%%F)", copy->path);
        return EXIT_FAILED;
    }
    return 0;
}

/* Between BACKUP and BACKUP_END. */
static int make_copy(struct copy *copy)
{
    struct cli *cli = copy->cli;
    struct fanq_error error;
    int code = open_source(copy);

    if (code == 0)
        code = make_target(copy);
    if (code != 0)
        return code;
    code = copy_files(copy);
    progress_end(&copy->progress);
    if (code == 0 && fanq_backup_end_sync(cli->client, cli_timeout_ms(cli), &error) != 0)
        code = cli_report(cli, &error, NULL, "the copy is worth nothing");
    if (code == 0)
        code = put_in_place(copy);
    if (code != 0)
        remove_target(copy);
    return code;
}

static int put_result(const struct copy *copy, uint64_t start_ms)
{
    char bytes[TEXT_NUMBER_BYTES];
    struct json json = {.out = stdout};

    if (!copy->cli->options.json) {
        cli_say("backed up %" PRIu64 " files, %s bytes, to %s in %.2f s", copy->files,
                text_grouped(copy->bytes, bytes), copy->path, (double)(cli_now_ms() - start_ms) / 1000);
        return 0;
    }
    json_object_begin(&json, NULL);
    json_text(&json, "directory", copy->path);
    json_number(&json, "files", copy->files);
    json_number(&json, "bytes", copy->bytes);
    json_object_end(&json);
    json_line_end(&json);
    return cli_flush();
}

int cmd_backup(struct cli *cli)
{
    struct copy copy = {.cli = cli, .from = -1, .to = -1, .progress = {.verb = "MiB copied:"}};
    uint64_t start_ms = cli_now_ms();
    struct fanq_backup *backup = NULL;
    struct fanq_error error;
    int code = take_path(&copy, cli->arguments[0]);

    if (code == 0)
        code = cli_connect(cli, CLI_CONNECT_ONCE);
    if (code != 0)
        return code;
    copy.piece = malloc(PIECE_BYTES);
    if (copy.piece == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    cli_catch_signals(cli);
    if (fanq_backup_begin_sync(cli->client, cli_timeout_ms(cli), &backup, &error) != 0)
        code = cli_report(cli, &error, NULL, "no backup of %s", fanq_current_url(cli->client));
    copy.backup = backup;
    if (code == 0)
        code = make_copy(&copy);
    if (code == 0)
        code = check(&copy);
    if (code == 0)
        code = put_result(&copy, start_ms);
    if (copy.from >= 0)
        close(copy.from);
    if (copy.to >= 0)
        close(copy.to);
    fanq_backup_free(cli->client, backup);
    free(copy.piece);
    return code;
}
