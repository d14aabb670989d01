#include "set_notes.h"

#include "bytes.h"
#include "set_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define NEW_NAME SET_HIDDEN "-sets-new"

/* Beyond this the log is written anew. */
#define LONGEST ((uint64_t)1 << 20)

struct note {
    char *name;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct set_notes {
    int root;
    int locked;     /* the folder, by a description of its own that has the lock */
    int descriptor; /* of the log; -1 until there is something to note */
    bool loaded;    /* what the log says is known */
    uint64_t size;  /* of the file; bytes */
    pthread_mutex_t lock;
    struct note *items;
    size_t count, capacity;
};

static bool fail(struct flow_error *error, const char *what)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s " SET_NOTES_NAME ": %s", what,
                   strerror(code));
    return false;
}

static bool is_of(const struct note *note, const struct stat *status)
{
    return note->inode == status->st_ino && note->size == status->st_size &&
           note->changed.tv_sec == status->st_mtim.tv_sec &&
           note->changed.tv_nsec == status->st_mtim.tv_nsec;
}

static bool look(const struct set_notes *notes, const char *name, struct stat *status)
{
    return fstatat(notes->root, name, status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status->st_mode);
}

/* Takes out the notes of that name, or of all with NULL, that are not of the file that has it. */
static void drop_untrue(struct set_notes *notes, const char *name)
{
    struct stat status;
    size_t kept = 0;
    for (size_t i = 0; i < notes->count; i++) {
        struct note *note = &notes->items[i];
        bool asked = !name || strcmp(note->name, name) == 0;
        if (asked && !(look(notes, note->name, &status) && is_of(note, &status)))
            free(note->name);
        else
            notes->items[kept++] = *note;
    }
    notes->count = kept;
}

static bool add(struct set_notes *notes, const char *name, const struct note *facts)
{
    if (notes->count == notes->capacity) {
        size_t capacity = notes->capacity ? notes->capacity * 2 : 16;
        struct note *grown = reallocarray(notes->items, capacity, sizeof *grown);
        if (!grown)
            return false;
        notes->items = grown;
        notes->capacity = capacity;
    }
    size_t size = strlen(name) + 1;
    char *copy = malloc(size);
    if (!copy)
        return false;
    memcpy(copy, name, size);
    notes->items[notes->count] = *facts;
    notes->items[notes->count++].name = copy;
    return true;
}

static void append_line(struct buffer *line, const char *name, const struct note *note)
{
    buffer_printf(line, "%ju %jd %jd %ld ", (uintmax_t)note->inode, (intmax_t)note->size,
                  (intmax_t)note->changed.tv_sec, note->changed.tv_nsec);
    for (; *name; name++)
        if (*name == '%' || *name == '\n')
            buffer_printf(line, "%%%02X", (unsigned)*name);
        else
            buffer_append_byte(line, (uint8_t)*name);
    buffer_append_byte(line, '\n');
}

/* In place: what a percent-encoded name stands for. */
static void decode_name(char *name)
{
    char *to = name;
    for (const char *from = name; *from;) {
        unsigned code;
        if (*from == '%' && sscanf(from + 1, "%2x", &code) == 1 && code) {
            *to++ = (char)code;
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* A line that says something else, as the last one of a full disk may, is passed over. */
static bool read_line(struct set_notes *notes, char *line)
{
    uintmax_t inode;
    intmax_t size, seconds;
    long nanoseconds;
    int length = 0;
    if (sscanf(line, "%ju %jd %jd %ld %n", &inode, &size, &seconds, &nanoseconds, &length) != 4 ||
        !length || !line[length])
        return true;
    struct note note = {
        .inode = (ino_t)inode,
        .size = (off_t)size,
        .changed = {(time_t)seconds, nanoseconds},
    };
    decode_name(line + length);
    return add(notes, line + length, &note);
}

static bool read_text(const struct set_notes *notes, struct buffer *text, struct flow_error *error)
{
    for (;;) {
        if (!buffer_reserve(text, 4096))
            return flow_error_memory(error);
        ssize_t got = pread(notes->descriptor, text->data + text->size, 4096, (off_t)text->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(error, "cannot read");
        if (got == 0)
            return true;
        text->size += (size_t)got;
    }
}

static bool read_all(struct set_notes *notes, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    bool done = read_text(notes, &text, error);
    char *line = (char *)text.data;
    size_t left = text.size;
    for (char *end; done && left && (end = memchr(line, '\n', left)); line = end + 1) {
        *end = '\0';
        left -= (size_t)(end - line) + 1;
        done = read_line(notes, line) || flow_error_memory(error);
    }
    buffer_free(&text);
    return done;
}

static bool write_at_end(struct set_notes *notes, struct bytes text, bool durable,
                         struct flow_error *error)
{
    uint64_t size = notes->size;
    while (text.size > 0) {
        ssize_t written = pwrite(notes->descriptor, text.data, text.size, (off_t)size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(error, "cannot write");
        text = bytes_make(text.data + written, text.size - (size_t)written);
        size += (uint64_t)written;
    }
    if (durable && fdatasync(notes->descriptor) != 0)
        return fail(error, "cannot sync");
    notes->size = size;
    return true;
}

static bool lock(int descriptor, struct flow_error *error)
{
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return fail(error, "cannot lock");
    flow_error_set(error, EBUSY, FLOW_ERROR_NO_OFFSET,
                   "the staging folder is in use by another mount; unmount it, or choose another "
                   "folder with --staging");
    return false;
}

/* The lock is the folder's, so that a mount that stages nothing leaves nothing behind. */
static bool lock_folder(struct set_notes *notes, struct flow_error *error)
{
    notes->locked = openat(notes->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (notes->locked < 0)
        return fail(error, "the staging folder cannot be used: cannot lock");
    return lock(notes->locked, error);
}

static bool open_log(struct set_notes *notes, int flags, struct flow_error *error)
{
    if (notes->descriptor >= 0)
        return true;
    notes->descriptor = openat(notes->root, SET_NOTES_NAME,
                               O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
    return notes->descriptor >= 0 || fail(error, "the staging folder cannot be used: cannot open");
}

static void append_all(const struct set_notes *notes, struct buffer *text)
{
    for (size_t i = 0; i < notes->count; i++)
        append_line(text, notes->items[i].name, &notes->items[i]);
}

/* Writes the log anew without what is not true any more. */
static bool rewrite(struct set_notes *notes, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    struct set_notes next = {.root = notes->root};
    unlinkat(notes->root, NEW_NAME, 0);
    next.descriptor =
        openat(notes->root, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (next.descriptor < 0)
        return fail(error, "cannot write");
    append_all(notes, &text);
    bool done = (!text.failed || flow_error_memory(error)) &&
                write_at_end(&next, buffer_bytes(&text), true, error) &&
                (renameat(notes->root, NEW_NAME, notes->root, SET_NOTES_NAME) == 0 ||
                 fail(error, "cannot replace"));
    buffer_free(&text);
    if (!done) {
        unlinkat(notes->root, NEW_NAME, 0);
        close(next.descriptor);
        return false;
    }
    close(notes->descriptor);
    notes->descriptor = next.descriptor;
    notes->size = next.size;
    return true;
}

static bool load(struct set_notes *notes, struct flow_error *error)
{
    struct stat status;
    if (look(notes, SET_NOTES_NAME, &status) && !open_log(notes, 0, error))
        return false;
    if (notes->descriptor < 0)
        return true;
    if (!read_all(notes, error))
        return false;
    size_t before = notes->count;
    drop_untrue(notes, NULL);
    if (fstat(notes->descriptor, &status) != 0)
        return fail(error, "cannot read");
    notes->size = (uint64_t)status.st_size;
    /* A last line that was torn goes, too. */
    return (before == notes->count && !notes->size) || rewrite(notes, error);
}

struct set_notes *set_notes_open(int root, struct flow_error *error)
{
    struct set_notes *notes = calloc(1, sizeof *notes);
    if (!notes) {
        flow_error_memory(error);
        return NULL;
    }
    notes->root = root;
    notes->locked = notes->descriptor = -1;
    pthread_mutex_init(&notes->lock, NULL);
    notes->loaded = lock_folder(notes, error) && load(notes, error);
    if (notes->loaded)
        return notes;
    set_notes_close(notes);
    return NULL;
}

bool set_notes_add(struct set_notes *notes, const char *name, const struct stat *status,
                   bool durable, struct flow_error *error)
{
    struct buffer line = BUFFER_INIT;
    struct note note = {
        .inode = status->st_ino, .size = status->st_size, .changed = status->st_mtim};
    append_line(&line, name, &note);
    pthread_mutex_lock(&notes->lock);
    drop_untrue(notes, name);
    bool done = open_log(notes, O_CREAT, error) &&
                ((!line.failed && add(notes, name, &note)) || flow_error_memory(error));
    if (done && notes->size > LONGEST)
        done = rewrite(notes, error);
    else if (done)
        done = write_at_end(notes, buffer_bytes(&line), durable, error);
    pthread_mutex_unlock(&notes->lock);
    buffer_free(&line);
    return done;
}

bool set_notes_are_of(struct set_notes *notes, const char *name, bool *there, struct stat *status)
{
    struct stat found;
    bool ours = false;
    bool exists = fstatat(notes->root, name, &found, AT_SYMLINK_NOFOLLOW) == 0;
    if (there)
        *there = exists;
    if (!exists)
        return false;
    if (status)
        *status = found;
    pthread_mutex_lock(&notes->lock);
    for (size_t i = 0; S_ISREG(found.st_mode) && !ours && i < notes->count; i++)
        ours = strcmp(notes->items[i].name, name) == 0 && is_of(&notes->items[i], &found);
    pthread_mutex_unlock(&notes->lock);
    return ours;
}

void set_notes_close(struct set_notes *notes)
{
    if (!notes)
        return;
    drop_untrue(notes, NULL);
    if (notes->descriptor >= 0) {
        if (notes->loaded && notes->count == 0)
            unlinkat(notes->root, SET_NOTES_NAME, 0);
        close(notes->descriptor);
    }
    if (notes->locked >= 0)
        close(notes->locked);
    for (size_t i = 0; i < notes->count; i++)
        free(notes->items[i].name);
    free(notes->items);
    pthread_mutex_destroy(&notes->lock);
    free(notes);
}
