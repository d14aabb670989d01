/* Folders that come, go and get other names: what becomes of the files that were derived of them.
 */
#include "sets_inside.h"

#include <fcntl.h>
#include <string.h>

static bool is_set(const struct sets *sets, const char *name)
{
    struct stat status;
    return sets_is_name(name) &&
           fstatat(sets->home.root, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* Nobody finds it any more; who has it sees that it is gone. */
static void retire(struct sets *sets, const char *name)
{
    struct set *set = sets_take(sets, name);
    if (!set)
        return;
    pthread_mutex_lock(&set->lock);
    set->gone = true;
    pthread_mutex_unlock(&set->lock);
    sets_put(sets, set);
}

static void remove_derived(struct sets *sets, const char *name)
{
    set_remove_derived(&sets->home, name, SET_PACK_SUFFIX);
    set_remove_derived(&sets->home, name, SET_ERRORS_SUFFIX);
}

/* A folder in the way may be a set itself. */
static bool clear_one(struct sets *sets, const char *set, const char *suffix,
                      char moved[NAME_MAX + 1], struct flow_error *error)
{
    char name[NAME_MAX + 1];
    set_derived_name(name, set, suffix);
    if (!set_clear_way(&sets->home, name, moved, error))
        return false;
    return !*moved || !is_set(sets, moved) || sets_renamed(sets, name, moved, NULL, error);
}

static bool clear_way(struct sets *sets, const char *set, struct sets_moved *moved,
                      struct flow_error *error)
{
    struct sets_moved ignored = {0};
    struct sets_moved *to = moved ? moved : &ignored;
    bool pack = clear_one(sets, set, SET_PACK_SUFFIX, to->pack, error);
    return clear_one(sets, set, SET_ERRORS_SUFFIX, to->errors, error) && pack;
}

bool sets_made(struct sets *sets, const char *name, struct sets_moved *moved,
               struct flow_error *error)
{
    if (moved)
        *moved = (struct sets_moved){0};
    bool done = !is_set(sets, name) || clear_way(sets, name, moved, error);
    sets_touch(sets);
    return done;
}

void sets_removed(struct sets *sets, const char *name)
{
    if (sets_is_name(name)) {
        retire(sets, name);
        remove_derived(sets, name);
    }
    sets_touch(sets);
}

static bool rename_derived(struct sets *sets, const char *from, const char *to,
                           struct flow_error *error)
{
    bool pack = set_rename_derived(&sets->home, from, to, SET_PACK_SUFFIX, error);
    return set_rename_derived(&sets->home, from, to, SET_ERRORS_SUFFIX, error) && pack;
}

/* A set that nobody has looked at yet is not in the table; its files go along all the same. */
static bool take_along(struct sets *sets, const char *from, const char *to,
                       struct flow_error *error)
{
    struct set *set = sets_get(sets, from, NULL);
    if (!set)
        return rename_derived(sets, from, to, error);
    pthread_mutex_lock(&set->lock);
    bool done = rename_derived(sets, from, to, error);
    set->gone = !sets_rename(sets, set, to);
    set->durable = false;
    pthread_mutex_unlock(&set->lock);
    sets_put(sets, set);
    return done;
}

bool sets_renamed(struct sets *sets, const char *from, const char *to, struct sets_moved *moved,
                  struct flow_error *error)
{
    if (moved)
        *moved = (struct sets_moved){0};
    if (!is_set(sets, to)) {
        sets_removed(sets, from);
        return true;
    }
    /* An empty set that was there, or one that a look has found since the rename. */
    retire(sets, to);
    bool done = clear_way(sets, to, moved, error);
    if (sets_is_name(from))
        done = take_along(sets, from, to, error) && done;
    else
        remove_derived(sets, to);
    sets_touch(sets);
    return done;
}

bool sets_exchanged(struct sets *sets, const char *one, const char *other,
                    struct sets_moved moved[2], struct flow_error *error)
{
    const char *names[] = {one, other};
    bool done = true;
    for (int i = 0; i < 2; i++) {
        moved[i] = (struct sets_moved){0};
        /* What has changed in a set is seen at the next look, as after any other change. */
        if (is_set(sets, names[i]))
            done = clear_way(sets, names[i], &moved[i], error) && done;
        else
            sets_removed(sets, names[i]);
    }
    sets_touch(sets);
    return done;
}
