#include "capture_folder.h"
#include "codec_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct flowcodec_reader {
    char **paths; /* those that are not opened yet, from `next` on */
    size_t count, next;
    struct codec_capture *capture; /* the one that is read; NULL: none yet */
    struct capture_scan *scan;
    uint64_t number; /* of the flow in its capture */
    flowcodec_gap *gap;
    void *context;
};

bool codec_tell(const struct flow_error *problem, struct flowcodec_error *error)
{
    _Static_assert(sizeof error->place == sizeof problem->key_path, "the texts are as long");
    _Static_assert(sizeof error->message == sizeof problem->message, "the texts are as long");
    if (!error || error->code || !problem->code)
        return false;
    error->code = problem->code;
    error->offset = problem->offset;
    memcpy(error->place, problem->key_path, sizeof error->place);
    memcpy(error->message, problem->message, sizeof error->message);
    return false;
}

struct codec_capture *codec_capture_keep(struct codec_capture *capture)
{
    atomic_fetch_add(&capture->users, 1);
    return capture;
}

void codec_capture_release(struct codec_capture *capture)
{
    if (!capture || atomic_fetch_sub(&capture->users, 1) != 1)
        return;
    capture_close(capture->capture);
    free(capture->memory);
    free(capture->name);
    free(capture);
}

/* path: NULL for memory, which is taken over. */
static struct codec_capture *open_capture(const char *path, char *memory, size_t size,
                                          struct flow_error *error)
{
    struct codec_capture *capture = calloc(1, sizeof *capture);
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!capture) {
        free(memory);
        flow_error_memory(error);
        return NULL;
    }
    atomic_init(&capture->users, 1);
    capture->memory = memory;
    capture->name = strdup(slash && slash[1] ? slash + 1 : path ? path : "memory");
    if (!capture->name)
        flow_error_memory(error);
    else
        capture->capture =
            path ? capture_open(path, error) : capture_open_memory(bytes_make(memory, size), error);
    if (capture->capture)
        return capture;
    codec_capture_release(capture);
    return NULL;
}

static void close_capture(struct flowcodec_reader *reader)
{
    capture_scan_close(reader->scan);
    codec_capture_release(reader->capture);
    reader->scan = NULL;
    reader->capture = NULL;
}

void flowcodec_reader_close(struct flowcodec_reader *reader)
{
    if (!reader)
        return;
    close_capture(reader);
    for (size_t i = 0; i < reader->count; i++)
        free(reader->paths[i]);
    free(reader->paths);
    free(reader);
}

/* Takes the capture over and starts with it. */
static bool begin(struct flowcodec_reader *reader, struct codec_capture *capture,
                  struct flow_error *error)
{
    reader->capture = capture;
    reader->number = 0;
    reader->scan = capture ? capture_scan_open(capture->capture, 0, error) : NULL;
    if (reader->scan)
        return true;
    close_capture(reader);
    return false;
}

static struct flowcodec_reader *open_one(const char *path, char *memory, size_t size,
                                         struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct flowcodec_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        free(memory);
        flow_error_memory(&problem);
    } else if (begin(reader, open_capture(path, memory, size, &problem), &problem)) {
        return reader;
    }
    flowcodec_reader_close(reader);
    codec_tell(&problem, error);
    return NULL;
}

struct flowcodec_reader *flowcodec_reader_open(const char *path, struct flowcodec_error *error)
{
    return open_one(path, NULL, 0, error);
}

struct flowcodec_reader *flowcodec_reader_open_descriptor(int descriptor,
                                                          struct flowcodec_error *error)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open_one(path, NULL, 0, error);
}

struct flowcodec_reader *flowcodec_reader_open_memory(const void *data, size_t size,
                                                      struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    char *copy = malloc(size + 1);
    if (!copy) {
        flow_error_memory(&problem);
        codec_tell(&problem, error);
        return NULL;
    }
    if (size)
        memcpy(copy, data, size);
    return open_one(NULL, copy, size, error);
}

static bool add_path(void *context, const char *path, const char *name, struct flow_error *error)
{
    (void)name;
    struct flowcodec_reader *reader = context;
    char **paths = realloc(reader->paths, (reader->count + 1) * sizeof *paths);
    if (!paths)
        return flow_error_memory(error);
    reader->paths = paths;
    paths[reader->count] = strdup(path);
    if (!paths[reader->count])
        return flow_error_memory(error);
    reader->count++;
    return true;
}

struct flowcodec_reader *flowcodec_reader_open_paths(const char *const *paths, size_t count,
                                                     struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct flowcodec_reader *reader = calloc(1, sizeof *reader);
    bool done = reader || flow_error_memory(&problem);
    for (size_t i = 0; i < count && done; i++)
        done = capture_folder_is(paths[i])
                   ? capture_folder_walk(paths[i], add_path, reader, &problem)
                   : add_path(reader, paths[i], NULL, &problem);
    if (done)
        return reader;
    flowcodec_reader_close(reader);
    codec_tell(&problem, error);
    return NULL;
}

void flowcodec_reader_on_gap(struct flowcodec_reader *reader, flowcodec_gap *gap, void *context)
{
    reader->gap = gap;
    reader->context = context;
}

static void tell_gap(const struct flowcodec_reader *reader, struct capture_extent extent,
                     const struct flow_error *why)
{
    struct flowcodec_error told = {0};
    codec_tell(why, &told);
    if (reader->gap)
        reader->gap(reader->context, reader->capture->name, extent.offset, extent.size, &told);
}

/* Reads on in the capture that is open: the next flow, or *end. */
static bool next_in_capture(struct flowcodec_reader *reader, struct flowcodec_flow **flow,
                            bool *end, struct flow_error *error)
{
    struct capture_item item;
    while (capture_scan_next(reader->scan, &item, error)) {
        struct flow_error problem = {0};
        if (item.kind == CAPTURE_FLOW) {
            *flow = codec_flow_load(reader->capture, &item, ++reader->number, &problem);
            if (*flow)
                return true;
            if (problem.code != EBADMSG && problem.code != ENOTSUP && problem.code != EFBIG) {
                *error = problem;
                return false;
            }
            tell_gap(reader, item.extent, &problem);
            continue;
        }
        if (item.kind != CAPTURE_END)
            tell_gap(reader, item.extent, &item.error);
        if (item.kind == CAPTURE_END || item.kind == CAPTURE_PARTIAL) {
            *end = true;
            return true;
        }
    }
    return false;
}

bool flowcodec_reader_next(struct flowcodec_reader *reader, struct flowcodec_flow **flow,
                           struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    bool done = true;
    *flow = NULL;
    while (done && !*flow) {
        bool end = false;
        if (reader->capture) {
            done = next_in_capture(reader, flow, &end, &problem);
            if (!end)
                break;
            close_capture(reader);
        }
        if (reader->next == reader->count)
            break;
        done =
            begin(reader, open_capture(reader->paths[reader->next++], NULL, 0, &problem), &problem);
    }
    return done || codec_tell(&problem, error);
}
