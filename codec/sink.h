/* Where converted bytes go: a descriptor or a file that is replaced as a whole, with gzip around
 * them if wanted. Writes are gathered, so that many small ones cost little. */
#ifndef FLOWFS_CODEC_SINK_H
#define FLOWFS_CODEC_SINK_H

#include "source.h"

struct sink;

/* Writes to a descriptor that stays the caller's. gzip: RFC 1952, without name and time, so that
 * equal content gives equal bytes. NULL with ENOMEM. Freed by sink_close. */
struct sink *sink_open_descriptor(int descriptor, bool gzip, struct flow_error *error);

/* Writes a file that appears under its name only with sink_finish, whole: until then it has another
 * name in the same directory. A file that is there already keeps its mode, and if `path` is no
 * regular file (a pipe, /dev/stdout) it is written to as it is. NULL with what open gave. */
struct sink *sink_open_file(const char *path, bool gzip, struct flow_error *error);

/* False with what write gave: ENOSPC, EPIPE, EIO… */
bool sink_write(struct sink *sink, struct bytes data, struct flow_error *error);

/* Writes `size` bytes of a capture from `offset`. False with EIO if the capture ends before them,
 * or as sink_write and source_read. */
bool sink_copy(struct sink *sink, const struct source *source, uint64_t offset, uint64_t size,
               struct flow_error *error);

/* Bytes taken so far, before gzip. */
uint64_t sink_position(const struct sink *sink);

/* Writes what is left; a file is synced to the disk and gets its name. To be called once. */
bool sink_finish(struct sink *sink, struct flow_error *error);

/* Frees the sink; a file that was not finished is removed. Harmless on NULL. */
void sink_close(struct sink *sink);

#endif
