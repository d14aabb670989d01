/* Content codings: against data that Python's own modules have compressed (the vectors), and
 * against the compressors of the libraries. */
#include "../../codec/body.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the four above first. */
#include <brotli/encode.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Allocation number `fail_at` fails (0: none), as --wrap at linking makes possible. */
static size_t allocations, fail_at, live_bytes, peak_bytes;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
size_t __real_ZSTD_decompressStream(ZSTD_DCtx *context, ZSTD_outBuffer *to, ZSTD_inBuffer *from);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
size_t __wrap_ZSTD_decompressStream(ZSTD_DCtx *context, ZSTD_outBuffer *to, ZSTD_inBuffer *from);

static bool fails_now(void)
{
    return ++allocations == fail_at;
}

static void *counted(void *memory)
{
    live_bytes += malloc_usable_size(memory);
    if (live_bytes > peak_bytes)
        peak_bytes = live_bytes;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails_now())
        return NULL;
    live_bytes -= malloc_usable_size(memory);
    return counted(__real_realloc(memory, size));
}

void __wrap_free(void *memory)
{
    live_bytes -= malloc_usable_size(memory);
    __real_free(memory);
}

/* What libzstd allocates inside itself is out of reach: these two stand for it. */
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
    return fails_now() ? NULL : __real_ZSTD_createDCtx();
}

size_t __wrap_ZSTD_decompressStream(ZSTD_DCtx *context, ZSTD_outBuffer *to, ZSTD_inBuffer *from)
{
    if (fails_now())
        return (size_t)-ZSTD_error_memory_allocation;
    return __real_ZSTD_decompressStream(context, to, from);
}

#define TEXT "The quick brown fox. The quick brown fox. The quick brown fox.\n"
#define GZIP                                                                                       \
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x0b\xc9\x48\x55\x28\x2c\xcd\x4c\xce\x56\x48\x2a"     \
    "\xca\x2f\xcf\x53\x48\xcb\xaf\xd0\x53\x08\x21\x56\x90\x0b\x00\x46\xe9\xc2\x4f\x3f\x00\x00\x00"
#define ZLIB                                                                                       \
    "\x78\x9c\x0b\xc9\x48\x55\x28\x2c\xcd\x4c\xce\x56\x48\x2a\xca\x2f\xcf\x53\x48\xcb\xaf\xd0\x53" \
    "\x08\x21\x56\x90\x0b\x00\xcc\x5d\x16\x0e"
#define RAW                                                                                        \
    "\x0b\xc9\x48\x55\x28\x2c\xcd\x4c\xce\x56\x48\x2a\xca\x2f\xcf\x53\x48\xcb\xaf\xd0\x53\x08\x21" \
    "\x56\x90\x0b\x00"
#define BROTLI                                                                                     \
    "\x1b\x3e\x00\xf8\x8d\xc4\x38\x16\xf2\x8f\x51\x95\x6a\x17\x2a\x33\x34\xad\x00\xf2\x86\xa7\x07" \
    "\x51\x64\x12\x7b\x24\x09\xdb\x74\x94\x2f\x10\x5d\x93\x1a\x25"
#define ZSTANDARD                                                                                  \
    "\x28\xb5\x2f\xfd\x24\x3f\xe5\x00\x00\xb0\x54\x68\x65\x20\x71\x75\x69\x63\x6b\x20\x62\x72\x6f" \
    "\x77\x6e\x20\x66\x6f\x78\x2e\x20\x0a\x01\x00\x21\x34\x99\xbd\xdf\xb4\x80"
#define SPAN(literal) bytes_make(literal, sizeof(literal) - 1)

/* Decodes and compares; `expected` NULL: must fail with `code`. */
static void check_decode(const char *encoding, struct bytes content, const char *expected,
                         size_t expected_size, int code)
{
    struct buffer decoded = BUFFER_INIT;
    struct flow_error error = {0};
    buffer_append_text(&decoded, "before");
    bool done = body_decode(bytes_of(encoding), content, UINT64_MAX, &decoded, &error);
    if (expected) {
        if (!done)
            fail_msg("%s: %s", encoding, error.message);
        assert_int_equal(decoded.size, expected_size + 6);
        assert_memory_equal(decoded.data + 6, expected, expected_size);
    } else {
        assert_false(done);
        assert_int_equal(error.code, code);
        assert_int_equal(decoded.size, 6);
        assert_true(strlen(error.message) > 20);
    }
    buffer_free(&decoded);
}

static void check_text(const char *encoding, struct bytes content)
{
    check_decode(encoding, content, TEXT, sizeof TEXT - 1, 0);
}

static void check_broken(const char *encoding, struct bytes content)
{
    check_decode(encoding, content, NULL, 0, EBADMSG);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool encoded, known;
    } cases[] = {
        {"", false, true},
        {"identity", false, true},
        {"NONE", false, true},
        {" , identity,,none\t", false, true},
        {"gzip", true, true},
        {"GZip", true, true},
        {"x-gzip", true, true},
        {"deflate", true, true},
        {"deflateRaw", true, true},
        {"br", true, true},
        {"ZSTD", true, true},
        {" gzip ", true, true},
        {"gzip, br", true, true},
        {"gzip,identity,br", true, true},
        {"compress", true, false},
        {"gzip, what", true, false},
        {"gzi", true, false},
        {"gzipp", true, false},
        {"utf-8", true, false},
        {"base64", true, false},
        {"bz2", true, false},
        {"hex", true, false},
        {"gzip br", true, false},
        {"br;q=1", true, false},
        {"br,br,br,br,br,br,br,br", true, true},
        {"br,br,br,br,br,br,br,br,br", true, false},
        {"br,identity,br,br,br,br,br,br,br", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes value = bytes_of(cases[i].value);
        if (body_is_encoded(value) != cases[i].encoded)
            fail_msg("is_encoded(%s)", cases[i].value);
        if (body_encoding_is_known(value) != cases[i].known)
            fail_msg("is_known(%s)", cases[i].value);
        if (!cases[i].known)
            check_decode(cases[i].value, SPAN(GZIP), NULL, 0, ENOTSUP);
    }
    assert_false(body_is_encoded(bytes_make(NULL, 0)));
    assert_true(body_encoding_is_known(bytes_make(NULL, 0)));
}

static void test_hostile_name(void **state)
{
    (void)state;
    struct buffer decoded = BUFFER_INIT;
    struct flow_error error = {0};
    assert_false(body_decode(SPAN("a\x1b[2J\n\0\xff"), bytes_of("x"), 10, &decoded, &error));
    assert_int_equal(error.code, ENOTSUP);
    assert_non_null(strstr(error.message, "\"a?[2J???\""));
}

static void test_vectors(void **state)
{
    (void)state;
    check_text("gzip", SPAN(GZIP));
    check_text("x-gzip", SPAN(GZIP));
    check_text("GZIP", SPAN(ZLIB));
    check_text("deflate", SPAN(ZLIB));
    check_text("deflate", SPAN(RAW));
    check_text("deflateraw", SPAN(ZLIB));
    check_text("deflateraw", SPAN(RAW));
    check_text("br", SPAN(BROTLI));
    check_text("zstd", SPAN(ZSTANDARD));
    check_text("identity", bytes_of(TEXT));
    check_text("", bytes_of(TEXT));
    check_broken("gzip", SPAN(RAW));
    check_broken("gzip", SPAN(BROTLI));
    check_broken("deflate", SPAN(GZIP));
    check_broken("br", SPAN(ZSTANDARD));
    check_broken("zstd", SPAN(GZIP));
}

static void test_empty(void **state)
{
    (void)state;
    static const char *const encodings[] = {"",   "gzip", "deflate",  "deflateraw",
                                            "br", "zstd", "gzip, br", "zstd,deflate"};
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++)
        check_decode(encodings[i], bytes_make(NULL, 0), "", 0, 0);
}

/* As mitmproxy has it: see body_codings.h. */
static void test_trailing(void **state)
{
    (void)state;
    check_text("gzip", SPAN(GZIP "x"));
    check_text("gzip", SPAN(GZIP GZIP));
    check_text("deflate", SPAN(ZLIB "x"));
    check_text("deflate", SPAN(RAW "xyz"));
    check_broken("br", SPAN(BROTLI "x"));
    check_broken("zstd", SPAN(ZSTANDARD "x"));
    check_broken("zstd", SPAN(ZSTANDARD "12345"));
    check_decode("zstd", SPAN(ZSTANDARD ZSTANDARD), TEXT TEXT, 2 * (sizeof TEXT - 1), 0);
    check_text("zstd", SPAN("\x5f\x2a\x4d\x18\x03\0\0\0abc" ZSTANDARD));
}

static void test_truncated(void **state)
{
    (void)state;
    struct buffer decoded = BUFFER_INIT;
    size_t previous = 0;
    for (size_t size = 1; size < sizeof GZIP - 1; size++) {
        decoded.size = 0;
        assert_true(body_decode(bytes_of("gzip"), bytes_make(GZIP, size), 1000, &decoded, NULL));
        assert_in_range(decoded.size, previous, sizeof TEXT - 1);
        assert_memory_equal(decoded.data, TEXT, decoded.size);
        previous = decoded.size;
    }
    assert_int_equal(previous, sizeof TEXT - 1);
    buffer_free(&decoded);
    for (size_t size = 1; size < sizeof ZLIB - 1; size++)
        check_broken("deflate", bytes_make(ZLIB, size));
    for (size_t size = 1; size < sizeof RAW - 1; size++)
        check_broken("deflate", bytes_make(RAW, size));
    for (size_t size = 1; size < sizeof BROTLI - 1; size++)
        check_broken("br", bytes_make(BROTLI, size));
    for (size_t size = 1; size < sizeof ZSTANDARD - 1; size++)
        check_broken("zstd", bytes_make(ZSTANDARD, size));
}

/* Each bit from byte `checked` on is guarded by a checksum. */
static void flip_each(const char *encoding, struct bytes content, size_t checked)
{
    uint8_t *copy = malloc(content.size);
    for (size_t i = 0; i < content.size * 8; i++) {
        struct buffer decoded = BUFFER_INIT;
        struct flow_error error = {0};
        memcpy(copy, content.data, content.size);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        bool done = body_decode(bytes_of(encoding), bytes_make(copy, content.size), 1 << 20,
                                &decoded, &error);
        /* Some bits are padding and mean nothing. */
        if (done && i / 8 >= checked)
            assert_true(bytes_equal_text(buffer_bytes(&decoded), TEXT));
        assert_true(done || error.code == EBADMSG || error.code == EFBIG);
        buffer_free(&decoded);
    }
    free(copy);
}

static void test_damaged(void **state)
{
    (void)state;
    /* Only the checksum and size: elsewhere a flip may make the data longer, so that it breaks off,
     * which gzip forgives. */
    flip_each("gzip", SPAN(GZIP), sizeof GZIP - 1 - 8);
    flip_each("deflate", SPAN(ZLIB), 2);
    flip_each("br", SPAN(BROTLI), SIZE_MAX);
    flip_each("zstd", SPAN(ZSTANDARD), 9);
}

/* Raw data whose first two bytes are a valid zlib header: Python's zlib.decompress(…) fails and
 * zlib.decompress(…, -15) gives AB. */
static void test_raw_like_zlib(void **state)
{
    (void)state;
    check_decode("deflate", SPAN("\x78\x01\x00\xfe\xff\x41\x01\x01\x00\xfe\xff\x42"), "AB", 2, 0);
    check_broken("gzip", SPAN("\x78\x01\x00\xfe\xff\x41\x01\x01\x00\xfe\xff\x42"));
    check_broken("deflate", SPAN("\x78\xbb\x00\x00\x00\x01")); /* wants a dictionary */
    /* As zlib data these give 1 byte and fail, and 2,730 bytes and break off. */
    static const uint8_t starts[][5] = {{0x78, 0x5E, 0x0A, 0xA1, 0xF5},
                                        {0x78, 0x9C, 0x0A, 0x63, 0xF5}};
    for (size_t i = 0; i < 2; i++) {
        char content[3000], expected[3000];
        size_t size = starts[i][1] + 256u * starts[i][2];
        memset(expected, 'A', size);
        memcpy(content, starts[i], 5);
        memcpy(content + 5, expected, size);
        memcpy(content + 5 + size, "\x03\x00", 2);
        check_decode("deflate", bytes_make(content, size + 7), expected, size, 0);
    }
}

/* A frame of one raw block "A" with the window 1 << (10 + exponent). */
#define ZSTD_WINDOW(descriptor) "\x28\xb5\x2f\xfd\x00" descriptor "\x09\x00\x00\x41"

static void test_windows(void **state)
{
    (void)state;
    check_decode("zstd", SPAN(ZSTD_WINDOW("\x88")), "A", 1, 0); /* 128 MB */
    check_decode("zstd", SPAN(ZSTD_WINDOW("\x89")), NULL, 0, EFBIG);
    check_decode("zstd", SPAN(ZSTD_WINDOW("\xf8")), NULL, 0, EFBIG);
    /* A whole frame of zstd 0.7, which libzstd may decode, with whatever window it asks for. */
    check_broken("zstd", SPAN("\x27\xb5\x2f\xfd\x00\x00\x40\x00\x01"
                              "A\xc0\x00\x00"));
    check_broken("br", SPAN("\x11\x1e\x0b\x00\x00\x00")); /* large window */
    /* In a list 8 MB must do: gzip of the two frames. */
    struct bytes frames[] = {SPAN(ZSTD_WINDOW("\x68")), SPAN(ZSTD_WINDOW("\x69"))};
    for (size_t i = 0; i < 2; i++) {
        uint8_t packed[100];
        uLongf size = sizeof packed;
        assert_int_equal(compress(packed, &size, frames[i].data, frames[i].size), Z_OK);
        check_decode("zstd, deflate", bytes_make(packed, size), i ? NULL : "A", 1, EFBIG);
    }
}

/* Compressors. Each returns malloc'ed data. */
static struct bytes pack_zlib(struct bytes text, int window)
{
    z_stream zlib = {0};
    assert_int_equal(deflateInit2(&zlib, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&zlib, text.size);
    uint8_t *packed = malloc(room);
    zlib.next_in = (z_const Bytef *)(uintptr_t)text.data;
    zlib.avail_in = (unsigned)text.size;
    zlib.next_out = packed;
    zlib.avail_out = (unsigned)room;
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    size_t size = zlib.total_out;
    deflateEnd(&zlib);
    return bytes_make(packed, size);
}

static struct bytes pack(const char *coding, struct bytes text)
{
    if (strcmp(coding, "gzip") == 0)
        return pack_zlib(text, 31);
    if (strcmp(coding, "deflate") == 0)
        return pack_zlib(text, 15);
    if (strcmp(coding, "deflateraw") == 0)
        return pack_zlib(text, -15);
    size_t size = text.size + 10000;
    uint8_t *packed = malloc(size);
    if (strcmp(coding, "br") == 0) {
        assert_true(
            BrotliEncoderCompress(5, 24, BROTLI_MODE_GENERIC, text.size, text.data, &size, packed));
    } else {
        assert_string_equal(coding, "zstd");
        size = ZSTD_compress(packed, size, text.data, text.size, 3);
        assert_false(ZSTD_isError(size));
    }
    return bytes_make(packed, size);
}

static void drop(struct bytes packed)
{
    free((void *)(uintptr_t)packed.data);
}

/* Half words, half noise, so that packed data spans several of the decoder's windows. */
static struct bytes make_text(size_t size)
{
    uint8_t *text = malloc(size);
    uint32_t random = 1;
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        text[i] = i / 1000 % 2 ? (uint8_t)(random >> 24) : (uint8_t)TEXT[i % (sizeof TEXT - 1)];
    }
    return bytes_make(text, size);
}

/* An input that gives at most `most` bytes a call, and breaks at `break_at`. */
struct dribble {
    struct bytes content;
    size_t most;
    uint64_t break_at, reached;
};

static bool read_dribble(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                         struct flow_error *error)
{
    struct dribble *dribble = context;
    if (offset >= dribble->break_at) {
        flow_error_set(error, EIO, offset, "the disk is gone");
        return false;
    }
    uint64_t left = offset < dribble->content.size ? dribble->content.size - offset : 0;
    *got = left < size ? (size_t)left : size;
    if (*got > dribble->most)
        *got = dribble->most;
    if (*got)
        memcpy(data, dribble->content.data + offset, *got);
    if (offset + *got > dribble->reached)
        dribble->reached = offset + *got;
    return true;
}

static void read_in_chunks(const char *encoding, struct bytes packed, struct bytes text,
                           size_t chunk, size_t most)
{
    struct dribble dribble = {packed, most, UINT64_MAX, 0};
    struct flow_error error = {0};
    struct body_decoder *decoder =
        body_decoder_open(bytes_of(encoding), (struct body_input){read_dribble, &dribble}, &error);
    assert_non_null(decoder);
    uint8_t *data = malloc(chunk);
    size_t at = 0;
    size_t got = chunk;
    while (got == chunk) {
        /* Every third chunk is only counted. */
        bool seen = at / chunk % 3 != 2;
        if (!body_decoder_read(decoder, seen ? data : NULL, chunk, &got, &error))
            fail_msg("%s in chunks of %zu: %s", encoding, chunk, error.message);
        assert_true(got <= text.size - at);
        if (seen)
            assert_memory_equal(data, text.data + at, got);
        at += got;
        assert_int_equal(body_decoder_position(decoder), at);
    }
    assert_int_equal(at, text.size);
    assert_true(body_decoder_read(decoder, data, chunk, &got, &error));
    assert_int_equal(got, 0);
    body_decoder_close(decoder);
    free(data);
}

static void test_chunks(void **state)
{
    (void)state;
    static const char *const lists[][3] = {{"gzip"},
                                           {"deflate"},
                                           {"deflateraw"},
                                           {"br"},
                                           {"zstd"},
                                           {"gzip", "br"},
                                           {"br", "gzip"},
                                           {"zstd", "deflateraw"},
                                           {"deflate", "gzip"},
                                           {"zstd", "gzip", "br"},
                                           {"gzip", "gzip", "gzip"},
                                           {NULL}};
    static const size_t chunks[] = {1, 7, 999, 4096, 65535, 65536, 65537, 1000000};
    struct bytes text = make_text(300001);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct buffer names = BUFFER_INIT;
        struct bytes packed = make_text(text.size);
        for (size_t j = 0; j < 3 && lists[i][j]; j++) {
            struct bytes next = pack(lists[i][j], packed);
            drop(packed);
            packed = next;
            buffer_printf(&names, "%s%s", j ? ", " : "", lists[i][j]);
        }
        buffer_append_byte(&names, 0);
        for (size_t j = 0; j < sizeof chunks / sizeof chunks[0]; j++)
            read_in_chunks((char *)names.data, packed, text, chunks[j], j % 2 ? SIZE_MAX : 777);
        buffer_free(&names);
        drop(packed);
    }
    drop(text);
}

/* What an outer coding says behind the end of the inner one counts too. */
static void test_list_checks_outer(void **state)
{
    (void)state;
    struct bytes packed = pack("deflate", SPAN(GZIP));
    check_text("gzip, deflate", packed);
    check_broken("gzip, deflate", bytes_make(packed.data, packed.size - 1));
    drop(packed);
}

static void test_errors_stay(void **state)
{
    (void)state;
    struct bytes text = make_text(500000);
    struct bytes packed = pack("gzip", text);
    struct dribble dribble = {packed, SIZE_MAX, 65536, 0};
    struct flow_error error = {0};
    struct body_input input = {read_dribble, &dribble};
    struct body_decoder *decoder = body_decoder_open(bytes_of("gzip"), input, &error);
    uint8_t *data = malloc(text.size);
    size_t got = 0;
    assert_false(body_decoder_read(decoder, data, text.size, &got, &error));
    assert_int_equal(error.code, EIO);
    assert_string_equal(error.message, "the disk is gone");
    assert_int_equal(error.offset, 65536);
    assert_true(got > 65536);
    assert_memory_equal(data, text.data, got);
    dribble.break_at = UINT64_MAX;
    error = (struct flow_error){0};
    assert_false(body_decoder_read(decoder, data, text.size, &got, &error));
    assert_int_equal(error.code, EIO);
    assert_int_equal(got, 0);
    body_decoder_close(decoder);

    /* A wrong checksum comes behind all the bytes. */
    uint8_t *broken = (uint8_t *)(uintptr_t)packed.data;
    broken[packed.size - 5] ^= 1;
    uint64_t size = 0;
    error = (struct flow_error){0};
    assert_false(body_decoded_size(bytes_of("gzip"), input, UINT64_MAX, &size, &error));
    assert_int_equal(error.code, EBADMSG);
    assert_in_range(error.offset, packed.size - 8, packed.size);
    assert_int_equal(size, text.size);
    free(data);
    drop(packed);
    drop(text);
}

static void test_limit(void **state)
{
    (void)state;
    static const char *const encodings[] = {"gzip", ""};
    static const struct {
        const char *data;
        size_t size;
    } contents[] = {{GZIP, sizeof GZIP - 1}, {TEXT, sizeof TEXT - 1}};
    for (size_t i = 0; i < 2; i++) {
        struct buffer decoded = BUFFER_INIT;
        struct flow_error error = {0};
        struct bytes content = bytes_make(contents[i].data, contents[i].size);
        struct bytes encoding = bytes_of(encodings[i]);
        assert_true(body_decode(encoding, content, sizeof TEXT - 1, &decoded, &error));
        assert_false(body_decode(encoding, content, sizeof TEXT - 2, &decoded, &error));
        assert_int_equal(error.code, EFBIG);
        assert_int_equal(decoded.size, sizeof TEXT - 1);
        buffer_free(&decoded);
    }
}

#define BOMB_SIZE ((size_t)1 << 30)

/* The packed form of 1 GB of zero bytes, made piece by piece. */
static struct buffer make_bomb(const char *coding)
{
    static uint8_t zeros[1 << 20], out[1 << 16];
    struct buffer bomb = BUFFER_INIT;
    z_stream zlib = {0};
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    BrotliEncoderState *brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    BrotliEncoderSetParameter(brotli, BROTLI_PARAM_QUALITY, 1);
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (size_t i = 0; i < BOMB_SIZE / sizeof zeros; i++) {
        bool last = i + 1 == BOMB_SIZE / sizeof zeros;
        bool more = true;
        ZSTD_inBuffer from = {zeros, sizeof zeros, 0};
        size_t brotli_left = sizeof zeros;
        const uint8_t *brotli_next = zeros;
        zlib.next_in = zeros;
        zlib.avail_in = sizeof zeros;
        while (more) {
            size_t room = sizeof out;
            uint8_t *next = out;
            if (strcmp(coding, "gzip") == 0) {
                zlib.next_out = out;
                zlib.avail_out = sizeof out;
                int result = deflate(&zlib, last ? Z_FINISH : Z_NO_FLUSH);
                room = zlib.avail_out;
                more = last ? result != Z_STREAM_END : room == 0;
            } else if (strcmp(coding, "zstd") == 0) {
                ZSTD_outBuffer to = {out, sizeof out, 0};
                size_t left =
                    ZSTD_compressStream2(zstd, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
                room = sizeof out - to.pos;
                more = last ? left != 0 : from.pos < from.size;
            } else {
                BrotliEncoderCompressStream(
                    brotli, last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS, &brotli_left,
                    &brotli_next, &room, &next, NULL);
                more = brotli_left || BrotliEncoderHasMoreOutput(brotli) ||
                       (last && !BrotliEncoderIsFinished(brotli));
            }
            buffer_append(&bomb, out, sizeof out - room);
        }
    }
    deflateEnd(&zlib);
    ZSTD_freeCCtx(zstd);
    BrotliEncoderDestroyInstance(brotli);
    assert_false(bomb.failed);
    return bomb;
}

static void test_bomb(void **state)
{
    const char *coding = *state;
    struct buffer bomb = make_bomb(coding);
    /* gzip cannot do better than 1 : 1032. */
    assert_in_range(bomb.size, 100, 1100000);
    struct dribble dribble = {buffer_bytes(&bomb), SIZE_MAX, UINT64_MAX, 0};
    struct body_input input = {read_dribble, &dribble};
    struct flow_error error = {0};
    uint64_t size = 0;
    size_t before = live_bytes;
    peak_bytes = live_bytes;
    assert_true(body_decoded_size(bytes_of(coding), input, UINT64_MAX, &size, &error));
    assert_int_equal(size, BOMB_SIZE);
    /* Two windows of 64 KB and what zlib or brotli keep; brotli's window is up to 16 MB. */
    size_t allowed = strcmp(coding, "br") == 0 ? (size_t)18 << 20 : (size_t)300 << 10;
    assert_in_range(peak_bytes - before, 1, allowed);
    assert_int_equal(live_bytes, before);

    dribble.reached = 0;
    assert_false(body_decoded_size(bytes_of(coding), input, 10 << 20, &size, &error));
    assert_int_equal(error.code, EFBIG);
    assert_in_range(dribble.reached, 1, 65536);
    buffer_free(&bomb);
}

/* A small outer bomb whose inner coding gives nothing is stopped as well. */
static void test_bomb_between(void **state)
{
    (void)state;
    size_t size = 50 << 20;
    uint8_t *zeros = calloc(1, size);
    memcpy(zeros, GZIP, sizeof GZIP - 1);
    struct bytes packed = pack("zstd", bytes_make(zeros, size));
    struct buffer decoded = BUFFER_INIT;
    struct flow_error error = {0};
    assert_false(body_decode(bytes_of("gzip, zstd"), packed, 1 << 20, &decoded, &error));
    assert_int_equal(error.code, EFBIG);
    buffer_free(&decoded);
    drop(packed);
    free(zeros);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const codings[] = {"gzip", "deflate", "br", "zstd"};
    struct bytes text = make_text(200000);
    for (size_t i = 0; i < 4; i++) {
        struct bytes inner = pack(codings[i], text);
        struct bytes packed = pack("gzip", inner);
        char encoding[32];
        snprintf(encoding, sizeof encoding, "%s, gzip", codings[i]);
        size_t before = live_bytes;
        size_t failures = 0;
        for (bool done = false; !done; failures++) {
            struct buffer decoded = BUFFER_INIT;
            struct flow_error error = {0};
            allocations = 0;
            fail_at = failures + 1;
            done = body_decode(bytes_of(encoding), packed, UINT64_MAX, &decoded, &error);
            fail_at = 0;
            if (done)
                assert_true(bytes_equal(buffer_bytes(&decoded), text));
            else
                assert_int_equal(error.code, ENOMEM);
            buffer_free(&decoded);
            assert_int_equal(live_bytes, before);
        }
        assert_true(failures > 10);
        drop(inner);
        drop(packed);
    }
    drop(text);
}

int main(void)
{
    static char gzip[] = "gzip", zstd[] = "zstd", br[] = "br";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile_name),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_trailing),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_raw_like_zlib),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_list_checks_outer),
        cmocka_unit_test(test_errors_stay),
        cmocka_unit_test(test_limit),
        cmocka_unit_test_prestate(test_bomb, gzip),
        cmocka_unit_test_prestate(test_bomb, zstd),
        cmocka_unit_test_prestate(test_bomb, br),
        cmocka_unit_test(test_bomb_between),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
