/* Any bytes as the files of a flow's directory: packed, or refused in a line that says where and
 * why. What packs is a flow like any other: it is read back from its record, goes into every format
 * and into version 17, and unpacked and packed once more it has the same bytes.
 *
 * The input is text with all files one behind the other, so that people can read and write it, and
 * that whatever is cut out, put in or joined changes one file:
 *
 *     === request.headers
 *     GET http://example.com/ HTTP/1.1
 *     === messages/0001-client.txt
 *     hello
 *
 * A line `=== NAME` begins a file, and the line end before it belongs to it. What stands before the
 * first is no part of anything, nor is a file whose name is there already or cannot be. */
#include "convert.h"
#include "downgrade.h"
#include "flowdir_pack.h"
#include "flowdir_unpack.h"
#include "har_write.h"
#include "harness.h"
#include "tnet.h"
#include "work_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define DECODE_LIMIT ((uint64_t)1 << 20)

/* The end of the file at `at`: where the line end of the next marker stands, or the text's end. */
static size_t find_marker(struct bytes text, size_t at)
{
    static const char marker[] = "\n=== ";
    const uint8_t *found =
        at < text.size ? memmem(text.data + at, text.size - at, marker, sizeof marker - 1) : NULL;
    return found ? (size_t)(found - text.data) : text.size;
}

/* Writes the files of the input. */
static void write_files(int folder, struct bytes text)
{
    char name[256];
    /* The first marker needs no line end. */
    size_t at = text.size > 4 && memcmp(text.data, "=== ", 4) == 0 ? 4 : find_marker(text, 0) + 5;
    while (at < text.size) {
        const uint8_t *start = text.data + at;
        const uint8_t *end = memchr(start, '\n', text.size - at);
        size_t size = end ? (size_t)(end - start) : text.size - at;
        at += size + (end != NULL);
        /* A marker may follow on the name's own line end. */
        size_t next = find_marker(text, at - (end != NULL));
        struct bytes content = bytes_make(text.data + at, next > at ? next - at : 0);
        if (size < sizeof name && !memchr(start, '\0', size)) {
            snprintf(name, sizeof name, "%.*s", (int)size, (const char *)start);
            if (name[0] != '/' && !strstr(name, ".."))
                work_folder_write(folder, name, content);
        }
        at = next + 5;
    }
}

static void check_message(const struct flow_error *error)
{
    static const char *const starts[] = {"flow.json", "request.", "response.", "error",
                                         "messages",  "query.",   "answer.",   NULL};
    struct bytes message = bytes_of(error->message);
    bool placed = strstr(error->message, "found a file that is no part of a flow") != NULL;
    for (const char *const *start = starts; *start; start++)
        placed = placed || strncmp(error->message, *start, strlen(*start)) == 0;
    for (size_t i = 0; i < message.size; i++)
        HOLDS(message.data[i] >= 0x20 && message.data[i] != 0x7F);
    if (error->code != EBADMSG || !placed || !strstr(error->message, ": "))
        BROKEN("a mistake without a place: %d, %s", error->code, error->message);
}

/* The one flow that a capture must be. */
static void load(struct capture *capture, struct flowdir *directory)
{
    struct flow_error error = {0};
    struct capture_item item;
    struct capture_flow loaded;
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    HOLDS(scan);
    HOLDS(capture_scan_next(scan, &item, &error));
    if (item.kind != CAPTURE_FLOW)
        fprintf(stderr, "%s\n", item.error.message);
    HOLDS(item.kind == CAPTURE_FLOW && item.handshake.size == 0);
    HOLDS(item.extent.offset == 0 && item.extent.size == source_size(capture_source(capture)));
    if (!capture_load(capture, item.extent, item.handshake, &loaded, &error) ||
        !flowdir_open(directory, &loaded, capture, "fuzz.mitm", 1, DECODE_LIMIT, &error))
        BROKEN("no flow that can be read: %s: %s", error.key_path, error.message);
    HOLDS(capture_scan_next(scan, &item, &error) && item.kind == CAPTURE_END);
    capture_scan_close(scan);
}

/* The file has the one entry, and it is a flow again. But for its URL: in that is what the Host
 * field says, which may be anything. */
static void read_har(struct bytes text)
{
    struct flow_error error = {0};
    struct capture_item item;
    struct capture *capture = capture_open_memory(text, &error);
    HOLDS(capture && capture_format(capture) == CAPTURE_HAR);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    HOLDS(scan && capture_scan_next(scan, &item, &error));
    if (item.kind != CAPTURE_FLOW && !strstr(item.error.message, "URL"))
        BROKEN("no HAR: %s", item.error.message);
    HOLDS(capture_scan_next(scan, &item, &error) && item.kind == CAPTURE_END);
    capture_scan_close(scan);
    capture_close(capture);
}

static void check_har(struct flowdir *directory)
{
    struct flow_error error = {0};
    struct buffer out = BUFFER_INIT;
    struct har_writer *writer = har_writer_open(&error);
    HOLDS(writer && har_writer_begin(writer, &out, &error));
    bool held = har_writer_add(writer, directory, &out, &error);
    HOLDS(held == (directory->loaded.flow.type == FLOW_HTTP));
    HOLDS(held || error.code == ENOTSUP);
    HOLDS(har_writer_end(writer, &out, &error) && !out.failed);
    if (held)
        read_har(buffer_bytes(&out));
    har_writer_close(writer);
    buffer_free(&out);
}

/* Every format takes the flow, or says that it holds no such flows. */
static void convert_to_all(struct capture *capture, uint64_t size, struct flowdir *directory)
{
    struct flow_error error = {0};
    static struct sink *sink;
    if (!sink)
        sink = sink_open_descriptor(open("/dev/null", O_WRONLY | O_CLOEXEC), false, &error);
    HOLDS(sink);
    for (int format = 0; format < CONVERT_FORMATS; format++) {
        struct convert_options options = {.format = (enum convert_format)format, .version = 21};
        struct convert_flow flow = {capture, {0, size}, {0, 0}, "fuzz.mitm", 1, DECODE_LIMIT};
        struct convert *convert = convert_open(&options, sink, &error);
        HOLDS(convert);
        if (!convert_add(convert, &flow, directory, &error))
            BROKEN("%s does not take the flow: %s", convert_format_name(options.format),
                   error.message);
        HOLDS(convert_left_out(convert) == 0 || format >= CONVERT_CURL || format == CONVERT_HAR);
        HOLDS(convert_end(convert, &error));
        convert_close(convert);
    }
}

/* The oldest version that can be written: what comes out is a flow, too. */
static void check_downgrade(const struct value *state)
{
    struct flow_error error = {0};
    struct buffer record = BUFFER_INIT;
    struct flowdir directory;
    struct arena *arena = arena_new();
    HOLDS(arena);
    struct value *old = value_copy(arena, state);
    HOLDS(old);
    if (downgrade(old, DOWNGRADE_VERSION_OLDEST, arena, NULL, NULL, &error)) {
        HOLDS(tnet_write(old, &record, &error));
        struct capture *capture = capture_open_memory(buffer_bytes(&record), &error);
        HOLDS(capture);
        load(capture, &directory);
        flowdir_close(&directory);
        capture_close(capture);
    } else {
        HOLDS(error.code == ENOTSUP || error.code == EBADMSG);
    }
    buffer_free(&record);
    arena_free(arena);
}

static void pack_again(struct flowdir *directory, struct bytes record)
{
    struct flow_error error = {0};
    struct buffer again = BUFFER_INIT;
    struct value *state;
    struct arena *arena = arena_new();
    int folder = work_folder("unpacked");
    if (!flowdir_unpack(directory, folder, &error) ||
        !flowdir_pack(folder, arena, &state, &error) || !tnet_write(state, &again, &error))
        BROKEN("not packed again: %d, %s", error.code, error.message);
    if (!bytes_equal(buffer_bytes(&again), record))
        BROKEN("packed:\n%.*s\nagain:\n%.*s", (int)record.size, (const char *)record.data,
               (int)again.size, (const char *)again.data);
    buffer_free(&again);
    arena_free(arena);
}

static void check_flow(struct value *state)
{
    struct flow_error error = {0};
    struct buffer record = BUFFER_INIT;
    struct flowdir directory;
    HOLDS(tnet_write(state, &record, &error));
    struct bytes text = guarded(record.data, record.size);
    struct capture *capture = capture_open_memory(text, &error);
    HOLDS(capture && capture_format(capture) == CAPTURE_FLOW_FILE);
    load(capture, &directory);
    pack_again(&directory, text);
    check_har(&directory);
    convert_to_all(capture, text.size, &directory);
    check_downgrade(state);
    flowdir_close(&directory);
    capture_close(capture);
    buffer_free(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flow_error error = {0};
    struct value *state;
    struct arena *arena = arena_new();
    int folder = work_folder("packed");
    HOLDS(arena);
    write_files(folder, bytes_make(data, size));
    if (flowdir_pack(folder, arena, &state, &error))
        check_flow(state);
    else
        check_message(&error);
    arena_free(arena);
    return 0;
}
