/* A long encoded body that is read like a file, in bounded memory: a decoder that goes forward and
 * the last few megabytes it gave. The kernel asks for pieces a little out of order when it reads
 * ahead; those are in the window. Only a step back beyond it starts the decoder again. */
#ifndef FLOWFS_FS_BODY_STREAM_H
#define FLOWFS_FS_BODY_STREAM_H

#include "flowdir.h"

struct body_stream;

/* content and encoding are borrowed and must outlive the stream. decoded_size: as measured. NULL
 * with ENOMEM or what body_decoder_open gives. */
struct body_stream *body_stream_open(const struct value *content, const struct source *source,
                                     struct bytes encoding, uint64_t decoded_size,
                                     struct flow_error *error);

/* Up to `size` bytes at `offset` of the decoded content; fewer only at its end. One thread at a
 * time. */
bool body_stream_read(struct body_stream *stream, uint64_t offset, void *data, size_t size,
                      size_t *got, struct flow_error *error);

/* Bytes of memory; 0 for NULL. */
size_t body_stream_footprint(const struct body_stream *stream);

/* Harmless on NULL. */
void body_stream_close(struct body_stream *stream);

#endif
