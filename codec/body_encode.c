#include "body_encode.h"

#include "body_codings.h"

#include <brotli/encode.h>
#include <errno.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
/* zlib's input pointers are const only when asked for. */
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#define PIECE_SIZE ((size_t)64 * 1024)

/* deflateInit2: a 32 KB window; 16 more makes gzip of it. */
#define DEFLATE_GZIP (16 + MAX_WBITS)
#define DEFLATE_ZLIB MAX_WBITS

/* RFC 1952: made by no system in particular. */
#define GZIP_OS_UNKNOWN 255

/* Brotli's best quality takes a second a megabyte. */
#define BROTLI_QUALITY 6

static void *zlib_allocate(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return calloc(count, size);
}

static void zlib_release(void *opaque, void *memory)
{
    (void)opaque;
    free(memory);
}

/* zlib counts in unsigned int. */
static unsigned next_part(size_t left)
{
    return left < ((size_t)1 << 30) ? (unsigned)left : 1u << 30;
}

static bool deflate_all(z_stream *zlib, struct bytes content, struct buffer *out)
{
    int result = Z_OK;
    size_t given = 0;
    while (result == Z_OK) {
        if (!buffer_reserve(out, PIECE_SIZE))
            return false;
        if (zlib->avail_in == 0) {
            zlib->next_in = content.data + given;
            zlib->avail_in = next_part(content.size - given);
            given += zlib->avail_in;
        }
        zlib->next_out = out->data + out->size;
        zlib->avail_out = (unsigned)PIECE_SIZE;
        result = deflate(zlib, given == content.size ? Z_FINISH : Z_NO_FLUSH);
        out->size += PIECE_SIZE - zlib->avail_out;
    }
    return result == Z_STREAM_END;
}

static bool encode_zlib(bool gzip, struct bytes content, struct buffer *out)
{
    gz_header header = {.os = GZIP_OS_UNKNOWN};
    z_stream zlib = {.zalloc = zlib_allocate, .zfree = zlib_release};
    if (deflateInit2(&zlib, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip ? DEFLATE_GZIP : DEFLATE_ZLIB,
                     8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    bool done =
        (!gzip || deflateSetHeader(&zlib, &header) == Z_OK) && deflate_all(&zlib, content, out);
    deflateEnd(&zlib);
    return done;
}

/* libbrotlienc ends the process when it gets no memory (BROTLI_ENCODER_EXIT_ON_OOM in its
 * c/enc/memory.c). So it is never told: what it has is listed here, and left with a jump. */
struct brotli_block {
    struct brotli_block *next, *previous;
    alignas(max_align_t) uint8_t data[];
};

struct brotli_memory {
    jmp_buf none_left;
    struct brotli_block *blocks;
};

static void *brotli_allocate(void *opaque, size_t size)
{
    struct brotli_memory *memory = opaque;
    struct brotli_block *block =
        size < SIZE_MAX - sizeof *block ? malloc(sizeof *block + size) : NULL;
    if (!block)
        longjmp(memory->none_left, 1);
    *block = (struct brotli_block){.next = memory->blocks};
    if (memory->blocks)
        memory->blocks->previous = block;
    memory->blocks = block;
    return block->data;
}

static void brotli_release(void *opaque, void *data)
{
    struct brotli_memory *memory = opaque;
    if (!data)
        return;
    struct brotli_block *block =
        (struct brotli_block *)(void *)((uint8_t *)data - offsetof(struct brotli_block, data));
    *(block->previous ? &block->previous->next : &memory->blocks) = block->next;
    if (block->next)
        block->next->previous = block->previous;
    free(block);
}

static bool run_brotli(struct brotli_memory *memory, struct bytes content, struct buffer *out)
{
    BrotliEncoderState *brotli =
        BrotliEncoderCreateInstance(brotli_allocate, brotli_release, memory);
    bool done = brotli && BrotliEncoderSetParameter(brotli, BROTLI_PARAM_QUALITY, BROTLI_QUALITY);
    size_t input_left = content.size;
    const uint8_t *input = content.data;
    while (done && !BrotliEncoderIsFinished(brotli)) {
        done = buffer_reserve(out, PIECE_SIZE);
        if (!done)
            break;
        uint8_t *output = out->data + out->size;
        size_t output_left = PIECE_SIZE;
        done = BrotliEncoderCompressStream(brotli, BROTLI_OPERATION_FINISH, &input_left, &input,
                                           &output_left, &output, NULL);
        out->size += PIECE_SIZE - output_left;
    }
    BrotliEncoderDestroyInstance(brotli);
    return done;
}

static bool encode_brotli(struct bytes content, struct buffer *out)
{
    struct brotli_memory *const memory = calloc(1, sizeof *memory);
    if (!memory)
        return false;
    bool done;
    if (setjmp(memory->none_left) == 0)
        done = run_brotli(memory, content, out);
    else
        done = false;
    while (memory->blocks)
        brotli_release(memory, memory->blocks->data);
    free(memory);
    return done;
}

static bool encode_zstd(struct bytes content, struct buffer *out)
{
    size_t bound = ZSTD_compressBound(content.size);
    if (ZSTD_isError(bound) || !buffer_reserve(out, bound))
        return false;
    size_t size = ZSTD_compress(out->data + out->size, bound, content.data, content.size,
                                ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(size))
        return false;
    out->size += size;
    return true;
}

static bool encode_one(enum body_coding coding, struct bytes content, struct buffer *out)
{
    switch (coding) {
    case BODY_GZIP:
    case BODY_DEFLATE:
        return encode_zlib(coding == BODY_GZIP, content, out);
    case BODY_BROTLI:
        return encode_brotli(content, out);
    case BODY_ZSTD:
        break;
    }
    return encode_zstd(content, out);
}

bool body_encode(struct bytes content_encoding, struct bytes content, struct buffer *encoded,
                 struct flow_error *error)
{
    struct body_coding_list list;
    if (!body_codings_parse(content_encoding, &list, error))
        return false;
    struct buffer current = BUFFER_INIT;
    bool done = true;
    for (size_t i = 0; done && content.size && i < list.count; i++) {
        struct buffer next = BUFFER_INIT;
        done = encode_one(list.codings[i], content, &next) && !next.failed;
        buffer_free(&current);
        current = next;
        content = buffer_bytes(&current);
    }
    if (done)
        buffer_append_bytes(encoded, content);
    buffer_free(&current);
    /* Encoders fail for nothing else. */
    return (done && !encoded->failed) || flow_error_memory(error);
}
