/* The spool: an unlinked file that holds what a packed file or a pipe contains, so that any byte of
 * it can be read at any time and memory stays bounded. For source.c. */
#ifndef FLOWFS_CODEC_SOURCE_SPOOL_H
#define FLOWFS_CODEC_SOURCE_SPOOL_H

#include "source.h"

/* What source_open's unpacking gives. */
struct source_spool {
    int descriptor; /* of the spool; -1: the bytes can stay where they are */
    uint64_t size;  /* of the spool in bytes */
    enum source_packing packing;
    struct flow_error damage; /* code 0: none */
};

/* Finds how the bytes of `descriptor` are packed and, if they are or if `stay` is false, writes
 * them unpacked to a new spool. Two layers are unpacked (gzip around a `.zhar`), `packing` is the
 * outer one; no more, because data exists that unpacks to itself for ever.
 *
 * stay: the descriptor takes pread and its plain bytes need no spool. It is read from its current
 * position otherwise. name: for messages.
 *
 * False with what read, write or open gave, ENOSPC or ENOMEM. The spool's descriptor is the
 * caller's to close. */
bool source_spool_unpack(int descriptor, const char *name, bool stay, struct source_spool *result,
                         struct flow_error *error);

#endif
