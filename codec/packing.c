#include "packing.h"

#include "json_parse.h"
#include "record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A flow is packed in memory; the tree shows no longer content either (FLOWDIR_DECODE_LIMIT). A
 * sparse file of a terabyte costs nothing to make. */
#define LONGEST_FILE ((uint64_t)4 << 30)

__attribute__((format(printf, 3, 0))) static bool
tell(const struct packing *packing, const char *place, const char *format, va_list arguments)
{
    char message[sizeof packing->error->message];
    vsnprintf(message, sizeof message, format, arguments);
    flow_error_set(packing->error, EBADMSG, FLOW_ERROR_NO_OFFSET, "%s: %s", place, message);
    return false;
}

bool packing_mistake(const struct packing *packing, const char *file, size_t line,
                     const char *format, ...)
{
    char place[96];
    va_list arguments;
    if (line)
        snprintf(place, sizeof place, "%s:%zu", file, line);
    else
        snprintf(place, sizeof place, "%s", file);
    va_start(arguments, format);
    tell(packing, place, format, arguments);
    va_end(arguments);
    return false;
}

static void place_in_json(char place[96], enum flowdir_file file, struct bytes text,
                          uint64_t offset)
{
    size_t line, column;
    json_parse_place(text, offset, &line, &column);
    snprintf(place, 96, "%s:%zu:%zu", flowdir_file_name(file), line, column);
}

bool packing_json_mistake(const struct packing *packing, const struct value *value,
                          const char *format, ...)
{
    char place[96] = "flow.json";
    va_list arguments;
    if (value && value->offset != VALUE_NO_OFFSET)
        place_in_json(place, FLOWDIR_FLOW, packing->json, value->offset);
    va_start(arguments, format);
    tell(packing, place, format, arguments);
    va_end(arguments);
    return false;
}

const char *packing_excerpt(struct bytes text, char excerpt[PACKING_EXCERPT])
{
    size_t room = PACKING_EXCERPT - 4;
    size_t size = text.size < room ? text.size : room;
    for (size_t i = 0; i < size; i++)
        excerpt[i] = text.data[i] >= 0x20 && text.data[i] < 0x7F ? (char)text.data[i] : '?';
    snprintf(excerpt + size, 4, "%s", text.size > size ? "..." : "");
    return excerpt;
}

static bool ends_in(struct bytes name, const char *end)
{
    size_t size = strlen(end);
    return name.size > size && memcmp(name.data + name.size - size, end, size) == 0;
}

static bool starts_with(struct bytes name, const char *start)
{
    size_t size = strlen(start);
    return name.size >= size && memcmp(name.data, start, size) == 0;
}

static bool is_any(struct bytes name, bool (*test)(struct bytes, const char *),
                   const char *const *parts)
{
    for (; *parts; parts++)
        if (test(name, *parts))
            return true;
    return false;
}

/* What editors and version control put beside a file. */
static bool is_left_behind(struct bytes name)
{
    static const char *const ends[] = {"~", ".orig", ".rej", ".bak", ".tmp", ".swp", ".save", NULL};
    return starts_with(name, ".") || starts_with(name, "#") || is_any(name, ends_in, ends);
}

/* A name that nobody has by chance: with a letter wrong it must not be lost in silence. */
static bool is_misspelt(struct bytes name)
{
    static const char *const starts[] = {"request.", "response.", "flow.",
                                         "query.",   "answer.",   NULL};
    static const char *const ends[] = {".headers", ".body", ".raw", ".trailers", NULL};
    return is_any(name, starts_with, starts) || is_any(name, ends_in, ends);
}

static bool list_entry(struct packing *packing, const struct dirent *entry)
{
    struct stat status;
    struct bytes name = bytes_of(entry->d_name);
    enum flowdir_file file = flowdir_file_of_name(name);
    bool messages = bytes_equal_text(name, FLOWDIR_MESSAGES_NAME);
    char shown[PACKING_EXCERPT];
    /* There may be very many others: they are not looked at. */
    if (is_left_behind(name) || (file == FLOWDIR_FILES && !messages && !is_misspelt(name)))
        return true;
    if (fstatat(packing->directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) /* gone meanwhile, as an editor's file is */
            return true;
        flow_error_set(packing->error, errno, FLOW_ERROR_NO_OFFSET, "%s: %s",
                       packing_excerpt(name, shown), strerror(errno));
        return false;
    }
    if (file != FLOWDIR_FILES)
        packing->files |= flowdir_bit(file);
    else if (messages)
        packing->files |= FLOWDIR_MESSAGES_BIT;
    else if (!S_ISDIR(status.st_mode))
        return packing_mistake(packing, packing_excerpt(name, shown), 0,
                               "found a file that is no part of a flow, expected request.headers, "
                               ".body, .body.raw, .trailers, likewise response, or flow.json; "
                               "rename or remove it");
    return true;
}

bool packing_list(struct packing *packing)
{
    /* A description of its own: the caller's may be in the middle of a listing. */
    int descriptor = openat(packing->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!listing) {
        flow_error_set(packing->error, errno, FLOW_ERROR_NO_OFFSET,
                       "the directory cannot be listed: %s", strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    const struct dirent *entry = NULL;
    bool done = true;
    errno = 0;
    while (done && (entry = readdir(listing))) {
        done = list_entry(packing, entry);
        errno = 0;
    }
    if (done && errno) {
        flow_error_set(packing->error, errno, FLOW_ERROR_NO_OFFSET,
                       "the directory cannot be listed: %s", strerror(errno));
        done = false;
    }
    closedir(listing);
    return done;
}

bool packing_has(const struct packing *packing, enum flowdir_file file)
{
    return packing->files & flowdir_bit(file);
}

static bool fail_read(const struct packing *packing, const char *shown)
{
    flow_error_set(packing->error, errno, FLOW_ERROR_NO_OFFSET, "%s: %s", shown, strerror(errno));
    return false;
}

static bool read_all(const struct packing *packing, int descriptor, size_t size, const char *shown,
                     struct bytes *content)
{
    uint8_t *data = arena_alloc(packing->arena, size ? size : 1);
    size_t have = 0;
    if (!data)
        return flow_error_memory(packing->error);
    while (have < size) {
        ssize_t got = pread(descriptor, data + have, size - have, (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_read(packing, shown);
        if (got == 0)
            break; /* cut short meanwhile: whoever does that will want it packed again */
        have += (size_t)got;
    }
    *content = bytes_make(data, have);
    return true;
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISLNK(mode) ? "a symbolic link" : "a special file";
}

bool packing_read_at(const struct packing *packing, int directory, const char *name,
                     const char *shown, struct bytes *content, double *seconds)
{
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_read(packing, shown);
    if (!S_ISREG(status.st_mode))
        return packing_mistake(packing, shown, 0, "found %s, expected a plain file",
                               kind_of(status.st_mode));
    int descriptor = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        return fail_read(packing, shown);
    bool done;
    if (fstat(descriptor, &status) != 0)
        done = fail_read(packing, shown);
    else if (!S_ISREG(status.st_mode))
        done = packing_mistake(packing, shown, 0, "found something else, expected a plain file");
    else if ((uint64_t)status.st_size > LONGEST_FILE)
        done = packing_mistake(packing, shown, 0, "found %lld bytes, expected at most %llu",
                               (long long)status.st_size, (unsigned long long)LONGEST_FILE);
    else
        done = read_all(packing, descriptor, (size_t)status.st_size, shown, content);
    close(descriptor);
    if (seconds)
        *seconds = (double)status.st_mtim.tv_sec + (double)status.st_mtim.tv_nsec / 1e9;
    return done;
}

bool packing_read(const struct packing *packing, enum flowdir_file file, struct bytes *content)
{
    const char *name = flowdir_file_name(file);
    return packing_read_at(packing, packing->directory, name, name, content, NULL);
}

double packing_time(const struct packing *packing, enum flowdir_file file)
{
    struct stat status;
    if (fstatat(packing->directory, flowdir_file_name(file), &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return (double)status.st_mtim.tv_sec + (double)status.st_mtim.tv_nsec / 1e9;
}

/* The first key that no flow file may have: JSON has forms for them all. */
static const struct value *find_odd_key(const struct value *value)
{
    const struct value *found = NULL;
    for (const struct value *child = value->first; child && !found; child = child->next)
        if (child->key &&
            (!value_is_string(child->key) || child->key->bytes.size > RECORD_LONG_STRING))
            found = child->key;
        else if (child->kind >= VALUE_LIST)
            found = find_odd_key(child);
    return found;
}

struct value *packing_read_json(const struct packing *packing, enum flowdir_file file,
                                struct bytes *text)
{
    char place[96];
    struct flow_error found = {0};
    if (!packing_read(packing, file, text))
        return NULL;
    struct value *value = json_parse(*text, packing->arena, &found);
    const struct value *odd_key = value ? find_odd_key(value) : NULL;
    if (value && !odd_key && (file == FLOWDIR_FLOW || value->kind == VALUE_DICT))
        return value;
    if (found.code == ENOMEM) {
        flow_error_memory(packing->error);
        return NULL;
    }
    if (odd_key)
        flow_error_set(&found, EBADMSG, odd_key->offset,
                       "found another key, expected text or bytes, at most %zu long",
                       RECORD_LONG_STRING);
    else if (value)
        flow_error_set(&found, EBADMSG, value->offset, "found another value, expected an object");
    place_in_json(place, file, *text, found.offset);
    flow_error_set(packing->error, EBADMSG, FLOW_ERROR_NO_OFFSET, "%s: %s", place, found.message);
    return NULL;
}

const struct value *packing_note(const struct packing *packing, const char *name)
{
    return value_get(packing->notes, name);
}

static const struct value *noted_order(const struct packing *packing, enum flowdir_dict which)
{
    const struct value *orders = packing_note(packing, "order");
    const struct value *order = value_get(orders, flowdir_dict_name(which));
    return value_is(order, VALUE_LIST) ? order : NULL;
}

static const struct value *usual_order(const struct packing *packing, enum flowdir_dict which)
{
    struct value *order = value_list(packing->arena);
    for (const char *const *name = flowdir_usual_order(which); *name; name++)
        if (!value_append(order, value_text(packing->arena, bytes_of(*name))))
            return NULL;
    return order;
}

bool packing_put(const struct packing *packing, struct value *dict, enum flowdir_dict which,
                 const char *key, struct value *member)
{
    const struct value *order = noted_order(packing, which);
    if (!order)
        order = usual_order(packing, which);
    return (order && flowdir_place(packing->arena, dict, order, key, member)) ||
           flow_error_memory(packing->error);
}

bool packing_had(const struct packing *packing, enum flowdir_dict which, const char *key)
{
    const struct value *order = noted_order(packing, which);
    for (const struct value *name = order ? order->first : NULL; name; name = name->next)
        if (bytes_equal_text(value_string(name), key))
            return true;
    return !order;
}
