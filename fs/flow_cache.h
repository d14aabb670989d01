/* Flows that were read a moment ago, as directories with what has been rendered of them: whoever
 * lists a flow mostly reads it next. Bounded in bytes; the least recently used go first.
 *
 * Any thread may use it. The cache is split in parts, each with a lock that is held only to find or
 * link an entry, never while a flow is read or rendered. */
#ifndef FLOWFS_FS_FLOW_CACHE_H
#define FLOWFS_FS_FLOW_CACHE_H

#include "collection.h"

struct flow_cache;

/* A flow that is in use; it stays until flow_cache_release. */
struct cached_flow;

/* limit: bytes, spread over the parts; what is in use, and the flow last used in each part, may
 * exceed it. NULL with ENOMEM. */
struct flow_cache *flow_cache_open(const struct collection *collection, size_t limit,
                                   struct flow_error *error);

/* No flow may be in use. Harmless on NULL. */
void flow_cache_close(struct flow_cache *cache);

/* The flow, read now if it is not there. NULL with the errors of collection_load. */
struct cached_flow *flow_cache_get(struct flow_cache *cache, uint32_t flow,
                                   struct flow_error *error);
void flow_cache_release(struct flow_cache *cache, struct cached_flow *flow);

/* The directory, for what needs neither rendering nor measuring. */
const struct flowdir *cached_flow_directory(const struct cached_flow *flow);

/* The size of a file in bytes; rendering or decoding it if that is the only way to know. */
bool cached_flow_size(struct cached_flow *flow, enum flowdir_file file, uint64_t *size,
                      struct flow_error *error);

/* A piece of a file's content: in memory, or in the capture for a long body that is stored as it is
 * shown. */
struct cached_piece {
    struct bytes bytes; /* valid until the flow is released, or borrowed from `scratch` */
    int descriptor;     /* -1: bytes has it; else `size` bytes at `offset` of this file */
    uint64_t offset;
    size_t size;
};

/* Up to `size` bytes at `offset` of a file; fewer only at its end. Where the piece is in neither
 * the cache nor plainly in the capture it is put into `scratch`, which has room for `size` bytes.
 */
bool cached_flow_read(struct cached_flow *flow, enum flowdir_file file, uint64_t offset,
                      size_t size, void *scratch, struct cached_piece *piece,
                      struct flow_error *error);

/* The same of a message's content, which is never encoded. */
bool cached_flow_read_message(struct cached_flow *flow, size_t number, uint64_t offset, size_t size,
                              void *scratch, struct cached_piece *piece, struct flow_error *error);

#endif
