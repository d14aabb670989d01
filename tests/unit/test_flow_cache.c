/* The cache of flows: right bytes for many readers at once, in any order, in bounded memory. */
#include "support.h"

#include "flow_cache.h"

#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define SMALL_FLOWS 400u
#define LONG_DECODED ((size_t)9 << 20)
#define LONG_PLAIN ((size_t)3 << 19)

/* Flow SMALL_FLOWS has a long encoded response, the one behind it a long plain request. */
#define LONG_ENCODED_FLOW SMALL_FLOWS
#define LONG_PLAIN_FLOW (SMALL_FLOWS + 1)

static uint8_t pattern(uint32_t flow, uint64_t at)
{
    return (uint8_t)((at >> 3) + (at >> 11) * 7 + (at >> 19) * 31 + flow * 13);
}

static struct bytes patterned(uint32_t flow, size_t size)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = pattern(flow, i);
    return bytes_make(data, size);
}

static size_t small_size(uint32_t flow)
{
    return 100 + flow * 37u;
}

static struct buffer gzip_of(struct bytes plain)
{
    struct buffer out = BUFFER_INIT;
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(buffer_reserve(&out, deflateBound(&stream, plain.size)));
    stream.next_in = (uint8_t *)(uintptr_t)plain.data;
    stream.avail_in = (uInt)plain.size;
    stream.next_out = out.data;
    stream.avail_out = (uInt)out.capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.size = stream.total_out;
    deflateEnd(&stream);
    return out;
}

static void put_numbered(struct buffer *text, uint32_t number, struct bytes request,
                         struct bytes response, bool gzipped)
{
    char id[16];
    struct buffer headers = BUFFER_INIT;
    if (gzipped)
        put_field(&headers, SPAN("content-encoding"), SPAN("gzip"));
    snprintf(id, sizeof id, "flow-%" PRIu32, number);
    struct test_flow flow = {
        .id = id, .body = request, .response_headers = &headers, .response_body = response};
    put_flow(text, &flow);
    buffer_free(&headers);
}

static struct test_file file;
static struct collection *collection;

static int make_collection(void **state)
{
    struct flow_error error = {0};
    struct buffer text = BUFFER_INIT;
    (void)state;
    for (uint32_t i = 0; i <= LONG_PLAIN_FLOW; i++) {
        struct bytes plain = patterned(i, i < SMALL_FLOWS          ? small_size(i)
                                          : i == LONG_ENCODED_FLOW ? LONG_DECODED
                                                                   : LONG_PLAIN);
        struct buffer packed = gzip_of(plain);
        put_numbered(&text, i, i == LONG_PLAIN_FLOW ? plain : SPAN("request"),
                     i == LONG_PLAIN_FLOW ? SPAN("") : buffer_bytes(&packed), i != LONG_PLAIN_FLOW);
        buffer_free(&packed);
        free((void *)(uintptr_t)plain.data);
    }
    test_file_open(&file, buffer_bytes(&text));
    buffer_free(&text);
    collection = collection_open((uint64_t)1 << 30, NULL, NULL, &error);
    return collection && collection_add(collection, file.path, &error) ? 0 : -1;
}

static int drop_collection(void **state)
{
    (void)state;
    collection_close(collection);
    test_file_close(&file);
    return 0;
}

/* The piece's bytes, wherever they are. */
static const uint8_t *piece_bytes(const struct cached_piece *piece, uint8_t *scratch)
{
    if (piece->descriptor < 0)
        return piece->bytes.data;
    ssize_t got = pread(piece->descriptor, scratch, piece->size, (off_t)piece->offset);
    return got == (ssize_t)piece->size ? scratch : NULL;
}

/* Whether up to `size` bytes at `at` of the body are what the pattern says. */
static bool reads_right(struct cached_flow *flow, uint32_t number, enum flowdir_file which,
                        uint64_t whole, uint64_t at, size_t size)
{
    struct flow_error error = {0};
    struct cached_piece piece;
    uint8_t *scratch = malloc(size);
    if (!scratch || !cached_flow_read(flow, which, at, size, scratch, &piece, &error)) {
        print_error("flow %" PRIu32 ": %s\n", number, error.message);
        free(scratch);
        return false;
    }
    uint64_t left = at < whole ? whole - at : 0;
    bool right = piece.size == (left < size ? left : size);
    const uint8_t *data = piece.size ? piece_bytes(&piece, scratch) : scratch;
    for (size_t i = 0; right && i < piece.size; i++)
        right = data && data[i] == pattern(number, at + i);
    free(scratch);
    return right;
}

static void test_sizes_and_pieces(void **state)
{
    (void)state;
    static const struct {
        uint32_t flow;
        enum flowdir_file file;
        uint64_t size;
    } rows[] = {
        {0, FLOWDIR_RESPONSE_BODY, 100},
        {SMALL_FLOWS - 1, FLOWDIR_RESPONSE_BODY, 100 + (SMALL_FLOWS - 1) * 37u},
        {LONG_ENCODED_FLOW, FLOWDIR_RESPONSE_BODY, LONG_DECODED},
        {LONG_PLAIN_FLOW, FLOWDIR_REQUEST_BODY, LONG_PLAIN},
    };
    struct flow_error error = {0};
    struct flow_cache *cache = flow_cache_open(collection, 1 << 20, &error);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t size = 0;
        struct cached_flow *flow = flow_cache_get(cache, rows[i].flow, &error);
        assert_non_null(flow);
        assert_ptr_equal(flow_cache_get(cache, rows[i].flow, &error), flow);
        flow_cache_release(cache, flow);
        assert_true(cached_flow_size(flow, rows[i].file, &size, &error));
        assert_int_equal(size, rows[i].size);
        static const size_t pieces[] = {1, 10, 4096, 70000, 131072};
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            assert_true(reads_right(flow, rows[i].flow, rows[i].file, size, 0, pieces[p]));
            assert_true(reads_right(flow, rows[i].flow, rows[i].file, size, size / 2, pieces[p]));
            assert_true(reads_right(flow, rows[i].flow, rows[i].file, size, size - 1, pieces[p]));
            assert_true(reads_right(flow, rows[i].flow, rows[i].file, size, size, pieces[p]));
            assert_true(
                reads_right(flow, rows[i].flow, rows[i].file, size, size + 100000, pieces[p]));
        }
        flow_cache_release(cache, flow);
    }
    flow_cache_close(cache);
    flow_cache_close(NULL);
}

static void test_long_body_in_any_order(void **state)
{
    (void)state;
    uint64_t chance = 9;
    struct flow_error error = {0};
    struct flow_cache *cache = flow_cache_open(collection, 1 << 20, &error);
    struct cached_flow *flow = flow_cache_get(cache, LONG_ENCODED_FLOW, &error);
    for (int i = 0; i < 60; i++) {
        uint64_t at = test_random(&chance) % LONG_DECODED;
        size_t size = 1 + test_random(&chance) % 300000;
        assert_true(
            reads_right(flow, LONG_ENCODED_FLOW, FLOWDIR_RESPONSE_BODY, LONG_DECODED, at, size));
    }
    /* As the kernel reads ahead: forward, neighbours changing places. */
    for (uint64_t at = 0; at < LONG_DECODED; at += 262144) {
        assert_true(reads_right(flow, LONG_ENCODED_FLOW, FLOWDIR_RESPONSE_BODY, LONG_DECODED,
                                at + 131072, 131072));
        assert_true(
            reads_right(flow, LONG_ENCODED_FLOW, FLOWDIR_RESPONSE_BODY, LONG_DECODED, at, 131072));
    }
    flow_cache_release(cache, flow);
    flow_cache_close(cache);
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t memory_in_use(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void test_bounded(void **state)
{
    (void)state;
    struct flow_error error = {0};
    size_t limit = 2 << 20;
    struct flow_cache *cache = flow_cache_open(collection, limit, &error);
    size_t before = memory_in_use();
    size_t most = 0;
    for (int round = 0; round < 3; round++)
        for (uint32_t i = 0; i <= LONG_PLAIN_FLOW; i++) {
            uint64_t size;
            struct cached_flow *flow = flow_cache_get(cache, i, &error);
            assert_non_null(flow);
            for (int which = 0; which < FLOWDIR_FILES; which++)
                if (flowdir_has(cached_flow_directory(flow), (enum flowdir_file)which))
                    assert_true(cached_flow_size(flow, (enum flowdir_file)which, &size, &error));
            if (i < SMALL_FLOWS)
                assert_true(reads_right(flow, i, FLOWDIR_RESPONSE_BODY, small_size(i), 0, 65536));
            flow_cache_release(cache, flow);
            size_t now = memory_in_use();
            if (now > before && now - before > most)
                most = now - before;
        }
    print_message("# at most %zu KB for a cache of %zu KB\n", most / 1024, limit / 1024);
    assert_true(most > limit / 4);
    assert_true(most < limit + limit / 2);
    flow_cache_close(cache);
}

struct hammer {
    struct flow_cache *cache;
    uint64_t chance;
    unsigned wrong;
};

static bool hammer_once(struct hammer *hammer)
{
    struct flow_error error = {0};
    uint32_t pick = test_random(&hammer->chance);
    uint32_t number = pick % 64 == 0 ? LONG_PLAIN_FLOW : pick / 64 % SMALL_FLOWS;
    bool plain = number == LONG_PLAIN_FLOW;
    struct cached_flow *flow = flow_cache_get(hammer->cache, number, &error);
    if (!flow)
        return false;
    uint64_t expected = plain ? LONG_PLAIN : small_size(number);
    enum flowdir_file body = plain ? FLOWDIR_REQUEST_BODY : FLOWDIR_RESPONSE_BODY;
    uint64_t size = 0;
    uint8_t text[16];
    struct cached_piece piece;
    bool right = cached_flow_size(flow, body, &size, &error) && size == expected;
    right =
        right && reads_right(flow, number, body, size, test_random(&hammer->chance) % size, 9000);
    right = right && cached_flow_read(flow, FLOWDIR_REQUEST_HEADERS, 0, 5, text, &piece, &error) &&
            piece.size == 5 && memcmp(piece.bytes.data, "GET h", 5) == 0;
    right = right && cached_flow_size(flow, FLOWDIR_SUMMARY, &size, &error) && size > 100;
    flow_cache_release(hammer->cache, flow);
    return right;
}

static void *hammer_all(void *context)
{
    struct hammer *hammer = context;
    for (int i = 0; i < 1500; i++)
        hammer->wrong += !hammer_once(hammer);
    for (int i = 0; i < 6; i++) {
        struct flow_error error = {0};
        struct cached_flow *flow = flow_cache_get(hammer->cache, LONG_ENCODED_FLOW, &error);
        uint64_t at = test_random(&hammer->chance) % LONG_DECODED;
        hammer->wrong += !flow || !reads_right(flow, LONG_ENCODED_FLOW, FLOWDIR_RESPONSE_BODY,
                                               LONG_DECODED, at, 100000);
        if (flow)
            flow_cache_release(hammer->cache, flow);
    }
    return NULL;
}

static void test_eight_threads(void **state)
{
    (void)state;
    struct flow_error error = {0};
    struct hammer hammers[8];
    pthread_t threads[8];
    struct flow_cache *cache = flow_cache_open(collection, 256 * 1024, &error);
    for (unsigned i = 0; i < 8; i++) {
        hammers[i] = (struct hammer){cache, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_all, &hammers[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(hammers[i].wrong, 0);
    }
    flow_cache_close(cache);
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    struct flow_error error = {0};
    struct flow_cache *cache = flow_cache_open(collection, 1 << 20, &error);
    assert_int_equal(ftruncate(file.descriptor, 1000), 0);
    assert_null(flow_cache_get(cache, SMALL_FLOWS - 1, &error));
    assert_true(error.code != 0 && error.message[0]);
    flow_cache_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_pieces),
        cmocka_unit_test(test_long_body_in_any_order),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_eight_threads),
        cmocka_unit_test(test_what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, make_collection, drop_collection);
}
