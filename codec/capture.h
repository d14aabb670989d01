/* One capture: its flows found in one pass (capture_scan), and any of them read when it is needed
 * (capture_load). Hides which format the capture has.
 *
 * What is broken is no end: the scan tells each gap and goes on behind it. */
#ifndef FLOWFS_CODEC_CAPTURE_H
#define FLOWFS_CODEC_CAPTURE_H

#include "flow_glance.h"
#include "source.h"

enum capture_format {
    CAPTURE_FLOW_FILE, /* mitmproxy's: FORMAT.md */
    CAPTURE_HAR,
};

struct capture;

/* Opens a capture (see source_open for `path` and packing) and finds its format by content. An
 * empty file is a flow file without flows. NULL with EBADMSG if it is neither, or as source_open.
 * Freed by capture_close. */
struct capture *capture_open(const char *path, struct flow_error *error);

/* The same of bytes in memory, which must outlive it. */
struct capture *capture_open_memory(struct bytes content, struct flow_error *error);

enum capture_format capture_format(const struct capture *capture);
struct source *capture_source(const struct capture *capture);
void capture_close(struct capture *capture);

/* Where a flow stands in the unpacked capture, in bytes. size 0: nowhere. */
struct capture_extent {
    uint64_t offset, size;
};

enum capture_item_kind {
    CAPTURE_FLOW,
    CAPTURE_GAP,     /* bytes that are no flow; the error says why */
    CAPTURE_PARTIAL, /* the start of a flow at the end of the file, which may still grow */
    CAPTURE_END,
};

struct capture_item {
    enum capture_item_kind kind;
    struct capture_extent extent;
    /* A WebSocket flow of version 11 or older: the handshake it must be joined with. */
    struct capture_extent handshake;
    struct flow_glance glance; /* CAPTURE_FLOW; borrowed until the next call */
    int64_t version;           /* as the record has it; 0: none that can be copied */
    bool plain;                /* of a version in which no other flow has a part in this one */
    struct flow_error error;   /* CAPTURE_GAP, CAPTURE_PARTIAL */
};

struct capture_scan;

/* Starts at `offset`, which must be 0 or where an earlier scan ended. NULL with ENOMEM.
 * The capture must outlive the scan. HAR is always scanned from its start. */
struct capture_scan *capture_scan_open(struct capture *capture, uint64_t offset,
                                       struct flow_error *error);

/* The next item, in the order of the file. After CAPTURE_END or CAPTURE_PARTIAL the scan stays
 * there, and goes on when the source has grown (source_refresh). False if reading failed or memory
 * ran out. */
bool capture_scan_next(struct capture_scan *scan, struct capture_item *item,
                       struct flow_error *error);

/* Has the scan of a flow file go on at `offset`; at `end` others go on: what stands there is read
 * only as far as a flow from before reaches. UINT64_MAX: nobody does. */
void capture_scan_move(struct capture_scan *scan, uint64_t offset, uint64_t end);

/* Moves the scan of a flow file to the next place before `limit` at which a flow seems to stand:
 * bytes inside a flow may look like one. False if there is none or reading failed. */
bool capture_scan_find(struct capture_scan *scan, uint64_t limit, uint64_t *offset);

void capture_scan_close(struct capture_scan *scan);

/* A flow read in full; everything in it lives until capture_flow_close. */
struct capture_flow {
    struct flow flow;
    struct arena *arena;
    struct record record;
    struct record handshake;
};

/* Reads one flow, migrated to the newest version. handshake: see struct capture_item. False with
 * EIO or ESTALE if the capture changed under us, EBADMSG, ENOTSUP (a version that cannot be read),
 * EFBIG, ENOMEM. */
bool capture_load(const struct capture *capture, struct capture_extent extent,
                  struct capture_extent handshake, struct capture_flow *loaded,
                  struct flow_error *error);

/* Frees what capture_load made; harmless on a zeroed struct. */
void capture_flow_close(struct capture_flow *loaded);

#endif
