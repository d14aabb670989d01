#include "har_scan.h"

#include <errno.h>
#include <stdlib.h>

/* The scanner stands on a byte of a window that slides over the source. Three readers share it:
 *
 * - the document walk (WALK_*) goes from the root to log.entries and behind it;
 * - skip_value steps over one value and checks its grammar, with a stack of one bit a level;
 * - find_entry looks for a place to go on after a break. It doesn't trust the grammar, not even
 *   whether it is inside a string. */

#define NO_BYTE (-1)
#define NAME_SIZE 24 /* longer than any name that matters */

enum walk {
    WALK_START,
    WALK_ROOT,    /* inside the root object, before a name or its end */
    WALK_LOG,     /* inside log */
    WALK_ENTRIES, /* inside log.entries, before an element or the end */
    WALK_TAIL,    /* behind the root object */
    WALK_END,
};

struct har_scanner {
    const struct source *source;
    uint8_t *window;
    size_t window_size;
    const uint8_t *at, *end; /* the unread part of the window */
    uint64_t end_offset;     /* of `end` in the source */
    enum walk walk;
    bool first;         /* no member or element of the innermost container has been read */
    bool found_entries; /* log.entries, or an entry behind a break */
    bool read_failed;
    struct flow_error *error; /* the caller's, during a call */
    const char *expected;     /* after a break: what should have been there... */
    uint64_t break_offset;    /* ...and where */
    int break_code;
    uint64_t levels[HAR_SCAN_DEPTH_LIMIT / 64]; /* skip_value's stack: 1 in an object */
};

bool har_scan_looks_like_har(struct bytes start)
{
    size_t at = 0;
    if (start.size >= 3 && memcmp(start.data, "\xEF\xBB\xBF", 3) == 0)
        at = 3;
    while (at < start.size && strchr(" \t\r\n", start.data[at] ? start.data[at] : 'x'))
        at++;
    return at < start.size && start.data[at] == '{';
}

struct har_scanner *har_scan_open(const struct source *source, size_t window,
                                  struct flow_error *error)
{
    struct har_scanner *scanner = calloc(1, sizeof *scanner);
    if (scanner && (scanner->window = malloc(window))) {
        scanner->source = source;
        scanner->window_size = window;
        scanner->at = scanner->end = scanner->window;
        return scanner;
    }
    free(scanner);
    flow_error_memory(error);
    return NULL;
}

void har_scan_close(struct har_scanner *scanner)
{
    if (scanner)
        free(scanner->window);
    free(scanner);
}

static uint64_t position(const struct har_scanner *scanner)
{
    return scanner->end_offset - (uint64_t)(scanner->end - scanner->at);
}

/* False at the end of the source and if reading fails. */
static bool refill(struct har_scanner *scanner)
{
    size_t got = 0;
    if (scanner->read_failed)
        return false;
    if (!source_read(scanner->source, scanner->end_offset, scanner->window, scanner->window_size,
                     &got, scanner->error)) {
        scanner->read_failed = true;
        got = 0;
    }
    scanner->at = scanner->window;
    scanner->end = scanner->window + got;
    scanner->end_offset += got;
    return got > 0;
}

static void seek(struct har_scanner *scanner, uint64_t offset)
{
    uint64_t start = scanner->end_offset - (uint64_t)(scanner->end - scanner->window);
    if (offset >= start && offset <= scanner->end_offset) {
        scanner->at = scanner->window + (offset - start);
    } else {
        scanner->at = scanner->end = scanner->window;
        scanner->end_offset = offset;
    }
}

static int peek(struct har_scanner *scanner)
{
    if (scanner->at == scanner->end && !refill(scanner))
        return NO_BYTE;
    return *scanner->at;
}

/* The next byte that is no white space, not taken. */
static int peek_token(struct har_scanner *scanner)
{
    for (;;) {
        while (scanner->at < scanner->end) {
            uint8_t byte = *scanner->at;
            if (byte != ' ' && byte != '\n' && byte != '\r' && byte != '\t')
                return byte;
            scanner->at++;
        }
        if (!refill(scanner))
            return NO_BYTE;
    }
}

/* Records a break at the present byte; always false. */
static bool broken(struct har_scanner *scanner, const char *expected)
{
    scanner->expected = expected;
    scanner->break_offset = position(scanner);
    scanner->break_code = EBADMSG;
    return false;
}

static bool expect(struct har_scanner *scanner, char byte, const char *expected)
{
    if (peek_token(scanner) != byte)
        return broken(scanner, expected);
    scanner->at++;
    return true;
}

/* The start of a name, as it is written; longer names are cut. */
struct name {
    char text[NAME_SIZE];
    size_t length;
};

static void name_append(struct name *name, const uint8_t *data, size_t size)
{
    size_t room = NAME_SIZE - name->length;
    memcpy(name->text + name->length, data, size < room ? size : room);
    name->length += size < room ? size : room;
}

static bool name_is(const struct name *name, const char *text)
{
    return name->length == strlen(text) && memcmp(name->text, text, name->length) == 0;
}

/* Steps over a string from behind its opening quote to behind its closing one; keeps its start in
 * `name` if that is not NULL. False at the end of the file. */
static bool skip_string(struct har_scanner *scanner, struct name *name)
{
    bool escaped = false;
    if (name)
        name->length = 0;
    while (peek(scanner) != NO_BYTE) {
        const uint8_t *start = scanner->at, *quote = NULL;
        while (scanner->at < scanner->end) {
            if (escaped) {
                scanner->at++;
                escaped = false;
                continue;
            }
            if (!quote || quote < scanner->at)
                quote = memchr(scanner->at, '"', (size_t)(scanner->end - scanner->at));
            const uint8_t *limit = quote ? quote : scanner->end;
            const uint8_t *slash = memchr(scanner->at, '\\', (size_t)(limit - scanner->at));
            scanner->at = slash ? slash + 1 : limit;
            escaped = slash != NULL;
            if (!slash && quote)
                break;
            if (!quote)
                quote = scanner->end; /* there is none in this window */
        }
        if (name)
            name_append(name, start, (size_t)(scanner->at - start));
        if (scanner->at < scanner->end) {
            scanner->at++;
            return true;
        }
    }
    return broken(scanner, "the end of a string");
}

static bool is_scalar_byte(int byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '+' || byte == '.';
}

/* Steps over a number, true, false or null. NaN and Infinity pass: har_json deals with them. */
static bool skip_scalar(struct har_scanner *scanner)
{
    int byte = peek(scanner);
    if (byte == NO_BYTE || !strchr("-0123456789tfnNI", byte ? byte : 'x'))
        return broken(scanner, "a value");
    while (is_scalar_byte(peek(scanner)))
        scanner->at++;
    return true;
}

static void push_level(struct har_scanner *scanner, size_t depth, bool object)
{
    uint64_t bit = (uint64_t)1 << (depth % 64);
    uint64_t *word = &scanner->levels[depth / 64];
    *word = object ? *word | bit : *word & ~bit;
}

static bool level_is_object(const struct har_scanner *scanner, size_t depth)
{
    return scanner->levels[depth / 64] >> (depth % 64) & 1;
}

/* Steps over `"name":`. */
static bool skip_name(struct har_scanner *scanner, struct name *name)
{
    return expect(scanner, '"', "the name of a member") && skip_string(scanner, name) &&
           expect(scanner, ':', "a colon after a member's name");
}

/* After a value: closes what ends here. *depth is 0 when all is closed; otherwise a comma has been
 * taken. */
static bool close_levels(struct har_scanner *scanner, size_t *depth)
{
    while (*depth) {
        bool object = level_is_object(scanner, *depth - 1);
        int byte = peek_token(scanner);
        if (byte != ',' && byte != (object ? '}' : ']'))
            return broken(scanner, object ? "a comma or the end of an object"
                                          : "a comma or the end of an array");
        scanner->at++;
        if (byte == ',')
            return true;
        --*depth;
    }
    return true;
}

/* Steps over one value, whatever it is. has_request: set if it is an object with that member; may
 * be NULL. False at a break. */
static bool skip_value(struct har_scanner *scanner, bool *has_request)
{
    size_t depth = 0;
    struct name name;
    do {
        if (depth && level_is_object(scanner, depth - 1)) {
            if (!skip_name(scanner, depth == 1 ? &name : NULL))
                return false;
            if (depth == 1 && has_request && name_is(&name, "request"))
                *has_request = true;
        }
        int byte = peek_token(scanner);
        if (byte == '{' || byte == '[') {
            if (depth == HAR_SCAN_DEPTH_LIMIT) {
                broken(scanner, "less nesting");
                scanner->break_code = EFBIG;
                return false;
            }
            scanner->at++;
            push_level(scanner, depth++, byte == '{');
            if (peek_token(scanner) != (byte == '{' ? '}' : ']'))
                continue;
            scanner->at++;
            depth--;
        } else if (byte == '"') {
            scanner->at++;
            if (!skip_string(scanner, NULL))
                return false;
        } else if (!skip_scalar(scanner)) {
            return false;
        }
        if (!close_levels(scanner, &depth))
            return false;
    } while (depth);
    return true;
}

/* The objects that find_entry is inside of: their starts, the innermost last. Beyond the limit the
 * outermost are forgotten. */
struct trail {
    uint64_t starts[HAR_SCAN_DEPTH_LIMIT];
    size_t depth;
};

static void trail_push(struct trail *trail, uint64_t start)
{
    if (trail->depth == HAR_SCAN_DEPTH_LIMIT) {
        /* Half at a time, so that the cost stays linear. */
        trail->depth /= 2;
        memmove(trail->starts, trail->starts + trail->depth, trail->depth * sizeof *trail->starts);
    }
    trail->starts[trail->depth++] = start;
}

/* Steps over a number, true, false or null. False if there is none, or it goes on in a way that no
 * JSON has outside of a string: then this is inside of one. */
static bool skip_loose_scalar(struct har_scanner *scanner)
{
    char text[NAME_SIZE] = "";
    size_t length = 0;
    for (; is_scalar_byte(peek(scanner)); scanner->at++)
        if (length < sizeof text - 1)
            text[length++] = (char)*scanner->at;
    bool number = length && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) &&
                  strspn(text, "-+.0123456789eE") == length;
    return number || strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ||
           strcmp(text, "null") == 0;
}

/* Steps over something that no JSON has outside of a string. If what follows the next quote can
 * follow a string, this was inside of one, which ends there. Otherwise only the stray byte is
 * skipped, and so are those up to that quote: *outside. False at the end. */
static bool skip_stray(struct har_scanner *scanner, uint64_t *outside)
{
    uint64_t here = position(scanner);
    if (here >= *outside) {
        if (!skip_string(scanner, NULL))
            return false;
        *outside = position(scanner);
        int byte = peek_token(scanner);
        if (byte == NO_BYTE || byte == ',' || byte == ':' || byte == '}' || byte == ']')
            return true;
        seek(scanner, here);
    }
    if (peek(scanner) != NO_BYTE && !strchr("\"{}", *scanner->at ? *scanner->at : 'x'))
        scanner->at++;
    return true;
}

/* Goes on to the next object that might be an entry: true with its start. False at the end. */
static bool find_candidate(struct har_scanner *scanner, uint64_t *start)
{
    struct trail trail;
    struct name name;
    uint64_t outside = 0;
    trail.depth = 0;
    for (int byte = peek_token(scanner); byte != NO_BYTE; byte = peek_token(scanner)) {
        uint64_t here = position(scanner);
        scanner->at++;
        if (byte == '{') {
            trail_push(&trail, here);
        } else if (byte == '}') {
            trail.depth -= trail.depth > 0;
        } else if (byte == '"') {
            if (!skip_string(scanner, &name))
                return false;
            if (trail.depth && peek_token(scanner) == ':' &&
                (name_is(&name, "request") || name_is(&name, "startedDateTime"))) {
                *start = trail.starts[trail.depth - 1];
                return true;
            }
        } else if (!strchr("[],:", byte ? byte : 'x')) {
            scanner->at--; /* taken above, so it is in the window */
            if (!skip_loose_scalar(scanner) && !skip_stray(scanner, &outside))
                return false;
        }
    }
    return false;
}

/* After a break: moves to the next whole entry, or to the end of the file. */
static void find_entry(struct har_scanner *scanner)
{
    uint64_t start;
    while (find_candidate(scanner, &start)) {
        uint64_t reached = position(scanner);
        bool has_request = false;
        seek(scanner, start);
        if (skip_value(scanner, &has_request) && has_request) {
            seek(scanner, start);
            scanner->found_entries = true;
            scanner->walk = WALK_ENTRIES;
            scanner->first = true;
            return;
        }
        if (position(scanner) < reached)
            seek(scanner, reached);
    }
    scanner->walk = WALK_END;
}

static void set_gap(struct har_item *item, uint64_t start, uint64_t end)
{
    item->kind = HAR_ITEM_GAP;
    item->offset = start;
    item->size = end - start;
}

/* The gap from `start`, where a value or member that broke began. False if reading failed. */
static bool skip_gap(struct har_scanner *scanner, uint64_t start, struct har_item *item)
{
    const char *expected = scanner->expected;
    uint64_t offset = scanner->break_offset;
    int byte = peek(scanner), code = scanner->break_code;
    if (code == EFBIG)
        flow_error_set(&item->error, EFBIG, offset,
                       "found a HAR entry nested deeper than %d levels; it is left out",
                       HAR_SCAN_DEPTH_LIMIT);
    else if (byte == NO_BYTE)
        flow_error_set(&item->error, EBADMSG, offset,
                       "the HAR file breaks off; expected %s. What came before is served",
                       expected);
    else
        flow_error_set(&item->error, EBADMSG, offset,
                       byte > ' ' && byte < 0x7F ? "found `%c` in a HAR file; expected %s"
                                                 : "found byte %d in a HAR file; expected %s",
                       byte, expected);
    find_entry(scanner);
    set_gap(item, start, position(scanner));
    return !scanner->read_failed;
}

static const char *token_kind(int byte)
{
    return byte == '"'   ? "a string"
           : byte == '[' ? "an array"
           : byte == '{' ? "an object"
                         : "a scalar";
}

/* Reads up to the next item of log.entries: true with `item` filled, or at the end of the array
 * with walk set to WALK_LOG. False at a break; *start is where it began. */
static bool walk_entries(struct har_scanner *scanner, struct har_item *item, uint64_t *start)
{
    int byte = peek_token(scanner);
    *start = position(scanner);
    if (byte == ']') {
        scanner->at++;
        scanner->walk = WALK_LOG;
        scanner->first = false;
        return true;
    }
    if (!scanner->first && byte == ',') {
        scanner->at++;
        byte = peek_token(scanner);
        *start = position(scanner);
    } else if (!scanner->first && byte != '{') {
        /* A comma that is missing between two entries does no harm. */
        return broken(scanner, "a comma or the end of log.entries");
    }
    scanner->first = false;
    if (!skip_value(scanner, NULL))
        return false;
    if (byte == '{') {
        item->kind = HAR_ITEM_ENTRY;
        item->offset = *start;
        item->size = position(scanner) - *start;
        return true;
    }
    flow_error_set(&item->error, EBADMSG, *start,
                   "found %s in log.entries; expected an object, a HAR entry", token_kind(byte));
    set_gap(item, *start, position(scanner));
    return true;
}

/* Reads one member of the root or of log, or the end of it. False at a break. */
static bool walk_member(struct har_scanner *scanner, uint64_t *start)
{
    struct name name;
    int byte = peek_token(scanner);
    *start = position(scanner);
    if (byte == '}') {
        scanner->at++;
        scanner->walk = scanner->walk == WALK_LOG ? WALK_ROOT : WALK_TAIL;
        scanner->first = false;
        return true;
    }
    if (!scanner->first && !expect(scanner, ',', "a comma or the end of an object"))
        return false;
    scanner->first = false;
    if (!skip_name(scanner, &name))
        return false;
    byte = peek_token(scanner);
    bool log = scanner->walk == WALK_ROOT && byte == '{' && name_is(&name, "log");
    bool entries = scanner->walk == WALK_LOG && byte == '[' && name_is(&name, "entries");
    if (!log && !entries)
        return skip_value(scanner, NULL);
    scanner->at++;
    scanner->walk = log ? WALK_LOG : WALK_ENTRIES;
    scanner->first = true;
    scanner->found_entries = scanner->found_entries || entries;
    return true;
}

static bool walk_start(struct har_scanner *scanner)
{
    uint8_t mark[3];
    size_t got = 0;
    if (!source_read(scanner->source, 0, mark, sizeof mark, &got, scanner->error)) {
        scanner->read_failed = true;
        return false;
    }
    seek(scanner, memcmp(mark, "\xEF\xBB\xBF", got) == 0 ? got : 0);
    if (!expect(scanner, '{', "the start of an object"))
        return false;
    scanner->walk = WALK_ROOT;
    scanner->first = true;
    return true;
}

static bool walk_tail(struct har_scanner *scanner, uint64_t *start)
{
    int byte = peek_token(scanner);
    *start = position(scanner);
    if (byte != NO_BYTE)
        return broken(scanner, "nothing behind the HAR document");
    scanner->walk = WALK_END;
    return true;
}

/* One step of the walk; item->kind stays HAR_ITEM_END if it gave no item. */
static bool step(struct har_scanner *scanner, struct har_item *item, uint64_t *start)
{
    *start = position(scanner);
    switch (scanner->walk) {
    case WALK_START:
        return walk_start(scanner);
    case WALK_ROOT:
    case WALK_LOG:
        return walk_member(scanner, start);
    case WALK_ENTRIES:
        return walk_entries(scanner, item, start);
    case WALK_TAIL:
        return walk_tail(scanner, start);
    case WALK_END:
        break;
    }
    return true;
}

bool har_scan_next(struct har_scanner *scanner, struct har_item *item, struct flow_error *error)
{
    uint64_t start = 0;
    scanner->error = error;
    *item = (struct har_item){.kind = HAR_ITEM_END};
    while (scanner->walk != WALK_END) {
        if (!step(scanner, item, &start) && !scanner->read_failed) {
            scanner->found_entries = true; /* the gap tells what is wrong */
            return skip_gap(scanner, start, item);
        }
        if (scanner->read_failed)
            return false;
        if (item->kind != HAR_ITEM_END)
            return true;
    }
    item->offset = position(scanner);
    if (scanner->found_entries)
        return true;
    scanner->found_entries = true;
    flow_error_set(error, EBADMSG, 0,
                   "found JSON without log.entries; expected HAR, {\"log\": {\"entries\": [...]}}");
    return false;
}
