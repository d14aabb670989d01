/* What several unit tests share: tnetstrings and flows written by hand, files in memory, and where
 * captures to test with are.
 *
 * The writer here knows nothing of codec/tnet_write.c: it is the second answer. */
#ifndef FLOWFS_TESTS_SUPPORT_H
#define FLOWFS_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "bytes.h"
#include "error.h"

#include <stdbool.h>

#define SPAN(literal) bytes_make(literal, sizeof(literal) - 1)

/* Fails the test, showing both, if the bytes are not the text. */
#define assert_bytes(found, expected)                                                              \
    support_assert_bytes((found), bytes_of(expected), __FILE__, __LINE__)
#define assert_spans(found, expected) support_assert_bytes((found), (expected), __FILE__, __LINE__)
void support_assert_bytes(struct bytes found, struct bytes expected, const char *file, int line);

/* Append one tnetstring. */
void put_element(struct buffer *out, char tag, struct bytes content);
void put_text(struct buffer *out, const char *text);
void put_bytes(struct buffer *out, struct bytes bytes);
void put_number(struct buffer *out, int64_t number);
void put_null(struct buffer *out);
/* The same of a buffer's content, which is then freed. */
void put_container(struct buffer *out, char tag, struct buffer *inner);

/* Append a member of a dict. */
void member_text(struct buffer *dict, const char *key, const char *text);
void member_bytes(struct buffer *dict, const char *key, struct bytes bytes);
void member_number(struct buffer *dict, const char *key, int64_t number);
void member_time(struct buffer *dict, const char *key, const char *repr);
void member_null(struct buffer *dict, const char *key);
void member_container(struct buffer *dict, const char *key, char tag, struct buffer *inner);

/* A header field or trailer, to be put into a list. */
void put_field(struct buffer *list, struct bytes name, struct bytes value);

/* An HTTP flow of version 21. Members that are left out take the defaults below. */
struct test_flow {
    const char *id;
    const char *host;                /* address; "example.com" */
    const char *path;                /* "/" */
    struct buffer *headers;          /* fields of the request, freed; NULL: Host alone */
    struct bytes body;               /* of the request; data NULL: empty */
    struct buffer *response_headers; /* freed; NULL: none */
    struct bytes response_body;      /* data NULL: empty */
    const char *start;               /* the request's, a float's repr; "1700000000.25" */
    bool no_response;
};
void put_flow(struct buffer *out, const struct test_flow *flow);
/* The same with nothing but an id. */
void put_simple_flow(struct buffer *out, const char *id);

/* A file in memory with these bytes, and its path. Closed by test_file_close. */
struct test_file {
    int descriptor;
    char path[64];
};
void test_file_open(struct test_file *file, struct bytes content);
void test_file_append(const struct test_file *file, struct bytes content);
void test_file_close(struct test_file *file);

/* Numbers that look random and are the same at every run. */
uint32_t test_random(uint64_t *state);

/* Calls `visit` for each capture: of the corpus ($FLOWFS_CORPUS, else ../shared/corpus beside the
 * project) and of tests/captures. Returns how many there were; where a directory is missing, says
 * so. */
size_t test_captures(void (*visit)(const char *path, void *context), void *context);

/* The content of a file; freed by buffer_free. Fails the test if it cannot be read. */
struct buffer test_read_file(const char *path);

#endif
