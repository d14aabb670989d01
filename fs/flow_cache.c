#include "flow_cache.h"

#include "body_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PARTS 16u
#define BUCKETS 64u

/* Decoded bodies up to this size are kept whole; longer ones are decoded as they are read. */
#define WHOLE_BODY_LIMIT ((uint64_t)1 << 20)

/* Below this size a copy costs less than telling the kernel where to fetch. */
#define SPLICE_FROM ((size_t)64 * 1024)

struct cached_flow {
    uint32_t number;
    uint32_t users;            /* under the part's lock */
    bool linked;               /* under the part's lock: it can still be found */
    struct cached_flow *chain; /* of its bucket */
    struct cached_flow *newer, *older;
    size_t footprint; /* as last accounted, under the part's lock */
    pthread_mutex_t lock;
    /* Under the flow's own lock: */
    struct flowdir directory;
    struct bytes rendered[FLOWDIR_FILES]; /* in the flow's arena; data is NULL until it is made */
    struct body_stream *streams[2];       /* of request and response */
};

struct part {
    pthread_mutex_t lock;
    struct cached_flow *buckets[BUCKETS];
    struct cached_flow *newest, *oldest;
    size_t footprint;
};

struct flow_cache {
    const struct collection *collection;
    size_t part_limit;
    struct part parts[PARTS];
};

struct flow_cache *flow_cache_open(const struct collection *collection, size_t limit,
                                   struct flow_error *error)
{
    struct flow_cache *cache = calloc(1, sizeof *cache);
    if (!cache) {
        flow_error_memory(error);
        return NULL;
    }
    cache->collection = collection;
    cache->part_limit = limit / PARTS;
    for (unsigned i = 0; i < PARTS; i++)
        pthread_mutex_init(&cache->parts[i].lock, NULL);
    return cache;
}

static void free_flow(struct cached_flow *flow)
{
    body_stream_close(flow->streams[0]);
    body_stream_close(flow->streams[1]);
    flowdir_close(&flow->directory);
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

void flow_cache_close(struct flow_cache *cache)
{
    if (!cache)
        return;
    for (unsigned i = 0; i < PARTS; i++) {
        for (struct cached_flow *flow = cache->parts[i].newest; flow;) {
            struct cached_flow *older = flow->older;
            free_flow(flow);
            flow = older;
        }
        pthread_mutex_destroy(&cache->parts[i].lock);
    }
    free(cache);
}

static size_t footprint_of(const struct cached_flow *flow)
{
    const struct capture_flow *loaded = &flow->directory.loaded;
    size_t record = loaded->record.filled ? RECORD_WHOLE_LIMIT : loaded->record.text.size;
    size_t streams = 0;
    for (int side = 0; side < 2; side++)
        streams += body_stream_footprint(flow->streams[side]);
    return sizeof *flow + arena_footprint(loaded->arena) + record + streams;
}

static struct part *part_of(struct flow_cache *cache, uint32_t number)
{
    return &cache->parts[number % PARTS];
}

static struct cached_flow **bucket_of(struct part *part, uint32_t number)
{
    return &part->buckets[number / PARTS % BUCKETS];
}

static void unlink_age(struct part *part, struct cached_flow *flow)
{
    *(flow->newer ? &flow->newer->older : &part->newest) = flow->older;
    *(flow->older ? &flow->older->newer : &part->oldest) = flow->newer;
}

static void link_newest(struct part *part, struct cached_flow *flow)
{
    flow->newer = NULL;
    flow->older = part->newest;
    *(part->newest ? &part->newest->newer : &part->oldest) = flow;
    part->newest = flow;
}

/* Takes a flow out so that nobody finds it any more; its users keep it. */
static void unlink_flow(struct part *part, struct cached_flow *flow)
{
    struct cached_flow **link = bucket_of(part, flow->number);
    while (*link != flow)
        link = &(*link)->chain;
    *link = flow->chain;
    unlink_age(part, flow);
    part->footprint -= flow->footprint;
    flow->linked = false;
}

/* Frees the oldest that nobody uses until the part is within its limit. The newest stays: a long
 * body that alone exceeds the limit would be decoded from its start for every piece. */
static void shrink(struct flow_cache *cache, struct part *part)
{
    struct cached_flow *flow = part->oldest;
    while (flow != part->newest && part->footprint > cache->part_limit) {
        struct cached_flow *newer = flow->newer;
        if (flow->users == 0) {
            unlink_flow(part, flow);
            free_flow(flow);
        }
        flow = newer;
    }
}

static struct cached_flow *find(struct part *part, uint32_t number)
{
    struct cached_flow *flow = *bucket_of(part, number);
    while (flow && flow->number != number)
        flow = flow->chain;
    if (flow) {
        flow->users++;
        unlink_age(part, flow);
        link_newest(part, flow);
    }
    return flow;
}

static struct cached_flow *load(struct flow_cache *cache, uint32_t number, struct flow_error *error)
{
    struct cached_flow *flow = calloc(1, sizeof *flow);
    if (!flow) {
        flow_error_memory(error);
        return NULL;
    }
    pthread_mutex_init(&flow->lock, NULL);
    flow->number = number;
    flow->users = 1;
    if (collection_load(cache->collection, number, &flow->directory, error))
        return flow;
    free_flow(flow);
    return NULL;
}

struct cached_flow *flow_cache_get(struct flow_cache *cache, uint32_t number,
                                   struct flow_error *error)
{
    struct part *part = part_of(cache, number);
    pthread_mutex_lock(&part->lock);
    struct cached_flow *flow = find(part, number);
    pthread_mutex_unlock(&part->lock);
    if (flow)
        return flow;
    struct cached_flow *loaded = load(cache, number, error);
    if (!loaded)
        return NULL;
    pthread_mutex_lock(&part->lock);
    flow = find(part, number);
    if (!flow) {
        struct cached_flow **bucket = bucket_of(part, number);
        flow = loaded;
        flow->linked = true;
        flow->chain = *bucket;
        *bucket = flow;
        link_newest(part, flow);
    }
    pthread_mutex_unlock(&part->lock);
    if (flow != loaded)
        free_flow(loaded);
    return flow;
}

void flow_cache_release(struct flow_cache *cache, struct cached_flow *flow)
{
    struct part *part = part_of(cache, flow->number);
    pthread_mutex_lock(&flow->lock);
    size_t footprint = footprint_of(flow);
    pthread_mutex_unlock(&flow->lock);
    pthread_mutex_lock(&part->lock);
    part->footprint += footprint - flow->footprint;
    flow->footprint = footprint;
    flow->users--;
    if (part->footprint > cache->part_limit)
        shrink(cache, part);
    pthread_mutex_unlock(&part->lock);
}

const struct flowdir *cached_flow_directory(const struct cached_flow *flow)
{
    return &flow->directory;
}

static bool keep_rendered(struct cached_flow *flow, enum flowdir_file file, struct buffer *text,
                          struct flow_error *error)
{
    struct bytes kept = arena_copy(flow->directory.loaded.arena, buffer_bytes(text));
    if (!kept.data)
        return flow_error_memory(error);
    flow->rendered[file] = kept;
    return true;
}

/* Renders a file once and keeps it. Under the flow's lock. */
static bool render(struct cached_flow *flow, enum flowdir_file file, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    bool done =
        flow->rendered[file].data || (flowdir_render(&flow->directory, file, &text, error) &&
                                      keep_rendered(flow, file, &text, error));
    buffer_free(&text);
    return done;
}

/* Whether what the file shows is the content as it is in the capture. Under the flow's lock;
 * measures. */
static bool is_stored(struct cached_flow *flow, struct flowdir_body *body, bool raw, bool *stored,
                      struct flow_error *error)
{
    if (!raw && !flowdir_measure(&flow->directory, body, error))
        return false;
    *stored = raw || !body->decodes || !body->encoding.size;
    return true;
}

static bool body_size(struct cached_flow *flow, struct flowdir_body *body, bool raw, uint64_t *size,
                      struct flow_error *error)
{
    bool stored;
    if (!is_stored(flow, body, raw, &stored, error))
        return false;
    *size = stored ? body->content->bytes.size : body->decoded_size;
    return true;
}

bool cached_flow_size(struct cached_flow *flow, enum flowdir_file file, uint64_t *size,
                      struct flow_error *error)
{
    bool raw;
    struct flowdir_body *body = flowdir_body(&flow->directory, file, &raw);
    pthread_mutex_lock(&flow->lock);
    bool done = body ? body_size(flow, body, raw, size, error) : render(flow, file, error);
    if (done && !body)
        *size = flow->rendered[file].size;
    pthread_mutex_unlock(&flow->lock);
    return done;
}

static void give_bytes(struct bytes whole, uint64_t offset, size_t size, struct cached_piece *piece)
{
    size_t left = offset < whole.size ? whole.size - (size_t)offset : 0;
    piece->descriptor = -1;
    piece->size = left < size ? left : size;
    piece->bytes = bytes_make(piece->size ? whole.data + offset : NULL, piece->size);
}

/* A piece of content as it is stored: from memory, by splice, or by a read. */
static bool give_stored(const struct flowdir *directory, const struct value *content,
                        uint64_t offset, size_t size, void *scratch, struct cached_piece *piece,
                        struct flow_error *error)
{
    struct flowdir_content input = {content, directory->source};
    uint64_t left = offset < content->bytes.size ? content->bytes.size - offset : 0;
    if (content->bytes.data) {
        give_bytes(content->bytes, offset, size, piece);
        return true;
    }
    *piece = (struct cached_piece){
        .descriptor = source_descriptor(directory->source),
        .offset = content->offset + offset,
        .size = left < size ? (size_t)left : size,
    };
    if (piece->descriptor >= 0 && piece->size >= SPLICE_FROM)
        return true;
    struct body_input read = flowdir_content_input(&input);
    piece->descriptor = -1;
    if (!read.read(read.context, offset, scratch, piece->size, &piece->size, error))
        return false;
    piece->bytes = bytes_make(scratch, piece->size);
    return true;
}

static bool decode_whole(struct cached_flow *flow, enum flowdir_file file,
                         const struct flowdir_body *body, struct flow_error *error)
{
    struct body_decoder *decoder = NULL;
    struct flowdir_content content = {body->content, flow->directory.source};
    uint8_t *data = arena_alloc(flow->directory.loaded.arena, (size_t)body->decoded_size + 1);
    size_t got = 0;
    if (!data)
        return flow_error_memory(error);
    decoder = body_decoder_open(body->encoding, flowdir_content_input(&content), error);
    bool done =
        decoder && body_decoder_read(decoder, data, (size_t)body->decoded_size, &got, error);
    body_decoder_close(decoder);
    if (done)
        flow->rendered[file] = bytes_make(data, got);
    return done;
}

/* A piece of a decoded body. Under the flow's lock. */
static bool give_decoded(struct cached_flow *flow, enum flowdir_file file,
                         struct flowdir_body *body, uint64_t offset, size_t size, void *scratch,
                         struct cached_piece *piece, struct flow_error *error)
{
    if (body->decoded_size <= WHOLE_BODY_LIMIT) {
        if (!flow->rendered[file].data && !decode_whole(flow, file, body, error))
            return false;
        give_bytes(flow->rendered[file], offset, size, piece);
        return true;
    }
    struct body_stream **stream = &flow->streams[body == &flow->directory.response];
    if (!*stream)
        *stream = body_stream_open(body->content, flow->directory.source, body->encoding,
                                   body->decoded_size, error);
    *piece = (struct cached_piece){.descriptor = -1};
    if (!*stream || !body_stream_read(*stream, offset, scratch, size, &piece->size, error))
        return false;
    piece->bytes = bytes_make(scratch, piece->size);
    return true;
}

static bool read_body(struct cached_flow *flow, enum flowdir_file file, struct flowdir_body *body,
                      bool raw, uint64_t offset, size_t size, void *scratch,
                      struct cached_piece *piece, struct flow_error *error)
{
    bool stored;
    if (!is_stored(flow, body, raw, &stored, error))
        return false;
    if (stored)
        return give_stored(&flow->directory, body->content, offset, size, scratch, piece, error);
    return give_decoded(flow, file, body, offset, size, scratch, piece, error);
}

bool cached_flow_read(struct cached_flow *flow, enum flowdir_file file, uint64_t offset,
                      size_t size, void *scratch, struct cached_piece *piece,
                      struct flow_error *error)
{
    bool raw;
    struct flowdir_body *body = flowdir_body(&flow->directory, file, &raw);
    pthread_mutex_lock(&flow->lock);
    bool done = body ? read_body(flow, file, body, raw, offset, size, scratch, piece, error)
                     : render(flow, file, error);
    pthread_mutex_unlock(&flow->lock);
    if (done && !body)
        give_bytes(flow->rendered[file], offset, size, piece);
    return done;
}

bool cached_flow_read_message(struct cached_flow *flow, size_t number, uint64_t offset, size_t size,
                              void *scratch, struct cached_piece *piece, struct flow_error *error)
{
    struct flow_stream_message message = flowdir_message(&flow->directory, number);
    return give_stored(&flow->directory, message.content, offset, size, scratch, piece, error);
}
