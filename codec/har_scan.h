/* Where the entries of a HAR file stand, found in one pass and in a window of memory: no tree of
 * the file is built, so a file of any size can be listed.
 *
 * A HAR file (HAR 1.2, www.softwareishard.com/blog/har-12-spec) is one JSON object whose member
 * `log` is an object with an array `entries` of objects. Other members may come before and after; a
 * byte-order mark in front is skipped. The pass checks the grammar of JSON (brackets, commas,
 * colons, ends of strings), not what is in strings and numbers: har_read does that.
 *
 * Where the grammar breaks, the bytes up to the next whole entry are one gap. The next entry is the
 * innermost object around the next member `request` or `startedDateTime`, if it is whole and has a
 * member `request`. Each byte is looked at a bounded number of times, whatever the file holds. */
#ifndef FLOWFS_CODEC_HAR_SCAN_H
#define FLOWFS_CODEC_HAR_SCAN_H

#include "bytes.h"
#include "error.h"
#include "source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes read at a time, and all that is held. */
#define HAR_SCAN_WINDOW ((size_t)256 * 1024)

/* An entry nested deeper than this is a gap; real ones reach 10. */
#define HAR_SCAN_DEPTH_LIMIT 512

enum har_item_kind {
    HAR_ITEM_ENTRY, /* one element of log.entries: an object, from its `{` to its `}` */
    HAR_ITEM_GAP,   /* bytes that are no entry; the error says why */
    HAR_ITEM_END,   /* the end of the file; stays */
};

struct har_item {
    enum har_item_kind kind;
    uint64_t offset, size;   /* bytes, in the unpacked capture; at the end: its size and 0 */
    struct flow_error error; /* HAR_ITEM_GAP: EBADMSG, or EFBIG for nesting; where the grammar broke
                              */
};

struct har_scanner;

/* Whether a file that starts with these bytes can be HAR: `{` after a byte-order mark or white
 * space, if any. */
bool har_scan_looks_like_har(struct bytes start);

/* A scanner at the start of `source`, which must outlive it. window: HAR_SCAN_WINDOW, or at least 1
 * for tests. NULL with ENOMEM. Freed by har_scan_close. */
struct har_scanner *har_scan_open(const struct source *source, size_t window,
                                  struct flow_error *error);

/* The next item, in the order of the file. False if reading failed, or with EBADMSG, once, at the
 * end of a file that is JSON throughout but has no log.entries; HAR_ITEM_END follows that. */
bool har_scan_next(struct har_scanner *scanner, struct har_item *item, struct flow_error *error);

/* Harmless on NULL. */
void har_scan_close(struct har_scanner *scanner);

#endif
