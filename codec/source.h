/* A capture's bytes, readable at any offset by any thread: a plain file as it is; gzip, zlib
 * (`.zhar`) and pipes through an unlinked file of their unpacked bytes, so that memory stays
 * bounded.
 *
 * Anything that is no regular file (a FIFO, /dev/stdin, a socket, a file of size 0 that has content
 * all the same, as in /proc) counts as a pipe. Standard input that is a file read from its start is
 * that file.
 *
 * Reads are pread, never mmap: a capture that is cut short under us must give an error, not a
 * signal. */
#ifndef FLOWFS_CODEC_SOURCE_H
#define FLOWFS_CODEC_SOURCE_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct source;

/* How the bytes were packed on disk (the outer layer). */
enum source_packing {
    SOURCE_PLAIN,
    SOURCE_GZIP, /* RFC 1952, any number of members */
    SOURCE_ZLIB, /* RFC 1950, as `.zhar` files are */
};

/* Opens a capture; `path` "-" is standard input. Packing is found by content, not by name: gzip by
 * 1F 8B, zlib by 78 and a valid second byte, neither of which can start a flow file or a HAR. Up to
 * two layers are unpacked (gzip around a `.zhar`). Blocks until a pipe's writer has closed it.
 *
 * Packed files and pipes are unpacked here, to the end, into an unlinked file in $TMPDIR (or
 * /var/tmp). If the packed data breaks off or is damaged, what came before the damage is served and
 * source_damage tells where and why: that is no error of this function. Zero bytes behind gzip data
 * are padding, as for gzip(1); other bytes there are damage.
 *
 * Returns NULL and sets `error`: what open or read gave (ENOENT, EACCES, EISDIR, EIO…), ENOSPC or
 * other if the unpacked bytes cannot be stored, ENOMEM. Freed by source_close. */
struct source *source_open(const char *path, struct flow_error *error);

/* Bytes that are in memory already, for tests and for callers of the library; borrowed. */
struct source *source_open_memory(struct bytes content, struct flow_error *error);

/* Fills `buffer` with up to `size` bytes from `offset`; `*got` is less than `size` only at the end
 * of the capture. Restarts after EINTR and short reads. False with the error of pread (`*got` bytes
 * are good all the same). May go beyond source_size in a file that has grown. */
bool source_read(const struct source *source, uint64_t offset, void *buffer, size_t size,
                 size_t *got, struct flow_error *error);

/* Unpacked size in bytes, as last known (see source_refresh). Any thread may ask at any time. */
uint64_t source_size(const struct source *source);

/* Looks at the file again: it may have grown, been cut short or replaced. Only for SOURCE_PLAIN
 * regular files; for others nothing changes. Returns false with ESTALE if the path now names
 * another file or none, or the file is shorter than before (that stays so, even if it grows again,
 * since its bytes are no longer the ones that were read); or with what stat gave. source_size then
 * keeps its value. */
bool source_refresh(struct source *source, struct flow_error *error);

/* Whether the capture is a file that may still grow, for source_refresh to see. */
bool source_can_grow(const struct source *source);

/* A descriptor whose bytes are the capture's, to splice from; -1 for a source in memory. Stays the
 * source's. */
int source_descriptor(const struct source *source);

enum source_packing source_packing(const struct source *source);

/* The path as given to source_open; "" for memory. */
const char *source_path(const struct source *source);

/* The file's stat at opening (zeroed for memory and pipes). */
const struct stat *source_stat(const struct source *source);

/* The damage met while unpacking (code 0: none). `offset` is in the packed file, or in the outer
 * layer's content if the inner one is damaged, which the message then says. */
const struct flow_error *source_damage(const struct source *source);

/* Harmless on NULL. */
void source_close(struct source *source);

#endif
