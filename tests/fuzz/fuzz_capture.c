/* Any bytes as a capture, all the way: scanned, each flow loaded, shown as a directory, every file
 * of it rendered and every body read. JSON must be what jansson calls JSON. */
#include "flowdir.h"
#include "harness.h"

#include <errno.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#define DECODE_LIMIT ((uint64_t)64 * 1024)

static void check_json(struct bytes text)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)text.data, text.size,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    /* JSON allows NUL in a key, jansson does not. */
    if (!json && json_error_code(&error) != json_error_null_byte_in_key) {
        fprintf(stderr, "%s, line %d:\n%.*s\n", error.text, error.line, (int)text.size,
                (const char *)text.data);
        HOLDS(json);
    }
    json_decref(json);
}

static void read_body(struct flowdir *directory, struct flowdir_body *body)
{
    struct flow_error error = {0};
    struct flowdir_content content = {body->content, directory->source};
    HOLDS(flowdir_measure(directory, body, &error));
    HOLDS(body->measured);
    if (!body->decodes) {
        HOLDS(body->why_not.message[0]);
        HOLDS(body->decoded_size == body->content->bytes.size);
    } else if (body->encoding.size) {
        uint64_t size = 0;
        HOLDS(body->decoded_size <= DECODE_LIMIT);
        HOLDS(body_decoded_size(body->encoding, flowdir_content_input(&content), DECODE_LIMIT,
                                &size, &error));
        HOLDS(size == body->decoded_size);
    }
}

static void show_file(struct flowdir *directory, enum flowdir_file file)
{
    struct flow_error error = {0};
    struct buffer out = BUFFER_INIT;
    bool raw;
    struct flowdir_body *body = flowdir_body(directory, file, &raw);
    flowdir_time(directory, file);
    if (body) {
        read_body(directory, body);
        return;
    }
    HOLDS(flowdir_render(directory, file, &out, &error));
    const char *name = flowdir_file_name(file);
    if (strstr(name, ".json"))
        check_json(buffer_bytes(&out));
    HOLDS(flowdir_file_of_name(bytes_of(name)) == file);
    buffer_free(&out);
}

static void show_messages(const struct flowdir *directory)
{
    for (size_t number = 1; number <= directory->message_count; number++) {
        char name[FLOWDIR_MESSAGE_NAME_SIZE];
        flowdir_message_name(directory, number, name);
        HOLDS(flowdir_message_of_name(bytes_of(name)) == number);
        HOLDS(flowdir_message(directory, number).content);
    }
}

static void show_flow(const struct capture *capture, const struct capture_item *item)
{
    struct flow_error error = {0};
    struct capture_flow loaded;
    struct flowdir directory;
    if (!capture_load(capture, item->extent, item->handshake, &loaded, &error)) {
        /* A glance looks at less. */
        HOLDS(error.code == EBADMSG || error.code == ENOTSUP || error.code == EFBIG);
        return;
    }
    if (!flowdir_open(&directory, &loaded, capture, "fuzz.mitm", 1, DECODE_LIMIT, &error)) {
        HOLDS(error.code == EFBIG);
        return;
    }
    for (int file = 0; file < FLOWDIR_FILES; file++)
        if (flowdir_has(&directory, (enum flowdir_file)file))
            show_file(&directory, (enum flowdir_file)file);
    show_messages(&directory);
    flowdir_close(&directory);
}

static void check_item(const struct capture_item *item, uint64_t size, uint64_t *reached, bool har)
{
    HOLDS(item->extent.offset >= *reached && item->extent.offset <= size);
    HOLDS(item->extent.size <= size - item->extent.offset);
    /* Nothing of a flow file is left out. */
    HOLDS(har || item->extent.offset == *reached);
    *reached = item->extent.offset + item->extent.size;
    if (item->kind == CAPTURE_GAP || item->kind == CAPTURE_PARTIAL)
        HOLDS(item->error.code && item->error.message[0]);
}

static void scan(struct capture *capture)
{
    struct flow_error error = {0};
    struct capture_item item = {.kind = CAPTURE_GAP};
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    uint64_t size = source_size(capture_source(capture));
    uint64_t reached = 0;
    HOLDS(scan);
    while (item.kind != CAPTURE_END && item.kind != CAPTURE_PARTIAL) {
        struct buffer site = BUFFER_INIT;
        error = (struct flow_error){0};
        if (!capture_scan_next(scan, &item, &error)) {
            HOLDS(error.code == EBADMSG);
            break;
        }
        check_item(&item, size, &reached, capture_format(capture) == CAPTURE_HAR);
        if (item.kind != CAPTURE_FLOW)
            continue;
        flow_glance_site(&item.glance, &site);
        buffer_free(&site);
        show_flow(capture, &item);
    }
    capture_scan_close(scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct flow_error error = {0};
    int file = memfd_create("capture", MFD_CLOEXEC);
    HOLDS(file >= 0);
    HOLDS(size == 0 || write(file, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    struct capture *capture = capture_open(path, &error);
    if (capture)
        scan(capture);
    else
        HOLDS(error.code == EBADMSG);
    capture_close(capture);
    close(file);
    return 0;
}
