#include "export_command.h"

#include <errno.h>

/* Linux takes no word of a command beyond 128 KiB (MAX_ARG_STRLEN, execve(2)); a shell without a
 * printf of its own must run one, and each byte may become four. */
#define LONGEST_WORD ((size_t)64 << 10)
#define LONGEST_PRINTF ((size_t)24 << 10)

/* From here on curl waits for a server's leave to send. */
#define CURL_EXPECTS ((size_t)1 << 20)

struct command {
    const struct flow *flow;
    struct buffer *out;
    bool is_curl;
    struct flow_target target; /* what the URL says */
    bool says_host;            /* the Host field says what the URL says */
    bool says_authority;       /* likewise :authority */
    bool chunked, has_type, expects;
    bool piped;            /* the content comes through a pipe */
    struct buffer content; /* as it was sent */
    const char *unfit;     /* why there can be no such command */
};

/* What a POSIX shell takes as it is (Python's shlex.quote has the same list). */
static bool is_plain(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("_@%+=:,./-", byte));
}

/* Appends one word of the command. */
static void append_word(struct command *command, struct bytes word)
{
    struct buffer *out = command->out;
    bool plain = word.size > 0;
    for (size_t i = 0; i < word.size && plain; i++)
        plain = is_plain(word.data[i]);
    if (plain) {
        buffer_append_bytes(out, word);
        return;
    }
    buffer_append_byte(out, '\'');
    for (size_t i = 0; i < word.size; i++) {
        if (!word.data[i])
            command->unfit = "a start line or header field has a NUL, which no command can hold";
        if (word.data[i] == '\'')
            buffer_append_text(out, "'\"'\"'");
        else
            buffer_append_byte(out, word.data[i]);
    }
    buffer_append_byte(out, '\'');
}

static void append_buffer_word(struct command *command, struct buffer *word)
{
    append_word(command, buffer_bytes(word));
    command->out->failed |= word->failed;
    buffer_free(word);
}

/* Whether the content can stand in the command, readable and on one line. */
static bool is_word(struct bytes content)
{
    for (size_t i = 0; i < content.size; i++)
        if (content.data[i] < 0x20)
            return false;
    return content.size <= LONGEST_WORD && bytes_are_utf8(content);
}

/* Appends a printf that writes exactly these bytes. In its format `%` and `\` stand doubled, an
 * escape has three octal digits (IEEE Std 1003.1, printf), and a `-` at the start is an option. */
static void append_printf(struct buffer *out, struct bytes content)
{
    buffer_append_text(out, "printf '");
    for (size_t i = 0; i < content.size; i++) {
        uint8_t byte = content.data[i];
        if (byte == '%' || byte == '\\') {
            buffer_append_byte(out, byte);
            buffer_append_byte(out, byte);
        } else if (byte < 0x20 || byte >= 0x7F || byte == '\'' || (byte == '-' && i == 0)) {
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

static void append_pipe(struct command *command)
{
    struct bytes rest = buffer_bytes(&command->content);
    bool several = rest.size > LONGEST_PRINTF;
    if (several)
        buffer_append_text(command->out, "{ ");
    while (rest.size) {
        size_t size = rest.size < LONGEST_PRINTF ? rest.size : LONGEST_PRINTF;
        append_printf(command->out, bytes_make(rest.data, size));
        rest = bytes_make(rest.data + size, rest.size - size);
        if (several)
            buffer_append_text(command->out, "; ");
    }
    buffer_append_text(command->out, several ? "} | " : " | ");
}

static bool says_host(const struct flow *flow, const char *name, struct arena *arena, bool *says,
                      struct flow_error *error)
{
    struct bytes value;
    if (!flow_fields_get(flow->request.headers, name, arena, &value))
        return flow_error_memory(error);
    *says = value.data && bytes_equal(value, flow->target.host);
    return true;
}

static bool contains_chunked(struct bytes coding)
{
    for (size_t i = 0; i + 7 <= coding.size; i++)
        if (bytes_equal_ignoring_case(bytes_make(coding.data + i, 7), "chunked"))
            return true;
    return false;
}

/* What the header fields mean for the rest of the command. */
static void look_at_fields(struct command *command)
{
    struct bytes name, value;
    const struct value *fields = command->flow->request.headers;
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value))
            continue;
        command->has_type |= bytes_equal_ignoring_case(name, "content-type");
        command->expects |= bytes_equal_ignoring_case(name, "expect");
        command->chunked |=
            bytes_equal_ignoring_case(name, "transfer-encoding") && contains_chunked(value);
    }
}

static bool command_open(struct command *command, struct flowdir *directory, bool is_curl,
                         struct buffer *out, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct arena *arena = directory->loaded.arena;
    *command = (struct command){
        .flow = flow,
        .out = out,
        .is_curl = is_curl,
        .target = flow->target,
    };
    if (!says_host(flow, "host", arena, &command->says_host, error) ||
        !says_host(flow, ":authority", arena, &command->says_authority, error) ||
        !flowdir_read_body(directory, &directory->request, true, EXPORT_LONGEST_BODY,
                           &command->content, error)) {
        buffer_free(&command->content);
        return false;
    }
    look_at_fields(command);
    command->piped = command->content.size && !is_word(buffer_bytes(&command->content));
    /* A Host field that is left out does not hide the port. */
    if (command->says_host) {
        command->target.has_host_field = false;
        command->target.host_field = bytes_make("", 0);
    }
    return true;
}

static bool command_close(struct command *command, struct flow_error *error)
{
    buffer_free(&command->content);
    if (!command->unfit)
        return true;
    flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET, "%s", command->unfit);
    return false;
}

/* Fields that the command makes by itself are left out. */
static bool is_redundant(const struct command *command, struct bytes name)
{
    return bytes_equal_ignoring_case(name, "content-length") ||
           (command->says_host && bytes_equal_ignoring_case(name, "host")) ||
           (command->says_authority && bytes_equal_ignoring_case(name, ":authority")) ||
           /* --chunked says so */
           (!command->is_curl && command->chunked &&
            bytes_equal_ignoring_case(name, "transfer-encoding"));
}

/* Names with these are no names (RFC 9110, 5.1), and would have the command read files. */
static bool is_mistaken(const struct command *command, struct bytes name)
{
    if (command->is_curl)
        return name.size && name.data[0] == '@';
    return name.size && (memchr(name.data, '@', name.size) || memchr(name.data, '=', name.size));
}

static void append_field(struct command *command, struct bytes name, struct bytes value)
{
    struct buffer field = BUFFER_INIT;
    if (command->is_curl && bytes_equal_ignoring_case(name, "accept-encoding")) {
        buffer_append_text(command->out, " --compressed");
        return;
    }
    if (is_mistaken(command, name))
        command->unfit = command->is_curl ? "a header field's name starts with @"
                                          : "a header field's name has @ or = in it";
    buffer_append_bytes(&field, name);
    /* A colon with nothing behind it would take the field away: curl(1), httpie's documentation. */
    buffer_append_text(&field, bytes_trim(value).size ? ": " : ";");
    buffer_append_bytes(&field, bytes_trim(value).size ? value : bytes_make("", 0));
    buffer_append_text(command->out, command->is_curl ? " -H " : " ");
    append_buffer_word(command, &field);
}

static void append_fields(struct command *command)
{
    struct bytes name, value;
    const struct value *fields = command->flow->request.headers;
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next)
        if (flow_field(item, &name, &value) && !is_redundant(command, name))
            append_field(command, name, value);
}

static void append_url(struct command *command)
{
    struct buffer url = BUFFER_INIT;
    struct buffer bracketed = BUFFER_INIT;
    const struct flow_target *target = &command->target;
    struct bytes host = flow_target_pretty_host(target);
    size_t start = target->scheme.size + 3;
    flow_target_pretty_url(target, &url);
    bool bracket = flow_target_form(target) != FLOW_TARGET_AUTHORITY && host.size &&
                   flow_target_host_header(target).size && memchr(host.data, ':', host.size) &&
                   flow_target_host_header(target).data[0] == '[';
    if (!bracket || url.failed) {
        append_buffer_word(command, &url);
        return;
    }
    size_t end = start + host.size;
    buffer_append(&bracketed, url.data, start);
    buffer_append_byte(&bracketed, '[');
    buffer_append(&bracketed, url.data + start, host.size);
    buffer_append_byte(&bracketed, ']');
    buffer_append(&bracketed, url.data + end, url.size - end);
    buffer_free(&url);
    append_buffer_word(command, &bracketed);
}

/* Whether a segment of the path is `.` or `..`, which a URL's reader would resolve. */
static bool has_dot_segment(struct bytes path)
{
    const uint8_t *query = path.size ? memchr(path.data, '?', path.size) : NULL;
    size_t end = query ? (size_t)(query - path.data) : path.size;
    for (size_t start = 0, i = 0; i <= end; i++) {
        if (i < end && path.data[i] != '/')
            continue;
        struct bytes segment = bytes_make(path.data + start, i - start);
        if (bytes_equal_text(segment, ".") || bytes_equal_text(segment, ".."))
            return true;
        start = i + 1;
    }
    return false;
}

/* Whether a URL can hold the path as it is: curl refuses, escapes or cuts off the rest. A path of
 * `*` alone or none at all is mitmproxy's to show. */
static bool is_url_path(struct bytes path)
{
    for (size_t i = 0; i < path.size; i++)
        if (path.data[i] <= ' ' || path.data[i] >= 0x7F || path.data[i] == '#')
            return false;
    return !path.size || path.data[0] == '/' || bytes_equal_text(path, "*");
}

static bool has_glob(struct bytes path)
{
    for (size_t i = 0; i < path.size; i++)
        if (strchr("[]{}", path.data[i]) && path.data[i])
            return true;
    return false;
}

static void append_curl_url(struct command *command)
{
    struct bytes path = command->target.path;
    if (flow_target_form(&command->target) == FLOW_TARGET_AUTHORITY) {
        path = bytes_make("", 0);
    } else if (!is_url_path(path)) {
        buffer_append_text(command->out, " --request-target ");
        append_word(command, path);
        command->target.path = path = bytes_of("/");
    }
    if (has_dot_segment(path))
        buffer_append_text(command->out, " --path-as-is");
    if (has_glob(path))
        buffer_append_text(command->out, " --globoff");
    buffer_append_byte(command->out, ' ');
    append_url(command);
}

/* The method, and fields that curl would add or leave out by itself. */
static void append_curl_method(struct command *command)
{
    struct buffer *out = command->out;
    struct bytes method = command->flow->target.method;
    size_t size = command->content.size;
    bool is_get = bytes_equal_text(method, "GET");
    bool is_head = bytes_equal_text(method, "HEAD");
    /* curl would say that it sends a form. */
    if (!command->has_type && (command->piped || (!size && command->chunked)))
        buffer_append_text(out, " -H content-type:");
    if (!command->expects && size > CURL_EXPECTS)
        buffer_append_text(out, " -H expect:");
    /* Some servers want a length even for no content, which curl does not send. */
    if (!is_get && !is_head && !size && !command->chunked)
        buffer_append_text(out, " -H 'content-length: 0'");
    if (is_head && !size && !command->chunked) {
        /* With -X HEAD, curl waits for content. */
        buffer_append_text(out, " --head");
    } else if (!is_get || command->piped || (command->chunked && !size)) {
        buffer_append_text(out, " -X ");
        append_word(command, method);
    }
}

bool export_curl(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct command command;
    if (!command_open(&command, directory, true, out, error))
        return false;
    struct bytes content = buffer_bytes(&command.content);
    if (command.piped)
        append_pipe(&command);
    buffer_append_text(out, "curl");
    append_fields(&command);
    append_curl_method(&command);
    append_curl_url(&command);
    if (command.piped) {
        buffer_append_text(out, " --data-binary @-");
    } else if (content.size || command.chunked) {
        buffer_append_text(out, content.size && content.data[0] == '@' ? " --data-raw " : " -d ");
        append_word(&command, content);
    }
    return command_close(&command, error);
}

bool export_httpie(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct command command;
    if (!command_open(&command, directory, false, out, error))
        return false;
    struct bytes content = buffer_bytes(&command.content);
    if (command.piped)
        append_pipe(&command);
    buffer_append_text(out, "http ");
    if (command.chunked && content.size)
        buffer_append_text(out, "--chunked ");
    if (flow_target_form(&command.target) != FLOW_TARGET_AUTHORITY &&
        has_dot_segment(command.target.path))
        buffer_append_text(out, "--path-as-is ");
    append_word(&command, command.flow->target.method);
    buffer_append_byte(out, ' ');
    append_url(&command);
    append_fields(&command);
    /* httpie would say that it sends JSON. */
    if (command.piped && !command.has_type)
        buffer_append_text(out, " content-type:");
    if (!command.piped && content.size) {
        buffer_append_text(out, " <<< ");
        append_word(&command, content);
    }
    return command_close(&command, error);
}
