#include "sets_inside.h"

#include "convert_mitm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fail(struct flow_error *error, const char *what)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s: %s", what, strerror(code));
    return false;
}

bool sets_is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && name[0] != '.' && length + strlen(SET_ERRORS_SUFFIX) <= NAME_MAX;
}

static bool is_hidden(const char *name)
{
    return strncmp(name, SET_HIDDEN, strlen(SET_HIDDEN)) == 0;
}

/* Where the set of that name stands in the table, or would. */
static size_t place_of(const struct sets *sets, const char *name)
{
    size_t from = 0, to = sets->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(sets->items[middle]->name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct set *find(const struct sets *sets, const char *name)
{
    size_t place = place_of(sets, name);
    bool found = place < sets->count && strcmp(sets->items[place]->name, name) == 0;
    return found ? sets->items[place] : NULL;
}

static bool insert(struct sets *sets, struct set *set)
{
    if (sets->count == sets->capacity) {
        size_t capacity = sets->capacity ? sets->capacity * 2 : 16;
        struct set **grown = reallocarray(sets->items, capacity, sizeof *grown);
        if (!grown)
            return false;
        sets->items = grown;
        sets->capacity = capacity;
    }
    size_t place = place_of(sets, set->name);
    memmove(&sets->items[place + 1], &sets->items[place],
            (sets->count - place) * sizeof *sets->items);
    sets->items[place] = set;
    sets->count++;
    return true;
}

static void take_out(struct sets *sets, size_t place)
{
    sets->count--;
    memmove(&sets->items[place], &sets->items[place + 1],
            (sets->count - place) * sizeof *sets->items);
}

static bool is_folder(const struct sets *sets, const char *name)
{
    struct stat status;
    return fstatat(sets->home.root, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

static struct set *add(struct sets *sets, const char *name)
{
    struct set *set = set_new(name);
    if (set && !insert(sets, set)) {
        set_free(set, &sets->home);
        set = NULL;
    }
    return set;
}

struct set *sets_get(struct sets *sets, const char *name, struct flow_error *error)
{
    if (!sets_is_name(name))
        return NULL;
    pthread_mutex_lock(&sets->lock);
    struct set *set = find(sets, name);
    if (!set && is_folder(sets, name)) {
        set = add(sets, name);
        if (!set)
            flow_error_memory(error);
    }
    if (set)
        set->users++;
    pthread_mutex_unlock(&sets->lock);
    return set;
}

void sets_put(struct sets *sets, struct set *set)
{
    pthread_mutex_lock(&sets->lock);
    bool last = --set->users == 0;
    pthread_mutex_unlock(&sets->lock);
    if (last)
        set_free(set, &sets->home);
}

struct set *sets_take(struct sets *sets, const char *name)
{
    pthread_mutex_lock(&sets->lock);
    struct set *set = find(sets, name);
    if (set)
        take_out(sets, place_of(sets, name));
    pthread_mutex_unlock(&sets->lock);
    return set;
}

bool sets_rename(struct sets *sets, struct set *set, const char *name)
{
    pthread_mutex_lock(&sets->lock);
    bool found = find(sets, set->name) == set;
    bool done = found && !find(sets, name);
    if (found)
        take_out(sets, place_of(sets, set->name));
    if (done) {
        snprintf(set->name, sizeof set->name, "%s", name);
        insert(sets, set); /* there is room: one was taken out */
    } else if (found) {
        set->users--;
    }
    pthread_mutex_unlock(&sets->lock);
    return done;
}

/* Adds the folders that nobody has told of. */
static bool list(struct sets *sets, struct flow_error *error)
{
    int descriptor = openat(sets->home.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!listing) {
        fail(error, "the staging folder cannot be listed");
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    bool done = true;
    const struct dirent *entry = NULL;
    errno = 0;
    while (done && (entry = readdir(listing))) {
        bool may_be = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
        bool is_set = may_be && sets_is_name(entry->d_name) && !find(sets, entry->d_name) &&
                      is_folder(sets, entry->d_name);
        done = !is_set || add(sets, entry->d_name) || flow_error_memory(error);
        errno = 0;
    }
    if (done && errno)
        done = fail(error, "the staging folder cannot be listed");
    closedir(listing);
    return done;
}

struct set **sets_get_all(struct sets *sets, size_t *count, struct flow_error *error)
{
    uint64_t generation = atomic_load(&sets->home.generation);
    struct set **all = NULL;
    pthread_mutex_lock(&sets->lock);
    bool done = (sets->was_listed && sets->listed == generation) || list(sets, error);
    sets->was_listed = done;
    sets->listed = generation;
    if (done) {
        all = malloc((sets->count + 1) * sizeof *all);
        if (!all)
            flow_error_memory(error);
    }
    *count = all ? sets->count : 0;
    for (size_t i = 0; i < *count; i++) {
        all[i] = sets->items[i];
        all[i]->users++;
    }
    pthread_mutex_unlock(&sets->lock);
    return all;
}

/* Told once: the packer tries again and again. */
static void tell(struct sets *sets, struct set *set, const struct flow_error *problem)
{
    char line[512];
    if (problem->code == set->problem)
        return;
    set->problem = problem->code;
    if (!problem->code || !sets->home.report)
        return;
    snprintf(line, sizeof line, "@staging: %s", problem->message);
    sets->home.report(sets->home.context, line);
}

bool sets_look(struct sets *sets, struct set *set, bool commit, struct flow_error *error)
{
    struct flow_error problem = {0};
    bool done = set_update(set, &sets->home, &problem) &&
                (!commit || set_commit(set, &sets->home, &problem));
    tell(sets, set, &problem);
    if (!done)
        flow_error_set(error, problem.code, problem.offset, "%s", problem.message);
    return done;
}

static bool look_locked(struct sets *sets, struct set *set, bool commit, struct flow_error *error)
{
    pthread_mutex_lock(&set->lock);
    bool done = sets_look(sets, set, commit, error);
    pthread_mutex_unlock(&set->lock);
    return done;
}

/* Waits for the disk before the set's lock is taken for the commit, so that who only looks does not
 * wait for it. Errors are the commit's. */
static void sync_ahead(struct sets *sets, struct set *set)
{
    int pack = -1;
    struct flow_error ignored = {0};
    pthread_mutex_lock(&set->lock);
    if (sets_look(sets, set, false, &ignored) && set->pack.hidden[0])
        pack = fcntl(set->pack.descriptor, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&set->lock);
    if (pack < 0)
        return;
    fdatasync(pack);
    close(pack);
}

static bool commit_one(struct sets *sets, struct set *set, struct flow_error *error)
{
    sync_ahead(sets, set);
    return look_locked(sets, set, true, error);
}

bool sets_update(struct sets *sets, const char *name, enum sets_state *state,
                 struct flow_error *error)
{
    struct flow_error problem = {0};
    struct set *set = sets_get(sets, name, &problem);
    *state = SETS_MISSING;
    if (!set) {
        if (problem.code)
            *error = problem;
        return !problem.code;
    }
    bool done = look_locked(sets, set, false, error);
    *state = (enum sets_state)atomic_load(&set->state);
    sets_put(sets, set);
    return done;
}

/* One after the other; the first error is given, but ends nothing. */
static bool look_at_all(struct sets *sets, bool commit, struct flow_error *error)
{
    size_t count;
    bool done = true;
    struct set **all = sets_get_all(sets, &count, error);
    for (size_t i = 0; i < count; i++) {
        done =
            (commit ? commit_one(sets, all[i], error) : look_locked(sets, all[i], false, error)) &&
            done;
        sets_put(sets, all[i]);
    }
    free(all);
    return all && done;
}

bool sets_update_all(struct sets *sets, struct flow_error *error)
{
    return look_at_all(sets, false, error);
}

bool sets_commit(struct sets *sets, const char *name, struct flow_error *error)
{
    struct flow_error problem = {0};
    if (!name)
        return look_at_all(sets, true, error);
    struct set *set = sets_get(sets, name, &problem);
    if (!set) {
        if (problem.code)
            *error = problem;
        return !problem.code;
    }
    bool done = commit_one(sets, set, error);
    sets_put(sets, set);
    return done;
}

static int duplicate_pack(const struct set *set, struct flow_error *error)
{
    int copy = -1;
    switch ((enum sets_state)atomic_load(&set->state)) {
    case SETS_MISSING:
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "there is no set %.100s", set->name);
        break;
    case SETS_EMPTY:
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "there are no flows in %.100s",
                       set->name);
        break;
    case SETS_BROKEN:
        flow_error_set(error, EBADMSG, FLOW_ERROR_NO_OFFSET,
                       "%.60s has %zu mistake%s, see %.60s" SET_ERRORS_SUFFIX ": %.100s", set->name,
                       set->mistakes, set->mistakes == 1 ? "" : "s", set->name, set->mistake);
        break;
    case SETS_PACKED:
        copy = fcntl(set->pack.descriptor, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            fail(error, "the flow file cannot be opened");
        break;
    }
    return copy;
}

int sets_open_pack(struct sets *sets, const char *name, uint64_t *version, struct flow_error *error)
{
    struct flow_error problem = {0};
    struct set *set = sets_get(sets, name, &problem);
    int copy = -1;
    if (!set) {
        flow_error_set(&problem, ENOENT, FLOW_ERROR_NO_OFFSET, "there is no set %.100s", name);
        *error = problem;
        return -1;
    }
    pthread_mutex_lock(&set->lock);
    if (sets_look(sets, set, false, error))
        copy = duplicate_pack(set, error);
    if (version)
        *version = atomic_load(&set->version);
    pthread_mutex_unlock(&set->lock);
    sets_put(sets, set);
    return copy;
}

enum sets_state sets_state_now(struct sets *sets, const char *name)
{
    pthread_mutex_lock(&sets->lock);
    struct set *set = find(sets, name);
    int state = set ? atomic_load(&set->state) : SETS_MISSING;
    pthread_mutex_unlock(&sets->lock);
    return (enum sets_state)state;
}

uint64_t sets_version(struct sets *sets, const char *name)
{
    pthread_mutex_lock(&sets->lock);
    struct set *set = find(sets, name);
    uint64_t version = set ? atomic_load(&set->version) : 0;
    pthread_mutex_unlock(&sets->lock);
    return version;
}

/* A set that nobody has looked at yet counts, if its folder is there. */
static bool is_there(struct sets *sets, const char *name)
{
    return sets_is_name(name) && is_folder(sets, name);
}

enum sets_derived sets_derived(struct sets *sets, const char *name, char set[NAME_MAX + 1])
{
    static const struct {
        const char *suffix;
        enum sets_derived derived;
    } forms[] = {{SET_PACK_SUFFIX, SETS_PACK}, {SET_ERRORS_SUFFIX, SETS_ERRORS}};
    char base[NAME_MAX + 1];
    size_t length = strlen(name);
    if (is_hidden(name))
        return SETS_HIDDEN;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t end = strlen(forms[i].suffix);
        if (length <= end || length > NAME_MAX || strcmp(name + length - end, forms[i].suffix) != 0)
            continue;
        snprintf(base, sizeof base, "%.*s", (int)(length - end), name);
        if (!is_there(sets, base))
            continue;
        if (set)
            strcpy(set, base);
        return forms[i].derived;
    }
    return SETS_NONE;
}

void sets_touch(struct sets *sets)
{
    atomic_fetch_add(&sets->home.generation, 1);
    if (atomic_load(&sets->sleeping))
        sets_packer_wake(sets);
}

void sets_hurry(struct sets *sets)
{
    atomic_store(&sets->hurry, true);
    sets_packer_wake(sets);
}

/* What a killed daemon left behind. */
static bool remove_leftovers(int root, struct flow_error *error)
{
    int descriptor = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!listing) {
        fail(error, "the staging folder cannot be listed");
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    const struct dirent *entry;
    while ((entry = readdir(listing)))
        if (strncmp(entry->d_name, SET_HIDDEN "-", strlen(SET_HIDDEN) + 1) == 0 &&
            strcmp(entry->d_name, SET_NOTES_NAME) != 0)
            unlinkat(root, entry->d_name, 0);
    closedir(listing);
    return true;
}

static bool open_home(struct sets *sets, int root, struct flow_error *error)
{
    /* One that can be read and synced, whatever the caller's is. */
    sets->home.root = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sets->home.root < 0)
        return fail(error, "the staging folder cannot be opened");
    sets->home.notes = set_notes_open(sets->home.root, error);
    return sets->home.notes && remove_leftovers(sets->home.root, error);
}

static void free_sets(struct sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        set_free(sets->items[i], &sets->home);
    free(sets->items);
    set_notes_close(sets->home.notes);
    if (sets->home.root >= 0)
        close(sets->home.root);
    pthread_mutex_destroy(&sets->lock);
    free(sets);
}

struct sets *sets_open(int root, int64_t format_version, sets_report *report, void *context,
                       struct flow_error *error)
{
    if (!convert_version_is_known(format_version, error))
        return NULL;
    struct sets *sets = calloc(1, sizeof *sets);
    if (!sets) {
        flow_error_memory(error);
        return NULL;
    }
    sets->home.version = format_version;
    sets->home.report = report;
    sets->home.context = context;
    sets->home.root = sets->alarm = -1;
    /* What was edited while nobody looked is a change. */
    sets->home.generation = 1;
    pthread_mutex_init(&sets->lock, NULL);
    if (open_home(sets, root, error) && sets_packer_start(sets, error))
        return sets;
    free_sets(sets);
    return NULL;
}

bool sets_close(struct sets *sets, struct flow_error *error)
{
    if (!sets)
        return true;
    sets_packer_stop(sets);
    bool done = sets_commit(sets, NULL, error);
    free_sets(sets);
    return done;
}
