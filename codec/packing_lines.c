/* Start lines and fields, read back from the lines that flowdir_form.h writes. */
#include "packing.h"

#include "http_status.h"

#include <stdio.h>

struct lines {
    struct bytes text;
    size_t at;
    size_t number; /* of the line given last, from 1 */
};

/* The next line without its end, LF or CRLF; false at the end of the text. */
static bool next_line(struct lines *lines, struct bytes *line)
{
    if (lines->at >= lines->text.size)
        return false;
    const uint8_t *start = lines->text.data + lines->at;
    size_t left = lines->text.size - lines->at;
    const uint8_t *end = memchr(start, '\n', left);
    size_t size = end ? (size_t)(end - start) : left;
    lines->at += size + (end != NULL);
    lines->number++;
    if (size && start[size - 1] == '\r')
        size--;
    *line = bytes_make(start, size);
    return true;
}

static size_t find(struct bytes text, char byte, size_t from)
{
    while (from < text.size && text.data[from] != (uint8_t)byte)
        from++;
    return from;
}

static struct bytes part(struct bytes text, size_t from, size_t to)
{
    return bytes_make(text.data + from, to - from);
}

static struct bytes rest(struct bytes text, size_t from)
{
    return from < text.size ? part(text, from, text.size) : bytes_make("", 0);
}

/* One field: `name: value`, and value_list of the two. */
static struct value *parse_field(const struct packing *packing, const char *file, size_t number,
                                 struct bytes line)
{
    char excerpt[PACKING_EXCERPT];
    /* HTTP/2's pseudo header fields start with a colon. */
    size_t colon = find(line, ':', 1);
    const char *expected = "expected a header field, `name: value`";
    if (colon >= line.size) {
        packing_mistake(packing, file, number, "found \"%s\", %s", packing_excerpt(line, excerpt),
                        expected);
        return NULL;
    }
    struct bytes name = part(line, 0, colon);
    size_t start = colon + 1;
    if (start < line.size && line.data[start] == ' ')
        start++;
    struct bytes value = rest(line, start);
    if (!flowdir_is_token(name) || !flowdir_holds_in_line(value)) {
        packing_mistake(packing, file, number, "found %s in \"%s\", %s",
                        flowdir_is_token(name) ? "a control character" : "a space in the name",
                        packing_excerpt(line, excerpt), expected);
        return NULL;
    }
    struct value *field = value_list(packing->arena);
    if (value_append(field, value_bytes(packing->arena, name)) &&
        value_append(field, value_bytes(packing->arena, value)))
        return field;
    flow_error_memory(packing->error);
    return NULL;
}

/* The fields that flow.json holds exactly, as the lines that stand for them. */
struct exact_fields {
    size_t count;
    size_t used; /* of the first ones: mostly they come in order */
    struct exact_field {
        struct value *field; /* NULL: used */
        struct bytes line;
    } * fields;
};

static bool open_exact(const struct packing *packing, struct value *list,
                       struct exact_fields *exact)
{
    struct bytes name, value;
    *exact = (struct exact_fields){0};
    if (!value_is(list, VALUE_LIST))
        return true;
    exact->fields = arena_alloc(packing->arena, (list->count + 1) * sizeof *exact->fields);
    if (!exact->fields)
        return flow_error_memory(packing->error);
    for (struct value *item = list->first; item; item = item->next) {
        struct buffer line = BUFFER_INIT;
        if (!flow_field(item, &name, &value))
            continue;
        flowdir_append_field(&line, name, value);
        struct bytes kept = {0};
        if (!line.failed)
            kept = arena_copy(packing->arena, bytes_make(line.data, line.size - 1));
        buffer_free(&line);
        if (!kept.data)
            return flow_error_memory(packing->error);
        exact->fields[exact->count++] = (struct exact_field){item, kept};
    }
    return true;
}

static struct value *take_exact(struct exact_fields *exact, struct bytes line)
{
    for (size_t i = exact->used; i < exact->count; i++) {
        struct value *field = exact->fields[i].field;
        if (!field || !bytes_equal(exact->fields[i].line, line))
            continue;
        exact->fields[i].field = NULL;
        while (exact->used < exact->count && !exact->fields[exact->used].field)
            exact->used++;
        return field;
    }
    return NULL;
}

/* Reads all lines that are left as fields. exact: those that unchanged lines stand for. */
static struct value *parse_fields(const struct packing *packing, const char *file,
                                  struct lines *lines, struct exact_fields *exact)
{
    struct bytes line;
    size_t empty = 0;
    struct value *fields = value_list(packing->arena);
    if (!fields)
        flow_error_memory(packing->error);
    while (fields && next_line(lines, &line)) {
        struct value *field = take_exact(exact, line);
        if (field) {
            field = value_copy(packing->arena, field);
            if (!field)
                flow_error_memory(packing->error);
        } else if (line.size == 0) {
            empty = empty ? empty : lines->number;
            continue;
        } else if (!empty) {
            field = parse_field(packing, file, lines->number, line);
        } else {
            packing_mistake(packing, file, empty,
                            "found an empty line between header fields, expected `name: value` "
                            "(the content is in a file of its own)");
        }
        if (!value_append(fields, field))
            return NULL;
    }
    return fields;
}

/* Whether the note says that flow.json holds this part of the file. */
static bool is_exact(const struct value *note, const char *what)
{
    const struct value *list = value_get(note, "exact");
    for (const struct value *item = list ? list->first : NULL; item; item = item->next)
        if (bytes_equal_text(value_string(item), what))
            return true;
    return false;
}

/* Puts what a file says, unless flow.json says something else. */
static bool put_told(const struct packing *packing, const struct packing_side *side, size_t number,
                     const char *key, struct value *member)
{
    const struct value *told = value_get(side->dict, key);
    char here[PACKING_EXCERPT], there[PACKING_EXCERPT];
    if (!member)
        return flow_error_memory(packing->error);
    if (!told)
        return packing_put(packing, side->dict, side->which, key, member);
    if (told->kind == member->kind && bytes_equal(told->bytes, member->bytes))
        return true;
    return packing_json_mistake(
        packing, told,
        "found %s \"%s\", but %s:%zu says \"%s\"; expected it there alone: remove it", key,
        packing_excerpt(value_string(told), here), flowdir_file_name(side->headers), number,
        packing_excerpt(member->bytes, there));
}

static bool is_version(struct bytes version)
{
    return version.size > 5 && memcmp(version.data, "HTTP/", 5) == 0;
}

static bool parse_request_line(const struct packing *packing, const struct packing_side *side,
                               size_t number, struct bytes line)
{
    char excerpt[PACKING_EXCERPT];
    size_t first = find(line, ' ', 0);
    size_t last = line.size;
    while (last > first && line.data[last - 1] != ' ')
        last--;
    /* The target may hold spaces, the others not. */
    struct bytes version = rest(line, last);
    if (first == 0 || first >= line.size || last <= first + 1 || !is_version(version) ||
        !flowdir_holds_in_line(line))
        return packing_mistake(packing, flowdir_file_name(side->headers), number,
                               "found \"%s\", expected a request line, `METHOD target HTTP/1.1`",
                               packing_excerpt(line, excerpt));
    struct arena *arena = packing->arena;
    return put_told(packing, side, number, "method", value_bytes(arena, part(line, 0, first))) &&
           put_told(packing, side, number, "http_version", value_bytes(arena, version)) &&
           packing_target(packing, side, part(line, first + 1, last - 1));
}

static bool parse_status_line(const struct packing *packing, const struct packing_side *side,
                              size_t number, struct bytes line)
{
    char excerpt[PACKING_EXCERPT];
    size_t first = find(line, ' ', 0);
    struct bytes version = part(line, 0, first);
    struct bytes left = rest(line, first + 1);
    size_t end = find(left, ' ', 0);
    struct bytes reason = rest(left, end + 1);
    int64_t code = 0;
    for (size_t i = 0; i < end && end == 3; i++)
        code = left.data[i] >= '0' && left.data[i] <= '9' ? code * 10 + left.data[i] - '0' : 10000;
    if (!is_version(version) || code < 100 || code > 999 || !flowdir_holds_in_line(line))
        return packing_mistake(packing, flowdir_file_name(side->headers), number,
                               "found \"%s\", expected a status line, `HTTP/1.1 200 OK`",
                               packing_excerpt(line, excerpt));
    /* Without even a space behind the code it was written by hand. */
    if (end == left.size && side->made)
        reason = bytes_of(http_status_reason(code));
    struct arena *arena = packing->arena;
    return put_told(packing, side, number, "http_version", value_bytes(arena, version)) &&
           put_told(packing, side, number, "status_code", value_int(arena, code)) &&
           put_told(packing, side, number, "reason", value_bytes(arena, reason));
}

static struct bytes member_of(const struct packing_side *side, const char *key)
{
    return value_string(value_get(side->dict, key));
}

/* The start line as it was shown of what flow.json holds. */
static void show_start_line(const struct packing_side *side, struct buffer *out)
{
    int64_t code = 0;
    if (side->which == FLOWDIR_RESPONSE) {
        value_to_int64(value_get(side->dict, "status_code"), &code);
        flowdir_append_status_line(out, member_of(side, "http_version"), code,
                                   member_of(side, "reason"));
        return;
    }
    struct flow_target target = {
        .method = member_of(side, "method"),
        .scheme = member_of(side, "scheme"),
        .authority = member_of(side, "authority"),
        .path = member_of(side, "path"),
        .http_version = member_of(side, "http_version"),
        .host = member_of(side, "host"),
    };
    value_to_int64(value_get(side->dict, "port"), &target.port);
    flowdir_append_request_line(out, &target);
}

/* flow.json holds the start line: it counts while the line is what shows it. */
static bool is_shown(const struct packing *packing, const struct packing_side *side,
                     struct bytes line, bool *shown)
{
    struct buffer text = BUFFER_INIT;
    show_start_line(side, &text);
    *shown = !text.failed && bytes_equal(bytes_make(text.data, text.size - 1), line);
    bool done = !text.failed;
    buffer_free(&text);
    return done || flow_error_memory(packing->error);
}

static void drop(struct value *dict, const char *const *keys)
{
    for (; *keys; keys++)
        value_pop(dict, *keys);
}

static bool put_start_line(const struct packing *packing, const struct packing_side *side,
                           struct lines *lines, bool exact)
{
    static const char *const request_keys[] = {"method", "http_version", "path", NULL};
    static const char *const response_keys[] = {"http_version", "status_code", "reason", NULL};
    bool is_request = side->which == FLOWDIR_REQUEST;
    struct bytes line;
    bool shown = false;
    if (!next_line(lines, &line))
        return packing_mistake(packing, flowdir_file_name(side->headers), 1,
                               "found an empty file, expected %s",
                               is_request ? "a request line, `GET http://example.com/ HTTP/1.1`"
                                          : "a status line, `HTTP/1.1 200 OK`");
    if (exact && !is_shown(packing, side, line, &shown))
        return false;
    if (shown)
        return true;
    if (exact)
        drop(side->dict, is_request ? request_keys : response_keys);
    return is_request ? parse_request_line(packing, side, lines->number, line)
                      : parse_status_line(packing, side, lines->number, line);
}

static bool is_same_list(const struct value *a, const struct value *b)
{
    const struct value *x = a->first, *y = b->first;
    for (; x && y; x = x->next, y = y->next) {
        struct bytes name, value, other_name, other_value;
        if (!flow_field(x, &name, &value) || !flow_field(y, &other_name, &other_value) ||
            !bytes_equal(name, other_name) || !bytes_equal(value, other_value))
            return false;
    }
    return x == y;
}

/* Reads the rest of a file as the list `key`. */
static bool put_fields(const struct packing *packing, const struct packing_side *side,
                       enum flowdir_file file, const char *key, struct lines *lines, bool exact)
{
    struct exact_fields held = {0};
    struct value *told = value_get(side->dict, key);
    const char *name = flowdir_file_name(file);
    if (exact && !open_exact(packing, told, &held))
        return false;
    struct value *fields = parse_fields(packing, name, lines, &held);
    if (!fields)
        return false;
    if (exact || value_is_null(told))
        return packing_put(packing, side->dict, side->which, key, fields);
    return (value_is(told, VALUE_LIST) && is_same_list(told, fields)) ||
           packing_json_mistake(packing, told,
                                "found %s that are not those in %s, expected them there alone: "
                                "remove them",
                                key, name);
}

bool packing_headers(const struct packing *packing, const struct packing_side *side)
{
    struct lines lines = {0};
    struct bytes line;
    const struct value *note = packing_note(packing, flowdir_file_name(side->headers));
    bool exact_line = is_exact(note, "start line"), exact_fields = is_exact(note, "fields");
    if (!packing_read(packing, side->headers, &lines.text))
        return false;
    bool untouched = flowdir_note_matches(note, lines.text);
    if (untouched && exact_line)
        next_line(&lines, &line);
    else if (!put_start_line(packing, side, &lines, exact_line))
        return false;
    return (untouched && exact_fields) ||
           put_fields(packing, side, side->headers, "headers", &lines, exact_fields);
}

bool packing_trailers(const struct packing *packing, const struct packing_side *side)
{
    struct lines lines = {0};
    const char *name = flowdir_file_name(side->trailers);
    const struct value *note = packing_note(packing, name);
    const struct value *told = value_get(side->dict, "trailers");
    if (packing_has(packing, side->trailers)) {
        if (!packing_read(packing, side->trailers, &lines.text))
            return false;
        return flowdir_note_matches(note, lines.text) ||
               put_fields(packing, side, side->trailers, "trailers", &lines, note != NULL);
    }
    /* Gone, or never there. */
    if (note || (!told && packing_had(packing, side->which, "trailers")))
        return packing_put(packing, side->dict, side->which, "trailers",
                           value_null(packing->arena));
    return true;
}
