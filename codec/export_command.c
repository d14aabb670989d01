/* Flows as commands for a shell. */
#include "export_message.h"

#include <errno.h>

/* What a POSIX shell takes as it is (Python's shlex.quote has the same list). */
static bool is_plain(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("_@%+=:,./-", byte));
}

/* Appends one word of a command. */
static void append_word(struct buffer *out, struct bytes word)
{
    bool plain = word.size > 0;
    for (size_t i = 0; i < word.size && plain; i++)
        plain = is_plain(word.data[i]);
    if (plain) {
        buffer_append_bytes(out, word);
        return;
    }
    buffer_append_byte(out, '\'');
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] == '\'')
            buffer_append_text(out, "'\"'\"'");
        else if (word.data[i]) /* no word can hold a NUL */
            buffer_append_byte(out, word.data[i]);
    }
    buffer_append_byte(out, '\'');
}

/* Whether the content can stand in the command as a word that gives exactly these bytes. */
static bool is_word(struct bytes content)
{
    for (size_t i = 0; i < content.size; i++)
        if (content.data[i] < 0x20)
            return false;
    return bytes_are_utf8(content);
}

/* Appends a printf command that writes exactly these bytes, in any POSIX shell. */
static void append_printf(struct buffer *out, struct bytes content)
{
    buffer_append_text(out, "printf '");
    for (size_t i = 0; i < content.size; i++) {
        uint8_t byte = content.data[i];
        if (byte == '%' || byte == '\\') {
            buffer_append_byte(out, byte);
            buffer_append_byte(out, byte);
        } else if (byte < 0x20 || byte >= 0x7F || byte == '\'') {
            const uint8_t escape[] = {'\\', (uint8_t)('0' + (byte >> 6)),
                                      (uint8_t)('0' + (byte >> 3 & 7)),
                                      (uint8_t)('0' + (byte & 7))};
            buffer_append(out, escape, sizeof escape);
        } else {
            buffer_append_byte(out, byte);
        }
    }
    buffer_append_byte(out, '\'');
}

struct command {
    struct flowdir *directory;
    struct export_message message;
    bool has_own_host;      /* the Host field says what the URL says */
    bool has_own_authority; /* likewise :authority */
    bool is_curl;
    bool has_type;
    struct buffer *out;
};

static bool says_host(const struct flow *flow, const char *name, struct arena *arena, bool *says,
                      struct flow_error *error)
{
    struct bytes value;
    if (!flow_fields_get(flow->request.headers, name, arena, &value))
        return flow_error_memory(error);
    *says = value.data && bytes_equal(value, flow->target.host);
    return true;
}

static bool command_open(struct command *command, struct flowdir *directory, struct buffer *out,
                         struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct arena *arena = directory->loaded.arena;
    *command = (struct command){.directory = directory, .out = out};
    return says_host(flow, "host", arena, &command->has_own_host, error) &&
           says_host(flow, ":authority", arena, &command->has_own_authority, error) &&
           export_message_open(&command->message, directory, true, error);
}

/* Fields that the command makes by itself are left out. */
static bool is_redundant(const struct command *command, struct bytes name)
{
    return bytes_equal_ignoring_case(name, "content-length") ||
           (command->has_own_host && bytes_equal_ignoring_case(name, "host")) ||
           (command->has_own_authority && bytes_equal_ignoring_case(name, ":authority"));
}

static void append_field(void *context, struct bytes name, struct bytes value)
{
    struct command *command = context;
    struct buffer field = BUFFER_INIT;
    if (is_redundant(command, name))
        return;
    command->has_type |= bytes_equal_ignoring_case(name, "content-type");
    if (command->is_curl && bytes_equal_ignoring_case(name, "accept-encoding")) {
        buffer_append_text(command->out, " --compressed");
        return;
    }
    buffer_append_bytes(&field, name);
    buffer_append_text(&field, ": ");
    buffer_append_bytes(&field, value);
    buffer_append_text(command->out, command->is_curl ? " -H " : " ");
    append_word(command->out, buffer_bytes(&field));
    command->out->failed |= field.failed;
    buffer_free(&field);
}

static void append_method(struct command *command)
{
    struct bytes method = command->directory->loaded.flow.target.method;
    size_t start = command->out->size;
    append_word(command->out, method);
    for (size_t i = start; !command->out->failed && i < command->out->size; i++)
        if (command->out->data[i] >= 'a' && command->out->data[i] <= 'z')
            command->out->data[i] &= 0xDF;
}

static void append_url(struct command *command)
{
    struct buffer url = BUFFER_INIT;
    struct flow_target target = command->directory->loaded.flow.target;
    /* A Host field that is left out does not hide the port. */
    if (command->has_own_host) {
        target.has_host_field = false;
        target.host_field = bytes_make("", 0);
    }
    flow_target_pretty_url(&target, &url);
    append_word(command->out, buffer_bytes(&url));
    command->out->failed |= url.failed;
    buffer_free(&url);
}

static bool command_close(struct command *command, struct flow_error *error)
{
    export_message_close(&command->message);
    return !command->out->failed || flow_error_memory(error);
}

bool export_curl(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct command command;
    if (!command_open(&command, directory, out, error))
        return false;
    command.is_curl = true;
    struct bytes content = buffer_bytes(&command.message.content);
    struct bytes method = directory->loaded.flow.target.method;
    bool piped = !is_word(content);
    bool is_get = bytes_equal_ignoring_case(method, "get");
    if (piped) {
        append_printf(out, content);
        buffer_append_text(out, " | ");
    }
    buffer_append_text(out, "curl");
    export_message_fields(&command.message, append_field, &command);
    /* curl would say that it sends a form. */
    if (piped && !command.has_type)
        buffer_append_text(out, " -H content-type:");
    /* Some servers want a length even for no content, which curl does not send. */
    if (!is_get && !content.size)
        buffer_append_text(out, " -H 'content-length: 0'");
    if (!is_get || piped) {
        buffer_append_text(out, " -X ");
        append_method(&command);
    }
    buffer_append_byte(out, ' ');
    append_url(&command);
    if (piped) {
        buffer_append_text(out, " --data-binary @-");
    } else if (content.size) {
        buffer_append_text(out, content.data[0] == '@' ? " --data-raw " : " -d ");
        append_word(out, content);
    }
    return command_close(&command, error);
}

bool export_httpie(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct command command;
    if (!command_open(&command, directory, out, error))
        return false;
    struct bytes content = buffer_bytes(&command.message.content);
    bool piped = !is_word(content);
    if (piped) {
        append_printf(out, content);
        buffer_append_text(out, " | ");
    }
    buffer_append_text(out, "http ");
    append_method(&command);
    buffer_append_byte(out, ' ');
    append_url(&command);
    export_message_fields(&command.message, append_field, &command);
    if (!piped && content.size) {
        buffer_append_text(out, " <<< ");
        append_word(out, content);
    }
    return command_close(&command, error);
}
