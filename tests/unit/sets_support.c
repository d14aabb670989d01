#include "sets_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void staging_make(const struct folder *staging, const char *path)
{
    char part[512];
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        if (slash == path)
            continue;
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        assert_true(mkdirat(staging->descriptor, part, 0777) == 0 || errno == EEXIST);
    }
    assert_true(mkdirat(staging->descriptor, path, 0777) == 0 || errno == EEXIST);
}

void staging_add(const struct folder *staging, const char *path, const struct test_flow *flow)
{
    struct buffer text = BUFFER_INIT;
    struct folder made;
    char target[1024];
    put_flow(&text, flow);
    folder_unpack(&made, &text);
    staging_make(staging, path);
    snprintf(target, sizeof target, "%s/%s", staging->path, path);
    assert_int_equal(rename(made.path, target), 0);
    close(made.descriptor);
}

void staging_remove(const struct folder *staging, const char *path)
{
    struct folder away;
    char target[512];
    folder_open(&away);
    snprintf(target, sizeof target, "%s/flow", away.path);
    assert_int_equal(renameat(staging->descriptor, path, AT_FDCWD, target), 0);
    folder_close(&away);
}

struct sets *staging_open(const struct folder *staging)
{
    struct flow_error error = {0};
    struct sets *sets = sets_open(staging->descriptor, 21, NULL, NULL, &error);
    if (!sets)
        fail_msg("%s", error.message);
    return sets;
}

void staging_close(struct sets *sets)
{
    struct flow_error error = {0};
    if (!sets_close(sets, &error))
        fail_msg("%s", error.message);
}

struct buffer staging_pack(struct sets *sets, const char *set)
{
    char path[64];
    struct flow_error error = {0};
    int pack = sets_open_pack(sets, set, NULL, &error);
    if (pack < 0)
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "/proc/self/fd/%d", pack);
    struct buffer content = test_read_file(path);
    close(pack);
    return content;
}

void assert_pack(struct sets *sets, const char *set, struct bytes expected)
{
    struct buffer content = staging_pack(sets, set);
    assert_spans(buffer_bytes(&content), expected);
    buffer_free(&content);
}

uint64_t staging_inode(struct sets *sets, const char *set)
{
    struct stat status;
    struct flow_error error = {0};
    int pack = sets_open_pack(sets, set, NULL, &error);
    if (pack < 0)
        return 0;
    assert_int_equal(fstat(pack, &status), 0);
    close(pack);
    return status.st_ino;
}

enum sets_state staging_state(struct sets *sets, const char *set)
{
    enum sets_state state;
    struct flow_error error = {0};
    if (!sets_update(sets, set, &state, &error))
        fail_msg("%s", error.message);
    return state;
}

void assert_file(const struct folder *staging, const char *name, const char *expected)
{
    struct buffer content = folder_read(staging, name);
    assert_bytes(buffer_bytes(&content), expected);
    buffer_free(&content);
}

size_t staging_count(const struct folder *staging, const char *start)
{
    size_t count = 0;
    DIR *listing = opendir(staging->path);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing));)
        count += strncmp(entry->d_name, start, strlen(start)) == 0;
    closedir(listing);
    return count;
}

void staging_settle(void)
{
    const struct timespec pause = {.tv_nsec = 30000000};
    nanosleep(&pause, NULL);
}
