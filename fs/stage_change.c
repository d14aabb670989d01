#include "stage_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Makes the file; *descriptor: of a plain file, open for writing, else -1. */
static bool make_file(int folder, const char *name, const struct stage_making *making,
                      int *descriptor, struct flow_error *error)
{
    int result;
    *descriptor = -1;
    switch (making->mode & S_IFMT) {
    case S_IFREG:
    case 0:
        *descriptor = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                             making->mode & 07777);
        result = *descriptor < 0 ? -1 : 0;
        break;
    case S_IFDIR:
        result = mkdirat(folder, name, making->mode & 07777);
        break;
    case S_IFLNK:
        result = symlinkat(making->target, folder, name);
        break;
    default:
        result = mknodat(folder, name, making->mode, making->device);
        break;
    }
    return result == 0 || stage_fail(error, name);
}

/* The file belongs to who asked for it, with the mode that was asked for: the kernel has taken the
 * asker's umask from it, and the system ours. */
static bool give_away(const struct stage *stage, int folder, const char *name,
                      const struct stage_making *making, struct flow_error *error)
{
    struct stat status, above;
    mode_t special = making->mode & (S_ISUID | S_ISGID | S_ISVTX);
    bool foreign = stage->owner == 0 && (making->owner != 0 || making->group != stage->group);
    if (foreign) {
        /* In a folder with the set-group-ID bit the group is the folder's. */
        gid_t group = fstatat(folder, "", &above, AT_EMPTY_PATH) == 0 && above.st_mode & S_ISGID
                          ? (gid_t)-1
                          : making->group;
        if (fchownat(folder, name, making->owner, group, AT_SYMLINK_NOFOLLOW) != 0)
            return stage_fail(error, name);
    }
    if (S_ISLNK(making->mode) || !((making->mode & stage->umask) || (foreign && special)))
        return true;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return stage_fail(error, name);
    mode_t inherited = S_ISDIR(status.st_mode) ? status.st_mode & S_ISGID : 0;
    return fchmodat(folder, name, (making->mode & 07777) | inherited, 0) == 0 ||
           stage_fail(error, name);
}

bool stage_is_shut(const struct stage *stage, mode_t mode)
{
    return stage->owner != 0 && (mode & (S_IRUSR | S_IWUSR)) != (S_IRUSR | S_IWUSR);
}

/* Files that were in the way of derived ones have got other names: their nodes learn them. */
static void follow_moved(struct stage *stage, const struct sets_moved *moved)
{
    const char *const names[] = {moved->pack, moved->errors};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct flow_error ignored = {0};
        struct stat status;
        struct stage_node *node = NULL;
        if (*names[i])
            node = stage_node_find(stage->nodes, stage_nodes_top(stage->nodes), names[i], &status,
                                   &ignored);
        if (node)
            stage_node_forget(stage->nodes, node, 1);
    }
}

static void note_made(struct stage *stage, const struct stage_node *parent, const char *name)
{
    struct flow_error ignored = {0}; /* told in NAME.errors: what is in the way stays there */
    struct sets_moved moved;
    if (parent != stage_nodes_top(stage->nodes))
        return;
    sets_made(stage->sets, name, &moved, &ignored);
    follow_moved(stage, &moved);
}

/* Looks up what was just made. */
static bool find_made(struct stage *stage, struct stage_node *parent, const char *name,
                      struct stage_entry *entry, struct flow_error *error)
{
    *entry = (struct stage_entry){.fleeting = stage_is_fleeting(stage, parent, name)};
    entry->node = stage_node_find(stage->nodes, parent, name, &entry->status, error);
    if (entry->node)
        stage_show_status(entry->node, &entry->status);
    return entry->node != NULL;
}

bool stage_make(struct stage *stage, struct stage_node *parent, const char *name,
                const struct stage_making *making, struct stage_entry *entry,
                struct flow_error *error)
{
    int descriptor = -1;
    if (!stage_may_change(stage, parent, name, error))
        return false;
    int folder = stage_node_hold(stage->nodes, parent, STAGE_PATH, error);
    if (folder < 0)
        return false;
    bool done = make_file(folder, name, making, &descriptor, error);
    if (done && !give_away(stage, folder, name, making, error)) {
        unlinkat(folder, name, S_ISDIR(making->mode) ? AT_REMOVEDIR : 0);
        done = false;
    }
    stage_node_release(parent);
    if (done && S_ISDIR(making->mode))
        note_made(stage, parent, name);
    stage_touch(stage);
    done = done && find_made(stage, parent, name, entry, error);
    if (done && descriptor >= 0) {
        stage_node_keep_open(stage->nodes, entry->node, descriptor);
        if (stage_is_shut(stage, making->mode))
            stage_node_set_shut(stage->nodes, entry->node);
    } else if (descriptor >= 0) {
        close(descriptor);
    }
    return done;
}

bool stage_link(struct stage *stage, struct stage_node *node, struct stage_node *parent,
                const char *name, struct stage_entry *entry, struct flow_error *error)
{
    char path[40];
    if (!stage_is_writable(node, error) || !stage_may_change(stage, parent, name, error))
        return false;
    int source = stage_node_hold(stage->nodes, node, STAGE_PATH, error);
    if (source < 0)
        return false;
    int folder = stage_node_hold(stage->nodes, parent, STAGE_PATH, error);
    bool done = folder >= 0;
    if (done) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", source);
        done =
            linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) == 0 || stage_fail(error, name);
        stage_node_release(parent);
    }
    stage_node_release(node);
    stage_touch(stage);
    return done && find_made(stage, parent, name, entry, error);
}

bool stage_remove(struct stage *stage, struct stage_node *parent, const char *name, bool folder,
                  struct flow_error *error)
{
    if (!stage_may_change(stage, parent, name, error))
        return false;
    int above = stage_node_hold(stage->nodes, parent, STAGE_PATH, error);
    if (above < 0)
        return false;
    /* It may still be in use: held, its descriptors outlive its name. */
    struct stage_node *node;
    bool done = stage_node_hold_named(stage->nodes, parent, name, &node, error) &&
                (unlinkat(above, name, folder ? AT_REMOVEDIR : 0) == 0 || stage_fail(error, name));
    if (node) {
        if (done)
            stage_node_unlinked(stage->nodes, node, parent, name);
        stage_node_drop(stage->nodes, node);
    }
    stage_node_release(parent);
    if (done && folder && parent == stage_nodes_top(stage->nodes))
        sets_removed(stage->sets, name);
    stage_touch(stage);
    return done;
}

static bool is_folder(int above, const char *name)
{
    struct stat status;
    return fstatat(above, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

/* One end of a rename. */
struct end {
    struct stage_node *parent;
    const char *name;
    int above;               /* descriptor of parent */
    struct stage_node *node; /* of what was there; held, NULL: unknown to the kernel, or nothing */
    bool folder;             /* what was there is one */
};

static bool open_end(struct stage *stage, struct end *end, struct flow_error *error)
{
    end->above = stage_node_hold(stage->nodes, end->parent, STAGE_PATH, error);
    if (end->above < 0)
        return false;
    if (!stage_node_hold_named(stage->nodes, end->parent, end->name, &end->node, error))
        return false;
    end->folder = is_folder(end->above, end->name);
    return true;
}

static void close_end(struct stage *stage, struct end *end)
{
    if (end->node)
        stage_node_drop(stage->nodes, end->node);
    if (end->above >= 0)
        stage_node_release(end->parent);
}

/* Tells the sets what has happened to folders in the top. */
static void note_renamed(struct stage *stage, const struct end *from, const struct end *to,
                         bool exchanged)
{
    struct flow_error ignored = {0}; /* as in note_made */
    struct sets_moved moved[2] = {0};
    const struct stage_node *top = stage_nodes_top(stage->nodes);
    bool leaves = from->folder && from->parent == top;
    bool comes = from->folder && to->parent == top;
    bool replaced = to->folder && to->parent == top;
    if (exchanged && leaves && replaced) {
        sets_exchanged(stage->sets, from->name, to->name, moved, &ignored);
    } else if (leaves && comes) {
        sets_renamed(stage->sets, from->name, to->name, &moved[0], &ignored);
    } else {
        if (leaves)
            sets_removed(stage->sets, from->name);
        if (replaced)
            sets_removed(stage->sets, to->name);
        if (comes)
            sets_made(stage->sets, to->name, &moved[0], &ignored);
        if (exchanged && to->folder && from->parent == top)
            sets_made(stage->sets, from->name, &moved[1], &ignored);
    }
    follow_moved(stage, &moved[0]);
    follow_moved(stage, &moved[1]);
}

static void move_nodes(struct stage *stage, const struct end *from, const struct end *to,
                       bool exchanged)
{
    if (from->node == to->node && from->node)
        return; /* two names of one file: POSIX has rename do nothing */
    if (to->node && exchanged)
        stage_node_renamed(stage->nodes, to->node, from->parent, from->name);
    else if (to->node)
        stage_node_unlinked(stage->nodes, to->node, to->parent, to->name);
    if (from->node)
        stage_node_renamed(stage->nodes, from->node, to->parent, to->name);
}

bool stage_rename(struct stage *stage, struct stage_node *parent, const char *name,
                  struct stage_node *new_parent, const char *new_name, unsigned flags,
                  struct flow_error *error)
{
    struct end from = {.parent = parent, .name = name, .above = -1};
    struct end to = {.parent = new_parent, .name = new_name, .above = -1};
    bool exchanged = flags & RENAME_EXCHANGE;
    bool done = stage_may_change(stage, parent, name, error) &&
                stage_may_change(stage, new_parent, new_name, error) &&
                open_end(stage, &from, error) && open_end(stage, &to, error);
    if (done)
        done =
            renameat2(from.above, name, to.above, new_name, flags) == 0 || stage_fail(error, name);
    if (done) {
        move_nodes(stage, &from, &to, exchanged);
        note_renamed(stage, &from, &to, exchanged);
    }
    close_end(stage, &to);
    close_end(stage, &from);
    stage_touch(stage);
    return done;
}
