/* One record of a flow file in memory: all of it if it is short; if it is long, only the parts that
 * are needed, so that a flow with a gigabyte of body costs no more than its headers. */
#ifndef FLOWFS_CODEC_RECORD_H
#define FLOWFS_CODEC_RECORD_H

#include "bytes.h"
#include "error.h"
#include "source.h"
#include "tnet.h"

/* Up to this size a record is read whole: one pread is cheaper than several. */
#define RECORD_WHOLE_LIMIT ((size_t)1 << 20)

/* In a longer record, strings above this size stay in the capture. */
#define RECORD_LONG_STRING ((size_t)256 * 1024)

struct record {
    struct bytes text; /* in a long record, only what record_need has asked for is there */
    uint64_t offset;   /* of the record in the capture, in bytes */
    const struct source *source;
    uint64_t *filled; /* a bit a block, NULL in a short record */
    bool owned;
};

/* Reads the record of `size` bytes at `offset`. False with EIO if the capture ends before it, with
 * ENOMEM, or what reading gave. Freed by record_close. */
bool record_open(struct record *record, const struct source *source, uint64_t offset, size_t size,
                 struct flow_error *error);

/* A record whose bytes are all in memory already; borrowed. */
void record_borrow(struct record *record, struct bytes text, uint64_t offset);

/* Makes the bytes from `from` (in the record) readable. */
bool record_need(struct record *record, size_t from, size_t size, struct flow_error *error);

/* The record's values, in `arena`; they borrow from the record. Errors: tnet_read. */
struct value *record_read(struct record *record, struct arena *arena, struct flow_error *error);

/* How many bytes of the record are in memory. */
size_t record_bytes_read(const struct record *record);

/* For tnet_element: NULL for a record that is whole in memory. `need` is filled by the call. */
const struct tnet_need *record_tnet_need(struct record *record, struct tnet_need *need);

void record_close(struct record *record);

#endif
