#include "set.h"

#include "set_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Looks at a set that changes under them. */
#define ATTEMPTS 5

struct set *set_new(const char *name)
{
    struct set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    snprintf(set->name, sizeof set->name, "%s", name);
    set->users = 1;
    set->store = set->pack = (struct set_file)SET_FILE_NONE;
    pthread_mutex_init(&set->lock, NULL);
    return set;
}

static void close_all(struct set *set, const struct set_home *home)
{
    set_file_drop(&set->store, home->root);
    set_file_drop(&set->pack, home->root);
    set_flows_free(&set->flows);
}

void set_free(struct set *set, const struct set_home *home)
{
    close_all(set, home);
    pthread_mutex_destroy(&set->lock);
    free(set);
}

static void report(const struct set_home *home, const char *line)
{
    if (home->report)
        home->report(home->context, line);
}

struct losing {
    const struct set *set;
    const struct set_home *home;
};

static void tell_loss(void *context, const struct set_flow *flow, const char *what)
{
    char line[512];
    const struct losing *losing = context;
    snprintf(line, sizeof line, "%.100s" SET_PACK_SUFFIX ": %.200s: %.150s", losing->set->name,
             *flow->path ? flow->path : ".", what);
    report(losing->home, line);
}

/* -1 with errno 0 if there is no such folder. */
static int open_folder(const struct set *set, const struct set_home *home, struct stat *status)
{
    int folder = openat(home->root, set->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        errno = 0;
    if (folder >= 0 && fstat(folder, status) != 0) {
        int code = errno;
        close(folder);
        errno = code;
        return -1;
    }
    return folder;
}

static void append_clean(struct buffer *text, const char *line)
{
    for (; *line; line++)
        buffer_append_byte(text, (uint8_t)*line < 0x20 || *line == 0x7F ? '?' : (uint8_t)*line);
}

/* The lines of NAME.errors. */
static void append_mistakes(const struct set_flows *flows, struct buffer *text)
{
    for (size_t i = 0; i < flows->count; i++) {
        const struct set_flow *flow = &flows->items[i];
        if (!flow->mistake)
            continue;
        append_clean(text, flow->path);
        if (*flow->path)
            buffer_append_byte(text, '/');
        append_clean(text, flow->mistake);
        buffer_append_byte(text, '\n');
    }
}

static bool errors_are_there(const struct set *set, const struct set_home *home, uint64_t hash)
{
    char name[NAME_MAX + 1];
    set_derived_name(name, set->name, SET_ERRORS_SUFFIX);
    return set->errors == hash && set_notes_are_of(home->notes, name, NULL, NULL);
}

/* From now on the set is broken, whatever happens to NAME.errors. */
static bool break_set(struct set *set, const struct set_home *home, const struct stat *folder,
                      struct bytes text, size_t mistakes, struct flow_error *error)
{
    const uint8_t *end = memchr(text.data, '\n', text.size);
    uint64_t hash = bytes_hash(text, 1) | 1;
    set->mistakes = mistakes;
    snprintf(set->mistake, sizeof set->mistake, "%.*s", (int)(end ? end - text.data : 0),
             (const char *)text.data);
    atomic_store(&set->state, SETS_BROKEN);
    if (errors_are_there(set, home, hash))
        return true;
    set->errors = 0;
    if (!set_write_errors(home, set->name, folder, text, error))
        return false;
    set->errors = hash;
    return true;
}

static bool tell_mistakes(struct set *set, const struct set_home *home, const struct stat *folder,
                          size_t mistakes, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    append_mistakes(&set->flows, &text);
    bool done = text.failed ? flow_error_memory(error)
                            : break_set(set, home, folder, buffer_bytes(&text), mistakes, error);
    buffer_free(&text);
    return done;
}

/* The file that a former mount left under the set's name, if it is what was made now. */
static bool adopt_former(struct set *set, const struct set_home *home, struct set_file *made,
                         struct flow_error *error)
{
    struct stat status;
    char name[NAME_MAX + 1];
    uint8_t block[16384];
    bool equal = true, done = true;
    set_derived_name(name, set->name, SET_PACK_SUFFIX);
    if (set->pack.descriptor >= 0 || !set_notes_are_of(home->notes, name, NULL, &status) ||
        (uint64_t)status.st_size != made->size)
        return true;
    int former = openat(home->root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    for (uint64_t at = 0; former >= 0 && done && equal && at < made->size;) {
        ssize_t got = pread(former, block, sizeof block, (off_t)at);
        equal = got > 0;
        done = !equal ||
               set_file_holds(made->descriptor, at, bytes_make(block, (size_t)got), &equal, error);
        at += (uint64_t)(got > 0 ? got : 0);
    }
    if (former >= 0 && done && equal) {
        set_file_drop(made, home->root);
        *made = (struct set_file){.descriptor = former, .size = (uint64_t)status.st_size};
    } else if (former >= 0) {
        close(former);
    }
    return done;
}

/* A second descriptor of the file, which is no longer written to, for reading alone. */
static bool seal(struct set_file *file, const struct set_home *home, struct flow_error *error)
{
    int sealed = openat(home->root, file->hidden, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (sealed < 0) {
        flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "the flow file cannot be opened: %s",
                       strerror(errno));
        return false;
    }
    close(file->descriptor);
    file->descriptor = sealed;
    return true;
}

/* The store reads from the same file as the pack, or from one that has no name any more. */
static bool set_store(struct set *set, const struct set_home *home, const struct set_file *file,
                      struct flow_error *error)
{
    int copy = fcntl(file->descriptor, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "the flow file cannot be opened: %s",
                       strerror(errno));
        return false;
    }
    set_file_drop(&set->store, home->root);
    set->store = (struct set_file){.descriptor = copy, .size = file->size};
    return true;
}

static void take_flows(struct set *set, struct set_flows *flows)
{
    set_flows_free(&set->flows);
    set->flows = *flows;
    *flows = (struct set_flows){0};
}

/* Whether the store is the pack that is served. */
static bool store_is_pack(const struct set *set)
{
    struct stat store, pack;
    return set->store.descriptor >= 0 && set->pack.descriptor >= 0 &&
           fstat(set->store.descriptor, &store) == 0 && fstat(set->pack.descriptor, &pack) == 0 &&
           store.st_ino == pack.st_ino && store.st_dev == pack.st_dev;
}

/* A file with a hidden name that holds the same. */
static bool copy_file(const struct set_file *from, const struct set_home *home,
                      struct set_file *file, struct flow_error *error)
{
    if (!set_file_make(file, home->root, error))
        return false;
    file->size = from->size;
    return set_file_copy(from->descriptor, 0, file->descriptor, 0, file->size, error);
}

static void new_version(struct set *set, struct set_home *home)
{
    atomic_store(&set->version, atomic_fetch_add(&home->versions, 1) + 1);
}

static bool take_pack(struct set *set, struct set_home *home, struct set_file *file,
                      struct flow_error *error)
{
    if (!adopt_former(set, home, file, error) || (file->hidden[0] && !seal(file, home, error)) ||
        !set_store(set, home, file, error))
        return false;
    set_file_drop(&set->pack, home->root);
    set->pack = *file;
    *file = (struct set_file)SET_FILE_NONE;
    set->durable = false;
    new_version(set, home);
    return true;
}

static bool accept_good(struct set *set, struct set_home *home, const struct stat *folder,
                        struct set_file *file, struct flow_error *error)
{
    bool new_pack = file->descriptor >= 0;
    if (!new_pack && !store_is_pack(set)) {
        /* What is good is in a file without a name. */
        if (!copy_file(&set->store, home, file, error))
            return false;
        new_pack = true;
    }
    if (new_pack && !take_pack(set, home, file, error))
        return false;
    set_follow_folder(set->pack.descriptor, folder);
    set_remove_derived(home, set->name, SET_ERRORS_SUFFIX);
    set->errors = 0;
    set->mistakes = 0;
    atomic_store(&set->state, SETS_PACKED);
    return true;
}

/* What was packed beside the mistakes is kept as the store, without a name. */
static bool accept_broken(struct set *set, struct set_home *home, const struct stat *folder,
                          struct set_flows *flows, struct set_packed *packed,
                          struct flow_error *error)
{
    if (packed->file.descriptor >= 0 && !set_store(set, home, &packed->file, error))
        return false;
    take_flows(set, flows);
    return tell_mistakes(set, home, folder, packed->mistakes, error);
}

static bool is_on_disk(const struct set *set, const struct set_home *home)
{
    struct stat status;
    char name[NAME_MAX + 1];
    set_derived_name(name, set->name, SET_PACK_SUFFIX);
    return fstatat(home->root, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A folder that never had a flow is most likely there for something else. */
static bool accept_empty(struct set *set, const struct set_home *home, struct set_flows *flows)
{
    set_remove_derived(home, set->name, SET_ERRORS_SUFFIX);
    set->errors = 0;
    set->mistakes = 0;
    atomic_store(&set->state, SETS_EMPTY);
    take_flows(set, flows);
    return true;
}

static bool accept(struct set *set, struct set_home *home, const struct stat *folder,
                   struct set_flows *flows, struct set_packed *packed, struct flow_error *error)
{
    if (packed->mistakes)
        return accept_broken(set, home, folder, flows, packed, error);
    if (flows->count == 0 && set->pack.descriptor < 0 && !is_on_disk(set, home))
        return accept_empty(set, home, flows);
    if (!accept_good(set, home, folder, &packed->file, error))
        return false;
    take_flows(set, flows);
    return true;
}

/* A folder in the set that cannot be read is a mistake of the set's, too. */
static bool is_unreadable(const struct flow_error *error)
{
    return error->code == EACCES || error->code == EPERM || error->code == ELOOP ||
           error->code == ENAMETOOLONG;
}

static bool tell_unreadable(struct set *set, const struct set_home *home, const struct stat *folder,
                            const struct flow_error *problem, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    append_clean(&text, problem->message);
    buffer_append_byte(&text, '\n');
    bool done = text.failed ? flow_error_memory(error)
                            : break_set(set, home, folder, buffer_bytes(&text), 1, error);
    buffer_free(&text);
    return done;
}

static bool walk_and_pack(struct set *set, struct set_home *home, int folder,
                          const struct stat *status, struct flow_error *error)
{
    struct set_flows flows = {0};
    struct flow_error problem = {0};
    struct losing losing = {set, home};
    struct set_packed packed = {.file = SET_FILE_NONE};
    struct set_packing packing = {
        .root = home->root,
        .folder = folder,
        .version = home->version,
        .store = set->store.descriptor,
        .store_size = set->store.size,
        .loss = tell_loss,
        .context = &losing,
    };
    bool walked = set_flows_walk(&flows, folder, &set->flows, &problem);
    bool done;
    if (!walked && is_unreadable(&problem)) {
        done = tell_unreadable(set, home, status, &problem, error);
    } else {
        done = walked && set_pack(&packing, &flows, &packed, &problem);
        if (!done)
            *error = problem;
        done = done && accept(set, home, status, &flows, &packed, error);
    }
    set_file_drop(&packed.file, home->root);
    set_flows_free(&flows);
    return done;
}

/* *missing: there is no such folder. False with ESTALE if it changes under us. */
static bool look_once(struct set *set, struct set_home *home, bool *missing,
                      struct flow_error *error)
{
    struct stat status;
    int folder = open_folder(set, home, &status);
    *missing = folder < 0 && errno == 0;
    if (*missing)
        return true;
    if (folder < 0) {
        flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "cannot be opened: %s", strerror(errno));
        return false;
    }
    bool done = walk_and_pack(set, home, folder, &status, error);
    close(folder);
    if (!done && error->code == ENOENT)
        error->code = ESTALE;
    return done;
}

static bool look(struct set *set, struct set_home *home, struct flow_error *error)
{
    bool missing, done = false;
    struct flow_error problem = {.code = ESTALE};
    for (int i = 0; !done && problem.code == ESTALE && i < ATTEMPTS; i++) {
        problem = (struct flow_error){0};
        done = look_once(set, home, &missing, &problem);
    }
    if (!done) {
        flow_error_set(error, problem.code == ESTALE ? EBUSY : problem.code, problem.offset,
                       "%.80s: %s", set->name, problem.message);
        return false;
    }
    if (missing)
        atomic_store(&set->state, SETS_MISSING);
    return atomic_load(&set->state) != SETS_PACKED || is_on_disk(set, home) ||
           set_commit(set, home, error);
}

bool set_update(struct set *set, struct set_home *home, struct flow_error *error)
{
    uint64_t generation = atomic_load(&home->generation);
    if (set->gone) {
        atomic_store(&set->state, SETS_MISSING);
        return true;
    }
    if (set->looked && set->generation == generation)
        return true;
    bool done = look(set, home, error);
    /* Whatever has changed since we began is seen by the next one who looks. */
    set->looked = done;
    set->generation = generation;
    return done;
}

/* Whether the pack's file has that name on disk: somebody else may have removed or replaced it. */
static bool has_name(const struct set *set, const struct set_home *home, const char *name)
{
    struct stat named, own;
    return fstatat(home->root, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstat(set->pack.descriptor, &own) == 0 && named.st_ino == own.st_ino &&
           named.st_dev == own.st_dev;
}

static bool make_again(struct set *set, struct set_home *home, struct flow_error *error)
{
    struct stat status;
    struct set_file file = SET_FILE_NONE;
    bool done = copy_file(&set->pack, home, &file, error) && seal(&file, home, error);
    if (!done) {
        set_file_drop(&file, home->root);
        return false;
    }
    if (fstat(set->pack.descriptor, &status) == 0)
        fchmod(file.descriptor, status.st_mode & 0777);
    set_file_drop(&set->pack, home->root);
    set->pack = file;
    new_version(set, home);
    return true;
}

bool set_commit(struct set *set, struct set_home *home, struct flow_error *error)
{
    char name[NAME_MAX + 1];
    if (set->gone || atomic_load(&set->state) != SETS_PACKED)
        return true;
    set_derived_name(name, set->name, SET_PACK_SUFFIX);
    bool committed = !set->pack.hidden[0];
    if (!has_name(set, home, committed ? name : set->pack.hidden)) {
        if (!make_again(set, home, error))
            return false;
        committed = false;
    }
    if (!committed || !set->durable)
        set->durable = committed ? set_sync_root(home, name, error)
                                 : set_file_publish(home, &set->pack, name, true, error);
    return set->durable;
}
