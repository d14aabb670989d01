#include "record_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Large enough that a read costs little beside what is read, small enough for a CPU's cache. */
#define WINDOW_SIZE ((size_t)256 * 1024)

/* No flow of any version is shorter. */
#define SMALLEST_FLOW 40

/* A file can be made so that a long record seems to start every few bytes. Trying such places may
 * cost this much for the file, and this much more for each byte of it; when it has, some are passed
 * over. Honest files stay far below. */
#define FREE_WORK ((uint64_t)64 << 20)
#define WORK_PER_BYTE 64

bool record_scan_init(struct record_scan *scan, const struct source *source, uint64_t offset,
                      struct flow_error *error)
{
    *scan = (struct record_scan){
        .source = source, .position = offset, .window_offset = offset, .far = UINT64_MAX};
    scan->window = malloc(WINDOW_SIZE);
    return scan->window || flow_error_memory(error);
}

void record_scan_close(struct record_scan *scan)
{
    record_close(&scan->record);
    free(scan->window);
    *scan = (struct record_scan){0};
}

/* How many bytes a read at `offset` takes, of `room` at most: all but those that belong to others.
 */
static size_t size_to_read(const struct record_scan *scan, uint64_t offset, size_t size,
                           size_t room)
{
    uint64_t near = offset < scan->far ? scan->far - offset : 0;
    return near >= room ? room : near > size ? (size_t)near : size;
}

/* Fills the window so that it holds up to `size` (at most WINDOW_SIZE) bytes from `offset`;
 * returns how many it holds. */
static bool fill(struct record_scan *scan, uint64_t offset, size_t size, struct bytes *held,
                 struct flow_error *error)
{
    uint64_t end = scan->window_offset + scan->window_size;
    bool inside = offset >= scan->window_offset && offset <= end;
    if (!inside || end - offset < size) {
        size_t kept = inside ? (size_t)(end - offset) : 0;
        size_t got;
        memmove(scan->window, scan->window + scan->window_size - kept, kept);
        scan->window_offset = offset;
        scan->window_size = kept;
        size_t wanted = size_to_read(scan, offset + kept, size - kept, WINDOW_SIZE - kept);
        if (!source_read(scan->source, offset + kept, scan->window + kept, wanted, &got, error))
            return false;
        scan->window_size += got;
        scan->work += scan->window_size;
    }
    size_t from = (size_t)(offset - scan->window_offset);
    *held = bytes_make(scan->window + from, scan->window_size - from);
    return true;
}

/* The byte at `offset`, which may be far away from the window. */
static bool read_byte(struct record_scan *scan, uint64_t offset, uint8_t *byte, size_t *got,
                      struct flow_error *error)
{
    if (offset >= scan->window_offset && offset < scan->window_offset + scan->window_size) {
        *byte = scan->window[offset - scan->window_offset];
        *got = 1;
        return true;
    }
    return source_read(scan->source, offset, byte, 1, got, error);
}

static enum record_scan_result look_at_length(struct record_scan *scan, uint64_t position,
                                              struct tnet_element *element,
                                              struct flow_error *error)
{
    struct bytes held;
    if (!fill(scan, position, TNET_LENGTH_DIGITS + 1, &held, error))
        return RECORD_SCAN_FAILED;
    if (!held.size)
        return RECORD_SCAN_END;
    struct flow_error prefix_error = {0};
    if (tnet_prefix(held, position, element, &prefix_error))
        return RECORD_SCAN_RECORD;
    flow_error_set(error, EBADMSG, prefix_error.offset, "%s", prefix_error.message);
    return prefix_error.code == EAGAIN ? RECORD_SCAN_PARTIAL : RECORD_SCAN_BROKEN;
}

/* What stands at `position`, without reading its content; `bring`: if the whole record fits into
 * the window, it is read at once, and the tag is then at hand. */
static enum record_scan_result look_at(struct record_scan *scan, uint64_t position, bool bring,
                                       uint64_t *size, struct flow_error *error)
{
    struct tnet_element element;
    uint8_t tag;
    size_t got;
    enum record_scan_result result = look_at_length(scan, position, &element, error);
    if (result != RECORD_SCAN_RECORD)
        return result;
    uint64_t end = position + element.content + element.size;
    if (end >= source_size(scan->source)) {
        flow_error_set(error, EBADMSG, position,
                       "the flow that starts here has %" PRIu64
                       " bytes, but the file ends after %" PRIu64 " of them",
                       element.size, source_size(scan->source) - position - element.content);
        return RECORD_SCAN_PARTIAL;
    }
    struct bytes held;
    *size = element.content + element.size + 1;
    if (bring && *size <= WINDOW_SIZE && !fill(scan, position, (size_t)*size, &held, error))
        return RECORD_SCAN_FAILED;
    if (!read_byte(scan, end, &tag, &got, error))
        return RECORD_SCAN_FAILED;
    if (!got)
        return RECORD_SCAN_PARTIAL;
    if (tag != '}') {
        flow_error_set(error, EBADMSG, end,
                       "found byte 0x%02x where the flow that starts at %" PRIu64
                       " should end, expected '}'",
                       tag, position);
        return RECORD_SCAN_BROKEN;
    }
    return RECORD_SCAN_RECORD;
}

static bool open_record(struct record_scan *scan, uint64_t position, uint64_t size,
                        struct flow_error *error)
{
    struct bytes held;
    record_close(&scan->record);
    if (size > WINDOW_SIZE)
        return record_open(&scan->record, scan->source, position, (size_t)size, error);
    if (!fill(scan, position, (size_t)size, &held, error))
        return false;
    if (held.size < size) {
        flow_error_set(error, EIO, position, "%s became shorter while it was read",
                       source_path(scan->source));
        return false;
    }
    record_borrow(&scan->record, bytes_make(held.data, (size_t)size), position);
    return true;
}

enum record_scan_result record_scan_look(struct record_scan *scan, uint64_t *size,
                                         struct flow_error *error)
{
    enum record_scan_result result = look_at(scan, scan->position, true, size, error);
    if (result == RECORD_SCAN_RECORD && !open_record(scan, scan->position, *size, error))
        return RECORD_SCAN_FAILED;
    return result;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Whether the content of a dict could start here: with a key, which is a short string. */
static bool looks_like_key(struct bytes text)
{
    struct tnet_element key;
    if (!tnet_prefix(text, 0, &key, NULL) || key.size == 0 || key.size > 64)
        return false;
    size_t tag = key.content + (size_t)key.size;
    return tag < text.size && (text.data[tag] == ',' || text.data[tag] == ';') &&
           tag + 1 < text.size && is_digit(text.data[tag + 1]);
}

/* Tries every length that ends in the colon at `colon`; the digits before it may belong to what is
 * broken. Returns true with scan->position set. */
static bool try_colon(struct record_scan *scan, uint64_t from, uint64_t colon,
                      record_scan_accept *accept, void *context, struct flow_error *error)
{
    uint64_t size;
    struct bytes held;
    uint64_t limit = colon > from + TNET_LENGTH_DIGITS ? colon - TNET_LENGTH_DIGITS : from;
    uint64_t start = colon;
    if (!fill(scan, limit, TNET_LENGTH_DIGITS + 96, &held, error))
        return false;
    const uint8_t *base = held.data;
    if (!looks_like_key(bytes_make(base + (colon + 1 - limit), held.size - (colon + 1 - limit))))
        return false;
    while (start > limit && is_digit(base[start - 1 - limit]))
        start--;
    for (; start < colon; start++) {
        if (!fill(scan, start, TNET_LENGTH_DIGITS + 1, &held, error))
            return false;
        /* mitmproxy writes no leading zeros. */
        if (held.data[0] == '0' || look_at(scan, start, false, &size, NULL) != RECORD_SCAN_RECORD ||
            size < SMALLEST_FLOW || scan->work > FREE_WORK + WORK_PER_BYTE * start)
            continue;
        if (!open_record(scan, start, size, error))
            return false;
        bool accepted = accept(context, &scan->record);
        scan->work += record_bytes_read(&scan->record);
        if (accepted) {
            scan->position = start;
            return true;
        }
    }
    return false;
}

bool record_scan_resync(struct record_scan *scan, uint64_t from, uint64_t limit,
                        record_scan_accept *accept, void *context, struct flow_error *error)
{
    struct bytes held;
    for (uint64_t at = from;;) {
        if (!fill(scan, at, SMALLEST_FLOW, &held, error))
            return false;
        if (held.size < SMALLEST_FLOW || at >= limit)
            return false;
        const uint8_t *colon = memchr(held.data, ':', held.size);
        if (!colon) {
            at += held.size;
            continue;
        }
        at += (uint64_t)(colon - held.data);
        if (at > from && try_colon(scan, from, at, accept, context, error))
            return true;
        if (error->code)
            return false;
        at++;
    }
}
