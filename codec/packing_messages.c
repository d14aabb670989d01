/* Messages: each file of messages/ is one, in the order of their numbers. What a file does not tell
 * of its message, the item of that number in flow.json does. */
#include "packing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE 64

struct message_file {
    uint64_t number;
    char fraction[16]; /* digits behind a point; "" for a message that flow.json may know */
    bool from_client, is_text;
    char name[NAME_SIZE];
};

struct message_files {
    int directory; /* -1: there is none */
    struct message_file *files;
    size_t count, capacity;
};

/* Takes the digits at *text, at most 15. */
static size_t take_digits(const char **text, char digits[16])
{
    size_t count = 0;
    while (**text >= '0' && **text <= '9' && count < 15)
        digits[count++] = *(*text)++;
    digits[count] = '\0';
    return count;
}

/* `0001-client.txt`, or `0001.5-client.txt`. */
static bool parse_name(const char *name, struct message_file *file)
{
    static const struct {
        const char *text;
        bool from_client, is_text;
    } ends[] = {{"-client.txt", true, true},
                {"-client.bin", true, false},
                {"-server.txt", false, true},
                {"-server.bin", false, false}};
    char digits[16];
    *file = (struct message_file){0};
    if (strlen(name) >= NAME_SIZE || !take_digits(&name, digits))
        return false;
    file->number = strtoull(digits, NULL, 10);
    if (*name == '.') {
        name++;
        if (!take_digits(&name, file->fraction))
            return false;
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(name, ends[i].text) == 0) {
            file->from_client = ends[i].from_client;
            file->is_text = ends[i].is_text;
            return true;
        }
    return false;
}

static bool is_left_behind(const char *name)
{
    size_t size = strlen(name);
    static const char *const ends[] = {"~", ".orig", ".rej", ".bak", ".tmp", ".swp", ".save"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (size > strlen(ends[i]) && strcmp(name + size - strlen(ends[i]), ends[i]) == 0)
            return true;
    return name[0] == '.' || name[0] == '#';
}

static bool add_file(const struct packing *packing, struct message_files *files, const char *name)
{
    struct message_file file;
    char shown[PACKING_EXCERPT];
    if (is_left_behind(name))
        return true;
    if (!parse_name(name, &file))
        return packing_mistake(packing, FLOWDIR_MESSAGES_NAME, 0,
                               "found \"%s\", expected names as 0001-client.txt: number, client or "
                               "server, .txt or .bin",
                               packing_excerpt(bytes_of(name), shown));
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? files->capacity * 2 : 64;
        struct message_file *grown = reallocarray(files->files, capacity, sizeof *grown);
        if (!grown)
            return flow_error_memory(packing->error);
        files->files = grown;
        files->capacity = capacity;
    }
    snprintf(file.name, sizeof file.name, "%s", name);
    files->files[files->count++] = file;
    return true;
}

static int compare_numbers(const struct message_file *a, const struct message_file *b)
{
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return strcmp(a->fraction, b->fraction);
}

/* By name where the number is the same, so that a mistake is always told in the same words. */
static int compare_files(const void *left, const void *right)
{
    const struct message_file *a = left, *b = right;
    int order = compare_numbers(a, b);
    return order ? order : strcmp(a->name, b->name);
}

static bool fail(const struct packing *packing)
{
    flow_error_set(packing->error, errno, FLOW_ERROR_NO_OFFSET, "messages: %s", strerror(errno));
    return false;
}

static bool read_names(const struct packing *packing, struct message_files *files)
{
    const struct dirent *entry = NULL;
    int descriptor = openat(files->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!listing) {
        fail(packing);
        if (descriptor >= 0)
            close(descriptor);
        return false;
    }
    bool done = true;
    errno = 0;
    while (done && (entry = readdir(listing))) {
        done = add_file(packing, files, entry->d_name);
        errno = 0;
    }
    if (done && errno)
        done = fail(packing);
    closedir(listing);
    return done;
}

static bool list_files(const struct packing *packing, struct message_files *files)
{
    files->directory = openat(packing->directory, FLOWDIR_MESSAGES_NAME,
                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (files->directory < 0 && (errno == ENOTDIR || errno == ELOOP))
        return packing_mistake(packing, FLOWDIR_MESSAGES_NAME, 0,
                               "found something else, expected a directory");
    if (files->directory < 0)
        return fail(packing);
    if (!read_names(packing, files))
        return false;
    if (files->count)
        qsort(files->files, files->count, sizeof *files->files, compare_files);
    for (size_t i = 1; i < files->count; i++)
        if (compare_numbers(&files->files[i - 1], &files->files[i]) == 0)
            return packing_mistake(packing, FLOWDIR_MESSAGES_NAME, 0,
                                   "found %s and %s, expected each number once",
                                   files->files[i - 1].name, files->files[i].name);
    return true;
}

/* Where the list is: in the flow, or in its WebSocket's data, which may have to be made. */
static struct value *find_holder(const struct packing *packing, bool websocket)
{
    if (!websocket)
        return packing->state;
    struct value *holder = value_get(packing->state, "websocket");
    if (!value_is_null(holder))
        return holder;
    holder = packing_default_websocket(packing);
    if (holder && !packing_put(packing, packing->state, FLOWDIR_STATE, "websocket", holder))
        holder = NULL;
    return holder;
}

/* The list being made. */
struct making {
    const struct packing *packing;
    const struct message_files *files;
    bool websocket;
    bool noted;  /* flow.json holds contents, but the files were edited: they count */
    double time; /* of the message before, or of a new one */
    struct value *list;
};

/* Behind the sender in an item: the content, if flow.json holds it, else the time. */
static struct value *behind_sender(const struct making *making, const struct value *item)
{
    const struct value *sender = making->websocket ? item->first->next : item->first;
    return sender->next;
}

static bool is_item(const struct making *making, const struct value *item)
{
    return value_is(item, VALUE_LIST) && item->count >= (making->websocket ? 3u : 2u);
}

/* A message as mitmproxy makes it, still without content. */
static struct value *make_item(const struct making *making, const struct message_file *file)
{
    struct arena *arena = making->packing->arena;
    struct value *item = value_list(arena);
    bool done =
        (!making->websocket || value_append(item, value_int(arena, file->is_text ? 1 : 2))) &&
        value_append(item, value_bool(arena, file->from_client)) &&
        value_append(item, value_float(arena, making->time)) &&
        (!making->websocket || (value_append(item, value_bool(arena, false)) &&
                                value_append(item, value_bool(arena, false))));
    if (!done)
        flow_error_memory(making->packing->error);
    return done ? item : NULL;
}

/* Opcodes and senders follow the file's name; numbers and truth as they are stay as written. */
static bool follow_name(const struct making *making, struct value *item,
                        const struct message_file *file)
{
    struct value *sender = making->websocket ? item->first->next : item->first;
    int64_t opcode = 0;
    if (value_is_true(sender) != file->from_client) {
        sender->kind = VALUE_BOOL;
        sender->boolean = file->from_client;
        sender->bytes = bytes_make(NULL, 0);
    }
    if (!making->websocket)
        return true;
    bool known = value_to_int64(item->first, &opcode);
    if ((known && opcode == 1) == file->is_text)
        return true;
    item->first->kind = VALUE_INT;
    item->first->bytes = bytes_of(file->is_text ? "1" : "2");
    return true;
}

/* Makes a list of the item's parts with the content between them. */
static struct value *with_content(const struct making *making, struct value *item,
                                  struct bytes content)
{
    struct arena *arena = making->packing->arena;
    struct value *whole = value_list(arena);
    struct value *behind = behind_sender(making, item);
    for (struct value *part = item->first; part;) {
        struct value *next = part->next;
        if (part == behind && !value_append(whole, value_bytes(arena, content)))
            break;
        part->next = part->previous = NULL;
        if (!value_append(whole, part))
            break;
        part = next;
    }
    if (!whole || whole->count != item->count + 1) {
        flow_error_memory(making->packing->error);
        return NULL;
    }
    return whole;
}

static bool add_message(struct making *making, struct value *item, const struct message_file *file)
{
    const struct packing *packing = making->packing;
    struct bytes content;
    char shown[NAME_SIZE + 16];
    double time = 0;
    snprintf(shown, sizeof shown, "%s/%s", FLOWDIR_MESSAGES_NAME, file->name);
    if (!packing_read_at(packing, making->files->directory, file->name, shown, &content, &time))
        return false;
    if (!item) {
        making->time = making->time > 0 ? making->time : time;
        item = make_item(making, file);
    } else if (!is_item(making, item)) {
        return packing_json_mistake(packing, item, "found another value, expected a message: %s",
                                    making->websocket
                                        ? "[opcode, from_client, timestamp, dropped, injected]"
                                        : "[from_client, timestamp]");
    }
    if (!item)
        return false;
    const struct value *behind = behind_sender(making, item);
    bool complete = value_is_string(behind);
    if (complete && !bytes_equal(behind->bytes, content) && !making->noted)
        return packing_json_mistake(packing, behind,
                                    "found a content that is not that of %s, expected it there "
                                    "alone: remove it",
                                    shown);
    value_to_double(complete ? behind->next : behind, &making->time);
    follow_name(making, item, file);
    struct value *whole =
        complete ? value_copy(packing->arena, item) : with_content(making, item, content);
    if (complete && whole && !bytes_equal(behind->bytes, content)) {
        struct value *old = behind_sender(making, whole);
        old->kind = VALUE_BYTES;
        old->bytes = content;
    }
    return value_append(making->list, whole) || flow_error_memory(packing->error);
}

/* Whether the files are those that were written for messages that flow.json holds, too. */
static bool are_untouched(const struct packing *packing, const struct message_files *files,
                          const struct value *note, bool *untouched)
{
    struct flowdir_note_sum sum = FLOWDIR_NOTE_SUM_INIT;
    char shown[NAME_SIZE + 16];
    for (size_t i = 0; i < files->count; i++) {
        struct bytes content;
        const char *name = files->files[i].name;
        snprintf(shown, sizeof shown, "%s/%s", FLOWDIR_MESSAGES_NAME, name);
        if (!packing_read_at(packing, files->directory, name, shown, &content, NULL))
            return false;
        flowdir_note_add(&sum, bytes_of(name));
        flowdir_note_add(&sum, content);
    }
    *untouched = flowdir_note_matches_sum(note, sum);
    return true;
}

/* An item that is no message has no file and no number. */
static bool is_odd(const struct making *making, const struct value *item)
{
    struct flow flow = {.type = making->websocket ? FLOW_HTTP : FLOW_TCP};
    struct flow_stream_message message;
    return making->noted && !flow_stream_message(&flow, item, &message);
}

static bool keep_odd(const struct making *making, struct value **item)
{
    for (; *item && is_odd(making, *item); *item = (*item)->next)
        if (!value_append(making->list, value_copy(making->packing->arena, *item)))
            return flow_error_memory(making->packing->error);
    return true;
}

/* Moves *item to the one of that number; those before it, whose files are gone, are left out. */
static bool find_item(const struct making *making, struct value **item, uint64_t *number,
                      uint64_t wanted)
{
    while (keep_odd(making, item)) {
        if (!*item || *number >= wanted)
            return true;
        *item = (*item)->next;
        ++*number;
    }
    return false;
}

static bool make_list(struct making *making, struct value *told)
{
    uint64_t number = 1; /* of the item */
    struct value *item = told ? told->first : NULL;
    for (size_t i = 0; i < making->files->count; i++) {
        const struct message_file *file = &making->files->files[i];
        struct value *of_file = NULL;
        if (!file->fraction[0]) {
            if (!find_item(making, &item, &number, file->number))
                return false;
            if (item && number == file->number) {
                of_file = item;
                item = item->next;
                number++;
            }
        }
        if (!add_message(making, of_file, file))
            return false;
    }
    return keep_odd(making, &item);
}

static bool pack_files(const struct packing *packing, const struct message_files *files,
                       bool websocket)
{
    struct value *holder = find_holder(packing, websocket);
    struct value *told = value_get(holder, "messages");
    if (!holder)
        return flow_error_memory(packing->error);
    if (!value_is(holder, VALUE_DICT) || (!value_is_null(told) && !value_is(told, VALUE_LIST)))
        return packing_json_mistake(packing, told ? told : holder,
                                    "found another value, expected %s",
                                    told ? "a list of messages" : "an object");
    const struct value *note = packing_note(packing, FLOWDIR_MESSAGES_NAME);
    bool untouched = false;
    if (note && !are_untouched(packing, files, note, &untouched))
        return false;
    if (untouched && value_is(told, VALUE_LIST))
        return true;
    struct making making = {.packing = packing,
                            .files = files,
                            .websocket = websocket,
                            .noted = note != NULL,
                            .list = value_list(packing->arena)};
    if (!making.list)
        return flow_error_memory(packing->error);
    making.list->offset = told ? told->offset : VALUE_NO_OFFSET;
    if (!make_list(&making, value_is(told, VALUE_LIST) ? told : NULL))
        return false;
    bool put = websocket ? value_set(packing->arena, holder, "messages", making.list)
                         : packing_put(packing, holder, FLOWDIR_STATE, "messages", making.list);
    return put || flow_error_memory(packing->error);
}

/* Written by hand, flow.json may hold the messages with their contents. */
static bool all_whole(const struct value *list, bool websocket)
{
    struct flow flow = {.type = websocket ? FLOW_HTTP : FLOW_TCP};
    struct flow_stream_message message;
    for (const struct value *item = list->first; item; item = item->next)
        if (!flow_stream_message(&flow, item, &message))
            return false;
    return true;
}

bool packing_messages(const struct packing *packing)
{
    struct message_files files = {.directory = -1};
    enum flow_type type = flow_type_of_name(value_string(value_get(packing->state, "type")));
    bool http = type == FLOW_HTTP;
    const struct value *holder = http ? value_get(packing->state, "websocket") : packing->state;
    const struct value *told = value_get(holder, "messages");
    bool has_files = packing->files & FLOWDIR_MESSAGES_BIT;
    if (type == FLOW_DNS || type == FLOW_OTHER)
        return !has_files ||
               packing_mistake(packing, FLOWDIR_MESSAGES_NAME, 0,
                               "found messages, expected them only with the types http, tcp, udp");
    if (!has_files && (!value_is(told, VALUE_LIST) || !told->count))
        return true;
    if (!has_files && packing->by_hand && all_whole(told, http))
        return true;
    bool done = (!has_files || list_files(packing, &files)) && pack_files(packing, &files, http);
    if (files.directory >= 0)
        close(files.directory);
    free(files.files);
    return done;
}
