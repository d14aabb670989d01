/* The names of a set's derived files: given, taken away, and kept free for them. */
#include "set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool fail(struct flow_error *error, const char *what, const char *name)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%.120s: %s: %s", name, what, strerror(code));
    return false;
}

void set_derived_name(char name[NAME_MAX + 1], const char *set, const char *suffix)
{
    snprintf(name, NAME_MAX + 1, "%s%s", set, suffix);
}

/* Like rename, but never over something. */
static bool rename_aside(int root, const char *from, const char *to)
{
    if (renameat2(root, from, root, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    /* The file system has no such rename; nobody else is at work in the folder. */
    if (faccessat(root, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return false;
    }
    return errno == ENOENT && renameat(root, from, root, to) == 0;
}

bool set_clear_way(const struct set_home *home, const char *name, char moved[NAME_MAX + 1],
                   struct flow_error *error)
{
    bool there;
    char end[16] = "~", aside[NAME_MAX + 1];
    if (moved)
        moved[0] = '\0';
    if (set_notes_are_of(home->notes, name, &there, NULL) || !there)
        return true;
    for (unsigned number = 2;; number++) {
        snprintf(aside, sizeof aside, "%.*s%s", (int)(NAME_MAX - strlen(end)), name, end);
        if (rename_aside(home->root, name, aside))
            break;
        if (errno != EEXIST && errno != ENOTEMPTY)
            return fail(error, "is in the way of the set's own file, and cannot be renamed", name);
        snprintf(end, sizeof end, "~%u~", number);
    }
    if (moved)
        strcpy(moved, aside);
    return true;
}

/* Some file systems cannot sync a directory; then there is nothing to wait for. */
bool set_sync_root(const struct set_home *home, const char *name, struct flow_error *error)
{
    return fsync(home->root) == 0 || errno == EINVAL ||
           fail(error, "the staging folder cannot be synced", name);
}

bool set_file_publish(const struct set_home *home, struct set_file *file, const char *name,
                      bool durable, struct flow_error *error)
{
    struct stat status;
    if (durable && fsync(file->descriptor) != 0)
        return fail(error, "cannot be synced", name);
    if (fstat(file->descriptor, &status) != 0)
        return fail(error, "cannot be read", name);
    if (!set_clear_way(home, name, NULL, error) ||
        !set_notes_add(home->notes, name, &status, durable, error))
        return false;
    if (renameat(home->root, file->hidden, home->root, name) != 0)
        return fail(error, "cannot be replaced", name);
    file->hidden[0] = '\0';
    return !durable || set_sync_root(home, name, error);
}

void set_follow_folder(int descriptor, const struct stat *folder)
{
    struct stat status;
    mode_t mode = (folder->st_mode & 0666) | 0600;
    if (fstat(descriptor, &status) != 0)
        return;
    bool same_group = status.st_gid == folder->st_gid;
    if ((!same_group || status.st_uid != folder->st_uid) &&
        fchown(descriptor, folder->st_uid, folder->st_gid) != 0 && !same_group)
        mode &= ~(mode_t)0060; /* it would be another group's */
    if ((status.st_mode & 07777) != mode)
        fchmod(descriptor, mode);
}

bool set_write_errors(const struct set_home *home, const char *set, const struct stat *folder,
                      struct bytes text, struct flow_error *error)
{
    char name[NAME_MAX + 1];
    struct set_file file = SET_FILE_NONE;
    struct set_writer writer = {.root = home->root, .store = -1, .out = SET_FILE_NONE};
    set_derived_name(name, set, SET_ERRORS_SUFFIX);
    bool done = set_writer_append(&writer, text, error);
    file = writer.out;
    if (done)
        set_follow_folder(file.descriptor, folder);
    done = done && set_file_publish(home, &file, name, false, error);
    set_file_drop(&file, home->root);
    return done;
}

void set_remove_derived(const struct set_home *home, const char *set, const char *suffix)
{
    char name[NAME_MAX + 1];
    set_derived_name(name, set, suffix);
    if (set_notes_are_of(home->notes, name, NULL, NULL))
        unlinkat(home->root, name, 0);
}

bool set_rename_derived(const struct set_home *home, const char *from, const char *to,
                        const char *suffix, struct flow_error *error)
{
    struct stat status;
    char old[NAME_MAX + 1], new[NAME_MAX + 1];
    set_derived_name(old, from, suffix);
    set_derived_name(new, to, suffix);
    if (!set_notes_are_of(home->notes, old, NULL, &status)) {
        set_remove_derived(home, to, suffix);
        return true;
    }
    return set_clear_way(home, new, NULL, error) &&
           set_notes_add(home->notes, new, &status, false, error) &&
           (renameat(home->root, old, home->root, new) == 0 ||
            fail(error, "cannot be renamed", old));
}
