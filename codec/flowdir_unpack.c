#include "flowdir_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE ((size_t)256 * 1024)

struct output {
    int directory;
    const char *name;
    int descriptor;
    struct flow_error *error;
};

static bool fail(const struct output *output)
{
    flow_error_set(output->error, errno, FLOW_ERROR_NO_OFFSET, "%s: %s", output->name,
                   strerror(errno));
    return false;
}

static bool open_output(struct output *output)
{
    output->descriptor =
        openat(output->directory, output->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return output->descriptor >= 0 || fail(output);
}

static bool write_all(const struct output *output, struct bytes text)
{
    while (text.size) {
        ssize_t written = write(output->descriptor, text.data, text.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(output);
        text = bytes_make(text.data + written, text.size - (size_t)written);
    }
    return true;
}

/* A time that no file system has is left as it is. */
static void set_time(int descriptor, double seconds)
{
    if (!(seconds > 0 && seconds < 1e11))
        return;
    double whole = floor(seconds);
    struct timespec time = {.tv_sec = (time_t)whole, .tv_nsec = (long)((seconds - whole) * 1e9)};
    const struct timespec times[2] = {time, time};
    futimens(descriptor, times);
}

static bool close_output(const struct output *output, double seconds, bool done)
{
    if (done)
        set_time(output->descriptor, seconds);
    if (close(output->descriptor) != 0 && done)
        return fail(output);
    return done;
}

/* A body in pieces: decoded, or as it was on the wire. */
static bool write_body(struct flowdir *flow, struct flowdir_body *body, bool raw,
                       const struct output *output, struct flow_error *error)
{
    struct flowdir_content stored = {body->content, flow->source};
    struct body_input input = flowdir_content_input(&stored);
    struct body_decoder *decoder = NULL;
    uint64_t offset = 0;
    size_t got = 1;
    if (!raw && !flowdir_measure(flow, body, error))
        return false;
    bool decoded = !raw && body->decodes && body->encoding.size;
    uint8_t *piece = malloc(PIECE_SIZE);
    bool done = piece || flow_error_memory(error);
    if (done && decoded) {
        decoder = body_decoder_open(body->encoding, input, error);
        done = decoder != NULL;
    }
    while (done && got) {
        done = decoded ? body_decoder_read(decoder, piece, PIECE_SIZE, &got, error)
                       : input.read(input.context, offset, piece, PIECE_SIZE, &got, error);
        done = done && write_all(output, bytes_make(piece, got));
        offset += got;
    }
    body_decoder_close(decoder);
    free(piece);
    return done;
}

static bool write_rendered(struct flowdir *flow, enum flowdir_file file,
                           const struct output *output, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    bool done = flowdir_render(flow, file, &text, error) && write_all(output, buffer_bytes(&text));
    buffer_free(&text);
    return done;
}

static bool write_file(struct flowdir *flow, enum flowdir_file file, int directory,
                       struct flow_error *error)
{
    bool raw;
    struct flowdir_body *body = flowdir_body(flow, file, &raw);
    struct output output = {directory, flowdir_file_name(file), -1, error};
    if (!open_output(&output))
        return false;
    bool done = body ? write_body(flow, body, raw, &output, error)
                     : write_rendered(flow, file, &output, error);
    return close_output(&output, flowdir_time(flow, file), done);
}

static bool write_message(struct flowdir *flow, size_t number, int directory,
                          struct flow_error *error)
{
    char name[FLOWDIR_MESSAGE_NAME_SIZE];
    struct flow_stream_message message = flowdir_message(flow, number);
    struct flowdir_body body = {.content = message.content};
    struct output output = {directory, name, -1, error};
    flowdir_message_name(flow, number, name);
    if (!open_output(&output))
        return false;
    bool done = write_body(flow, &body, true, &output, error);
    return close_output(&output, message.timestamp, done);
}

static bool write_messages(struct flowdir *flow, int directory, struct flow_error *error)
{
    struct output output = {directory, FLOWDIR_MESSAGES_NAME, -1, error};
    if (mkdirat(directory, FLOWDIR_MESSAGES_NAME, 0777) != 0)
        return fail(&output);
    int inside =
        openat(directory, FLOWDIR_MESSAGES_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inside < 0)
        return fail(&output);
    bool done = true;
    for (size_t number = 1; done && number <= flow->message_count; number++)
        done = write_message(flow, number, inside, error);
    set_time(inside, flow->loaded.flow.timestamp_start);
    close(inside);
    return done;
}

bool flowdir_unpack(struct flowdir *flow, int directory, struct flow_error *error)
{
    for (int file = 0; file < FLOWDIR_FILES; file++)
        if (flowdir_has(flow, (enum flowdir_file)file) &&
            !write_file(flow, (enum flowdir_file)file, directory, error))
            return false;
    if ((flow->files & FLOWDIR_MESSAGES_BIT) && !write_messages(flow, directory, error))
        return false;
    set_time(directory, flow->loaded.flow.timestamp_start);
    return true;
}
