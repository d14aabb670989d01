/* Spans, buffers, arenas and errors: the ground that the other rooms stand on. */
#include "../../codec/arena.h"
#include "../../codec/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#define SPAN(literal) bytes_make(literal, sizeof(literal) - 1)

/* Allocation number `fail_at` fails (0: none), as --wrap at linking makes possible. */
static size_t allocations, fail_at;
static int live;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
    /* ASan stops at sizes that malloc would only refuse. */
    bool refused = ++allocations == fail_at || size > SIZE_MAX / 2;
    void *memory = refused ? NULL : __real_malloc(size);
    live += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = ++allocations == fail_at ? NULL : __real_calloc(count, size);
    live += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (++allocations == fail_at)
        return NULL;
    live += memory == NULL;
    return __real_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}

static void fail_allocation(size_t number)
{
    allocations = 0;
    fail_at = number;
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_make(NULL, 0), bytes_of("")));
    assert_true(bytes_equal(SPAN("a\0b"), SPAN("a\0b")));
    assert_false(bytes_equal(SPAN("a\0b"), SPAN("a\0c")));
    assert_false(bytes_equal(SPAN("a"), SPAN("ab")));
    assert_true(bytes_equal_text(SPAN("abc"), "abc"));
    assert_false(bytes_equal_text(SPAN("abc\0"), "abc"));
    assert_true(bytes_equal_ignoring_case(SPAN("Content-TYPE"), "content-type"));
    assert_true(bytes_equal_ignoring_case(SPAN(""), ""));
    assert_false(bytes_equal_ignoring_case(SPAN("a"), ""));
    assert_false(bytes_equal_ignoring_case(SPAN(""), "a"));
    assert_false(bytes_equal_ignoring_case(SPAN("ab"), "abc"));
    assert_false(bytes_equal_ignoring_case(SPAN("abc"), "ab"));
    assert_false(bytes_equal_ignoring_case(SPAN("ab\0"), "ab"));
    /* The neighbours of the letters, and letters outside ASCII, have no case. */
    assert_false(bytes_equal_ignoring_case(SPAN("@[`{"), "`{@["));
    assert_false(bytes_equal_ignoring_case(SPAN("\xC3\x84"), "\xC3\xA4"));
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(bytes_equal_text(bytes_trim(SPAN(" \t a b\t ")), "a b"));
    assert_true(bytes_equal_text(bytes_trim(SPAN("\na\r")), "\na\r"));
    assert_int_equal(bytes_trim(SPAN(" \t ")).size, 0);
    assert_int_equal(bytes_trim(bytes_make(NULL, 0)).size, 0);
}

/* A second answer: encodes every code point by the table of RFC 3629, section 3. */
static size_t encode(uint32_t point, uint8_t out[4])
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1;) {
        out[i] = (uint8_t)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    out[0] = (uint8_t)(lead[length] | point);
    return length;
}

static void test_utf8_points(void **state)
{
    (void)state;
    uint8_t text[4];
    for (uint32_t point = 0; point < 0x110000; point++) {
        size_t length = encode(point, text);
        bool surrogate = point >= 0xD800 && point < 0xE000;
        if (bytes_utf8_length(bytes_make(text, length)) != (surrogate ? 0 : length))
            fail_msg("U+%04X", point);
        if (length > 1 && bytes_utf8_length(bytes_make(text, length - 1)))
            fail_msg("U+%04X cut short", point);
    }
}

/* Of all strings of two and three bytes, exactly those are UTF-8 that encode() can make. */
static void test_utf8_counts(void **state)
{
    (void)state;
    size_t pairs = 0, triples = 0;
    for (uint32_t i = 0; i < 0x1000000; i++) {
        uint8_t text[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        triples += bytes_utf8_length(bytes_make(text, 3)) == 3;
        pairs += !text[0] && bytes_utf8_length(bytes_make(text + 1, 2)) == 2;
    }
    assert_int_equal(pairs, 0x800 - 0x80);
    assert_int_equal(triples, 0x10000 - 0x800 - 0x800);
}

static void test_utf8_strings(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "a\xC3",
                                      "\xC3\xA4\xA4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(bytes_are_utf8(bytes_of(bad[i])));
    assert_true(bytes_are_utf8(SPAN("a\0\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80")));
    assert_true(bytes_are_utf8(bytes_make(NULL, 0)));
    assert_int_equal(bytes_utf8_length(bytes_make(NULL, 0)), 0);
}

static void test_hash(void **state)
{
    (void)state;
    assert_true(bytes_hash(SPAN("a"), 0) == bytes_hash(SPAN("a"), 0));
    assert_true(bytes_hash(SPAN("a"), 0) != bytes_hash(SPAN("b"), 0));
    assert_true(bytes_hash(SPAN("a"), 0) != bytes_hash(SPAN("a"), 1));
    assert_true(bytes_hash(SPAN("a"), 0) != bytes_hash(SPAN("a\0"), 0));
    /* As a table would use it: 4,096 numbers fill most of 4,096 slots that chance would fill, 63%.
     */
    static bool slots[4096];
    size_t filled = 0;
    for (unsigned i = 0; i < 4096; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        size_t slot = bytes_hash(bytes_of(text), 0) % 4096;
        filled += !slots[slot];
        slots[slot] = true;
    }
    assert_in_range(filled, 2400, 4096);
}

static void test_buffer(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_INIT;
    buffer_append(&buffer, NULL, 0);
    assert_null(buffer.data);
    for (unsigned i = 0; i < 100000; i++)
        buffer_append_byte(&buffer, (uint8_t)(i * 7));
    assert_int_equal(buffer.size, 100000);
    for (unsigned i = 0; i < 100000; i++)
        if (buffer.data[i] != (uint8_t)(i * 7))
            fail_msg("byte %u", i);
    buffer.size = 0;
    buffer_append_text(&buffer, "text ");
    buffer_append_bytes(&buffer, SPAN("a\0b"));
    assert_true(bytes_equal(buffer_bytes(&buffer), SPAN("text a\0b")));
    buffer_free(&buffer);
    assert_int_equal(buffer.size + buffer.capacity, 0);
    buffer_free(&buffer);
}

static void test_printf(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_INIT;
    buffer_printf(&buffer, "%d-%s;", 42, "x");
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "42-x;"));
    /* Around the size that is formatted without a second pass. */
    for (int width = 509; width < 516; width++) {
        buffer.size = 0;
        buffer_printf(&buffer, "%*d", width, 7);
        assert_int_equal(buffer.size, width);
        assert_int_equal(buffer.data[width - 1], '7');
        assert_int_equal(buffer.data[0], ' ');
    }
    buffer_free(&buffer);
}

static void test_buffer_no_memory(void **state)
{
    (void)state;
    for (size_t number = 1; number < 4; number++) {
        struct buffer buffer = BUFFER_INIT;
        fail_allocation(number);
        for (unsigned i = 0; i < 600; i++)
            buffer_append_byte(&buffer, 'a');
        fail_allocation(0);
        /* Room is taken for 256, 512 and 1,024 bytes. */
        assert_true(buffer.failed);
        assert_int_equal(buffer.size, number == 1 ? 0 : number == 2 ? 256 : 512);
        size_t size = buffer.size;
        buffer_append_text(&buffer, "far more than there was room for");
        assert_int_equal(buffer.size, size);
        assert_false(buffer_reserve(&buffer, 1));
        buffer_free(&buffer);
        assert_false(buffer.failed);
    }
    struct buffer buffer = BUFFER_INIT;
    assert_false(buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    buffer_free(&buffer);
    fail_allocation(1);
    buffer_printf(&buffer, "%600d", 1);
    assert_true(buffer.failed);
    buffer_free(&buffer);
    fail_allocation(1);
    buffer_append_base64(&buffer, SPAN("abc"));
    assert_true(buffer.failed);
    buffer_free(&buffer);
    fail_allocation(0);
    assert_int_equal(live, 0);
}

/* RFC 4648, section 10. */
static void test_base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xFF\xEF\xBE", "/+++"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buffer buffer = BUFFER_INIT;
        buffer_append_base64(&buffer, bytes_of(pairs[i][0]));
        assert_true(bytes_equal_text(buffer_bytes(&buffer), pairs[i][1]));
        buffer.size = 0;
        assert_true(buffer_append_base64_decoded(&buffer, bytes_of(pairs[i][1])));
        assert_true(bytes_equal_text(buffer_bytes(&buffer), pairs[i][0]));
        buffer_free(&buffer);
    }
}

static void test_base64_forms(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_INIT;
    assert_true(buffer_append_base64_decoded(&buffer, SPAN(" Zm9\r\n\tvYg ")));
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "foob"));
    buffer.size = 0;
    assert_false(buffer_append_base64_decoded(&buffer, SPAN("Zm9v*mFy")));
    assert_true(bytes_equal_text(buffer_bytes(&buffer), "foo"));
    buffer.size = 0;
    assert_false(buffer_append_base64_decoded(&buffer, SPAN("Zm9v\0")));
    assert_false(buffer_append_base64_decoded(&buffer, SPAN("-_")));
    buffer_free(&buffer);
    /* All bytes there and back. */
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    struct buffer text = BUFFER_INIT;
    buffer_append_base64(&text, bytes_make(all, 256));
    assert_int_equal(text.size, 344);
    assert_true(buffer_append_base64_decoded(&buffer, buffer_bytes(&text)));
    assert_true(bytes_equal(buffer_bytes(&buffer), bytes_make(all, 256)));
    buffer_free(&buffer);
    buffer_free(&text);
}

static void test_arena(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 8191, 8192, 8193, 32768, 40000, 100000};
    struct arena *arena = arena_new();
    uint8_t *pieces[240];
    size_t total = 0;
    for (size_t i = 0; i < 240; i++) {
        size_t size = sizes[i % 12];
        pieces[i] = arena_alloc(arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, size);
        total += size;
    }
    for (size_t i = 0; i < 240; i++)
        for (size_t j = 0; j < sizes[i % 12]; j++)
            if (pieces[i][j] != (uint8_t)i)
                fail_msg("piece %zu was written over", i);
    assert_in_range(arena_footprint(arena), total, 2 * total);
    struct bytes copy = arena_copy(arena, SPAN("a\0b"));
    assert_true(bytes_equal(copy, SPAN("a\0b")));
    copy = arena_copy(arena, bytes_make(NULL, 0));
    assert_int_equal(copy.size, 0);
    assert_true(arena_adopt(arena, malloc(10)));
    assert_true(arena_adopt(arena, NULL));
    assert_non_null(arena_alloc(arena, 8));
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 64));
    arena_free(arena);
    arena_free(NULL);
    assert_int_equal(live, 0);
}

static void test_arena_adopts_first(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    assert_true(arena_adopt(arena, malloc(10)));
    memset(arena_alloc(arena, 100), 1, 100);
    memset(arena_alloc(arena, 20000), 1, 20000);
    arena_free(arena);
    assert_int_equal(live, 0);
}

static void test_arena_no_memory(void **state)
{
    (void)state;
    fail_allocation(1);
    assert_null(arena_new());
    fail_allocation(0);
    struct arena *arena = arena_new();
    fail_allocation(1);
    assert_null(arena_alloc(arena, 10));
    fail_allocation(1);
    struct bytes copy = arena_copy(arena, SPAN("abc"));
    assert_null(copy.data);
    assert_int_equal(copy.size, 3);
    fail_allocation(2); /* the first is the piece that is handed over */
    assert_false(arena_adopt(arena, malloc(10)));
    fail_allocation(0);
    assert_non_null(arena_alloc(arena, 10));
    fail_allocation(1);
    assert_null(arena_alloc(arena, 40000));
    fail_allocation(0);
    assert_non_null(arena_alloc(arena, 10));
    arena_free(arena);
    assert_int_equal(live, 0);
}

static void test_error(void **state)
{
    (void)state;
    struct flow_error error = {0};
    flow_error_prepend_key(&error, "nothing");
    assert_string_equal(error.key_path, "");
    flow_error_set(&error, EBADMSG, 12, "found %d, expected %s", 3, "four");
    flow_error_set(&error, EIO, 99, "a consequence");
    assert_int_equal(error.code, EBADMSG);
    assert_int_equal(error.offset, 12);
    assert_string_equal(error.message, "found 3, expected four");
    assert_false(flow_error_memory(&error));
    assert_int_equal(error.code, EBADMSG);
    flow_error_set(NULL, EIO, 0, "nobody listens");
    flow_error_prepend_key(NULL, "key");
    flow_error_prepend_index(NULL, 1);
    assert_false(flow_error_memory(NULL));
    struct flow_error memory = {0};
    assert_false(flow_error_memory(&memory));
    assert_int_equal(memory.code, ENOMEM);
    assert_true(memory.offset == FLOW_ERROR_NO_OFFSET);
}

static void test_key_path(void **state)
{
    (void)state;
    struct flow_error error = {0};
    flow_error_set(&error, EBADMSG, 0, "broken");
    flow_error_prepend_index(&error, 3);
    assert_string_equal(error.key_path, "[3]");
    flow_error_prepend_key(&error, "headers");
    assert_string_equal(error.key_path, "headers[3]");
    flow_error_prepend_key(&error, "request");
    assert_string_equal(error.key_path, "request.headers[3]");
    flow_error_prepend_index(&error, UINT64_MAX);
    assert_string_equal(error.key_path, "[18446744073709551615].request.headers[3]");
}

static void test_long_key_path(void **state)
{
    (void)state;
    char key[300];
    for (size_t length = 0; length < sizeof key; length++) {
        struct flow_error error = {0};
        memset(key, 'k', length);
        key[length] = '\0';
        flow_error_set(&error, EBADMSG, 0, "broken");
        flow_error_prepend_key(&error, "inner");
        flow_error_prepend_key(&error, key);
        flow_error_prepend_key(&error, "outer");
        char whole[400];
        int size = snprintf(whole, sizeof whole, "outer.%s.inner", key);
        size_t room = sizeof error.key_path - 1;
        assert_true(strlen(error.key_path) <= room);
        if ((size_t)size <= room)
            assert_string_equal(error.key_path, whole);
        else
            assert_memory_equal(error.key_path, whole, room - 1);
    }
}

static void test_long_message(void **state)
{
    (void)state;
    struct flow_error error = {0};
    flow_error_set(&error, EBADMSG, 0, "%1000d", 1);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_utf8_points),
        cmocka_unit_test(test_utf8_counts),
        cmocka_unit_test(test_utf8_strings),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_buffer_no_memory),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_forms),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_adopts_first),
        cmocka_unit_test(test_arena_no_memory),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_key_path),
        cmocka_unit_test(test_long_key_path),
        cmocka_unit_test(test_long_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
