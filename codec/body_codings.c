#include "body_codings.h"

#include <brotli/decode.h>
#include <errno.h>
#include <stdlib.h>
/* zlib's input pointers are const only when asked for. */
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* inflateInit2: a 32 KB window; 32 more finds out whether gzip or zlib, minus takes raw data. */
#define INFLATE_ANY (32 + MAX_WBITS)
#define INFLATE_ZLIB MAX_WBITS
#define INFLATE_RAW (-MAX_WBITS)

#define ZSTD_MAGIC_SIZE 4

struct body_stage {
    enum body_coding coding;
    z_stream zlib;
    bool zlib_open;
    bool raw; /* deflate: has gone back to try raw data */
    BrotliDecoderState *brotli;
    bool brotli_done;
    ZSTD_DCtx *zstd;
    bool zstd_inside; /* a frame */
    bool begun;
};

static void *zlib_allocate(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return calloc(count, size);
}

static void *brotli_allocate(void *opaque, size_t size)
{
    (void)opaque;
    return malloc(size);
}

static void release(void *opaque, void *memory)
{
    (void)opaque;
    free(memory);
}

static bool open_zlib(struct body_stage *stage)
{
    stage->zlib.zalloc = zlib_allocate;
    stage->zlib.zfree = release;
    int window = stage->coding == BODY_GZIP ? INFLATE_ANY : INFLATE_ZLIB;
    stage->zlib_open = inflateInit2(&stage->zlib, window) == Z_OK;
    return stage->zlib_open;
}

struct body_stage *body_stage_open(enum body_coding coding, int window_log,
                                   struct flow_error *error)
{
    struct body_stage *stage = calloc(1, sizeof *stage);
    if (!stage) {
        flow_error_memory(error);
        return NULL;
    }
    stage->coding = coding;
    bool opened = false;
    switch (coding) {
    case BODY_GZIP:
    case BODY_DEFLATE:
        opened = open_zlib(stage);
        break;
    case BODY_BROTLI:
        stage->brotli = BrotliDecoderCreateInstance(brotli_allocate, release, NULL);
        opened = stage->brotli;
        break;
    case BODY_ZSTD:
        stage->zstd = ZSTD_createDCtx();
        opened =
            stage->zstd &&
            !ZSTD_isError(ZSTD_DCtx_setParameter(stage->zstd, ZSTD_d_windowLogMax, window_log));
        break;
    }
    if (!opened) {
        flow_error_memory(error);
        body_stage_close(stage);
        return NULL;
    }
    return stage;
}

void body_stage_close(struct body_stage *stage)
{
    if (!stage)
        return;
    if (stage->zlib_open)
        inflateEnd(&stage->zlib);
    if (stage->brotli)
        BrotliDecoderDestroyInstance(stage->brotli);
    ZSTD_freeDCtx(stage->zstd);
    free(stage);
}

static const char *coding_name(enum body_coding coding)
{
    static const char *const names[] = {"gzip", "deflate", "br", "zstd"};
    return names[coding];
}

static enum body_step fail(const struct body_stage *stage, const struct body_channel *input,
                           const char *reason, struct flow_error *error)
{
    flow_error_set(error, EBADMSG, input->base + input->start,
                   "the content is not what its content-encoding %s says: %s; use it undecoded",
                   coding_name(stage->coding), reason);
    return BODY_STEP_FAILED;
}

static enum body_step fail_truncated(const struct body_stage *stage,
                                     const struct body_channel *input, struct flow_error *error)
{
    return fail(stage, input, "it ends before the compressed data does", error);
}

static enum body_step fail_memory(struct flow_error *error)
{
    flow_error_memory(error);
    return BODY_STEP_FAILED;
}

/* Servers send raw data as `deflate` too (RFC 9110, 8.4.1.2). Only a stream that fails as zlib is
 * tried as raw: the two bytes of a zlib header can also start raw data, but hardly ever do. */
static bool restart_as_raw(struct body_stage *stage, struct body_channel *input,
                           struct body_channel *output)
{
    if (stage->coding != BODY_DEFLATE || stage->raw || input->base || output->base)
        return false;
    stage->raw = inflateReset2(&stage->zlib, INFLATE_RAW) == Z_OK;
    if (stage->raw) {
        input->start = 0;
        output->end = 0;
    }
    return stage->raw;
}

static enum body_step step_zlib(struct body_stage *stage, struct body_channel *input,
                                struct body_channel *output, struct flow_error *error)
{
    z_stream *zlib = &stage->zlib;
    zlib->next_in = input->data + input->start;
    zlib->avail_in = (unsigned)(input->end - input->start);
    zlib->next_out = output->data + output->end;
    zlib->avail_out = (unsigned)(output->capacity - output->end);
    int result = inflate(zlib, Z_NO_FLUSH);
    input->start = input->end - zlib->avail_in;
    output->end = output->capacity - zlib->avail_out;
    switch (result) {
    case Z_STREAM_END:
        return BODY_STEP_END;
    case Z_MEM_ERROR:
        return fail_memory(error);
    case Z_OK:
    case Z_BUF_ERROR:
        if (!zlib->avail_out)
            return BODY_STEP_ON;
        if (!input->ended)
            return BODY_STEP_STARVE;
        if (stage->coding == BODY_GZIP)
            return BODY_STEP_END;
        if (restart_as_raw(stage, input, output))
            return BODY_STEP_ON;
        return fail_truncated(stage, input, error);
    default:
        if (restart_as_raw(stage, input, output))
            return BODY_STEP_ON;
        return fail(stage, input,
                    result == Z_NEED_DICT ? "it needs a dictionary"
                    : zlib->msg           ? zlib->msg
                                          : "zlib refuses it",
                    error);
    }
}

static enum body_step step_brotli(struct body_stage *stage, struct body_channel *input,
                                  struct body_channel *output, struct flow_error *error)
{
    if (!stage->brotli_done) {
        const uint8_t *next_input = input->data + input->start;
        size_t input_left = input->end - input->start;
        uint8_t *next_output = output->data + output->end;
        size_t output_left = output->capacity - output->end;
        BrotliDecoderResult result = BrotliDecoderDecompressStream(
            stage->brotli, &input_left, &next_input, &output_left, &next_output, NULL);
        input->start = input->end - input_left;
        output->end = output->capacity - output_left;
        if (result == BROTLI_DECODER_RESULT_ERROR) {
            BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(stage->brotli);
            if (code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES)
                return fail_memory(error);
            return fail(stage, input, BrotliDecoderErrorString(code), error);
        }
        if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT)
            return BODY_STEP_ON;
        if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT)
            return input->ended ? fail_truncated(stage, input, error) : BODY_STEP_STARVE;
        stage->brotli_done = true;
    }
    if (input->start < input->end)
        return fail(stage, input, "bytes follow behind the compressed data", error);
    return input->ended ? BODY_STEP_END : BODY_STEP_STARVE;
}

/* Only the frames of RFC 8878: libzstd may also know its old formats, which heed no window limit.
 */
static bool is_zstd_magic(const uint8_t magic[ZSTD_MAGIC_SIZE])
{
    bool frame = memcmp(magic, "\x28\xB5\x2F\xFD", ZSTD_MAGIC_SIZE) == 0;
    bool skippable = (magic[0] & 0xF0) == 0x50 && memcmp(magic + 1, "\x2A\x4D\x18", 3) == 0;
    return frame || skippable;
}

static enum body_step fail_zstd(const struct body_stage *stage, const struct body_channel *input,
                                size_t result, struct flow_error *error)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return fail_memory(error);
    case ZSTD_error_frameParameter_windowTooLarge:
        flow_error_set(error, EFBIG, input->base + input->start,
                       "the content's zstd frame needs a larger window than is allowed; use it "
                       "undecoded");
        return BODY_STEP_FAILED;
    default:
        return fail(stage, input, ZSTD_getErrorName(result), error);
    }
}

static enum body_step step_zstd(struct body_stage *stage, struct body_channel *input,
                                struct body_channel *output, struct flow_error *error)
{
    if (!stage->zstd_inside) {
        size_t left = input->end - input->start;
        if (left < ZSTD_MAGIC_SIZE && !input->ended)
            return BODY_STEP_STARVE;
        if (!left)
            return BODY_STEP_END;
        if (left < ZSTD_MAGIC_SIZE)
            return fail_truncated(stage, input, error);
        if (!is_zstd_magic(input->data + input->start))
            return fail(stage, input, "no zstd frame starts here", error);
        stage->zstd_inside = true;
    }
    ZSTD_inBuffer from = {input->data, input->end, input->start};
    ZSTD_outBuffer to = {output->data, output->capacity, output->end};
    size_t result = ZSTD_decompressStream(stage->zstd, &to, &from);
    input->start = from.pos;
    output->end = to.pos;
    if (ZSTD_isError(result))
        return fail_zstd(stage, input, result, error);
    if (result == 0)
        stage->zstd_inside = false;
    if (result == 0 || to.pos == to.size || from.pos < from.size)
        return BODY_STEP_ON;
    return input->ended ? fail_truncated(stage, input, error) : BODY_STEP_STARVE;
}

enum body_step body_stage_step(struct body_stage *stage, struct body_channel *input,
                               struct body_channel *output, struct flow_error *error)
{
    if (!stage->begun) {
        if (input->start == input->end)
            return input->ended ? BODY_STEP_END : BODY_STEP_STARVE;
        stage->begun = true;
    }
    switch (stage->coding) {
    case BODY_GZIP:
    case BODY_DEFLATE:
        return step_zlib(stage, input, output, error);
    case BODY_BROTLI:
        return step_brotli(stage, input, output, error);
    case BODY_ZSTD:
        break;
    }
    return step_zstd(stage, input, output, error);
}
