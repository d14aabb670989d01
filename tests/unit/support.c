#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void show(const char *what, struct bytes bytes)
{
    print_error("%s %zu bytes: \"", what, bytes.size);
    for (size_t i = 0; i < bytes.size && i < 2000; i++)
        if (bytes.data[i] >= 0x20 && bytes.data[i] < 0x7F)
            print_error("%c", bytes.data[i]);
        else
            print_error("\\x%02x", bytes.data[i]);
    print_error("\"\n");
}

void support_assert_bytes(struct bytes found, struct bytes expected, const char *file, int line)
{
    if (bytes_equal(found, expected))
        return;
    show("found   ", found);
    show("expected", expected);
    _fail(file, line);
}

void put_element(struct buffer *out, char tag, struct bytes content)
{
    buffer_printf(out, "%zu:", content.size);
    buffer_append_bytes(out, content);
    buffer_append_byte(out, (uint8_t)tag);
}

void put_text(struct buffer *out, const char *text)
{
    put_element(out, ';', bytes_of(text));
}

void put_bytes(struct buffer *out, struct bytes bytes)
{
    put_element(out, ',', bytes);
}

void put_number(struct buffer *out, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, number);
    put_element(out, '#', bytes_of(text));
}

void put_null(struct buffer *out)
{
    put_element(out, '~', bytes_of(""));
}

void put_container(struct buffer *out, char tag, struct buffer *inner)
{
    put_element(out, tag, buffer_bytes(inner));
    buffer_free(inner);
}

void member_text(struct buffer *dict, const char *key, const char *text)
{
    put_text(dict, key);
    put_text(dict, text);
}

void member_bytes(struct buffer *dict, const char *key, struct bytes bytes)
{
    put_text(dict, key);
    put_bytes(dict, bytes);
}

void member_number(struct buffer *dict, const char *key, int64_t number)
{
    put_text(dict, key);
    put_number(dict, number);
}

void member_time(struct buffer *dict, const char *key, const char *repr)
{
    put_text(dict, key);
    put_element(dict, '^', bytes_of(repr));
}

void member_null(struct buffer *dict, const char *key)
{
    put_text(dict, key);
    put_null(dict);
}

void member_container(struct buffer *dict, const char *key, char tag, struct buffer *inner)
{
    put_text(dict, key);
    put_container(dict, tag, inner);
}

void put_field(struct buffer *list, struct bytes name, struct bytes value)
{
    struct buffer pair = BUFFER_INIT;
    put_bytes(&pair, name);
    put_bytes(&pair, value);
    put_container(list, ']', &pair);
}

static void put_response(struct buffer *out, const struct test_flow *flow)
{
    struct buffer none = BUFFER_INIT;
    struct buffer response = BUFFER_INIT;
    member_bytes(&response, "http_version", bytes_of("HTTP/1.1"));
    member_number(&response, "status_code", 200);
    member_bytes(&response, "reason", bytes_of("OK"));
    member_container(&response, "headers", ']',
                     flow->response_headers ? flow->response_headers : &none);
    member_bytes(&response, "content",
                 flow->response_body.data ? flow->response_body : bytes_of(""));
    member_null(&response, "trailers");
    member_time(&response, "timestamp_start", "1700000001.5");
    member_time(&response, "timestamp_end", "1700000002.0");
    member_container(out, "response", '}', &response);
}

void put_flow(struct buffer *out, const struct test_flow *flow)
{
    struct buffer dict = BUFFER_INIT;
    struct buffer request = BUFFER_INIT;
    struct buffer host_field = BUFFER_INIT;
    const char *host = flow->host ? flow->host : "example.com";
    put_field(&host_field, bytes_of("Host"), bytes_of(host));
    member_text(&request, "host", host);
    member_number(&request, "port", 80);
    member_bytes(&request, "method", bytes_of("GET"));
    member_bytes(&request, "scheme", bytes_of("http"));
    member_bytes(&request, "authority", bytes_of(""));
    member_bytes(&request, "path", bytes_of(flow->path ? flow->path : "/"));
    member_bytes(&request, "http_version", bytes_of("HTTP/1.1"));
    member_container(&request, "headers", ']', flow->headers ? flow->headers : &host_field);
    buffer_free(&host_field);
    member_bytes(&request, "content", flow->body.data ? flow->body : bytes_of(""));
    member_null(&request, "trailers");
    member_time(&request, "timestamp_start", flow->start ? flow->start : "1700000000.25");
    member_time(&request, "timestamp_end", "1700000000.5");
    member_container(&dict, "request", '}', &request);
    if (flow->no_response)
        member_null(&dict, "response");
    else
        put_response(&dict, flow);
    member_null(&dict, "error");
    member_null(&dict, "websocket");
    member_text(&dict, "type", "http");
    member_text(&dict, "id", flow->id);
    member_number(&dict, "version", 21);
    put_container(out, '}', &dict);
}

void put_simple_flow(struct buffer *out, const char *id)
{
    struct test_flow flow = {.id = id};
    put_flow(out, &flow);
}

void test_file_open(struct test_file *file, struct bytes content)
{
    file->descriptor = memfd_create("capture", MFD_CLOEXEC);
    assert_true(file->descriptor >= 0);
    snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->descriptor);
    test_file_append(file, content);
}

void test_file_append(const struct test_file *file, struct bytes content)
{
    size_t done = 0;
    while (done < content.size) {
        ssize_t written = write(file->descriptor, content.data + done, content.size - done);
        assert_true(written > 0);
        done += (size_t)written;
    }
}

void test_file_close(struct test_file *file)
{
    close(file->descriptor);
}

uint32_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static bool is_capture(const char *name)
{
    static const char *const ends[] = {".mitm", ".har", ".zhar", ".gz", ".flow", ".flows"};
    if (ends_with(name, ".expected.har"))
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}

static size_t visit_folder(const char *folder, void (*visit)(const char *path, void *context),
                           void *context)
{
    struct dirent **entries;
    size_t visited = 0;
    char path[4096];
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) {
        print_message("# left out: no captures in %s (%s)\n", folder, strerror(errno));
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (is_capture(entries[i]->d_name)) {
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            visit(path, context);
            visited++;
        }
        free(entries[i]);
    }
    free(entries);
    return visited;
}

size_t test_captures(void (*visit)(const char *path, void *context), void *context)
{
    const char *corpus = getenv("FLOWFS_CORPUS");
    size_t visited =
        visit_folder(corpus ? corpus : FLOWFS_PROJECT "/../shared/corpus", visit, context);
    return visited + visit_folder(FLOWFS_PROJECT "/tests/captures", visit, context);
}

struct buffer test_read_file(const char *path)
{
    struct buffer content = BUFFER_INIT;
    uint8_t piece[65536];
    size_t got;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(&content, piece, got);
    assert_false(ferror(file));
    fclose(file);
    assert_false(content.failed);
    return content;
}
