/* Finds the records of a flow file, one after the other, through a window of bounded size.
 *
 * Where bytes are no record it looks for the next place at which a whole flow stands. Records carry
 * no mark, so a place is believed only if a tnetstring of the right type starts there, ends inside
 * the file, and reads as a flow. */
#ifndef FLOWFS_CODEC_RECORD_SCAN_H
#define FLOWFS_CODEC_RECORD_SCAN_H

#include "record.h"
#include "source.h"

enum record_scan_result {
    RECORD_SCAN_RECORD,  /* extent and record are set */
    RECORD_SCAN_BROKEN,  /* no record starts here: the error says why; extent.size is 0 */
    RECORD_SCAN_PARTIAL, /* a record starts here and the file ends inside it */
    RECORD_SCAN_END,     /* the file ends here */
    RECORD_SCAN_FAILED,  /* reading failed or there is no memory */
};

struct record_scan {
    const struct source *source;
    uint64_t position;      /* of the record that comes next */
    uint64_t window_offset; /* of window[0] in the capture */
    uint8_t *window;
    size_t window_size;   /* bytes that are filled */
    struct record record; /* the one that was found last */
    uint64_t work;        /* bytes moved, read and looked at so far */
    uint64_t far;         /* bytes from here on are read only where a record reaches there */
};

/* False with ENOMEM. The source must outlive the scan. */
bool record_scan_init(struct record_scan *scan, const struct source *source, uint64_t offset,
                      struct flow_error *error);

/* Looks at what stands at scan->position, and does not move. The record is whole: its length fits
 * the file and its type tag is a dict's. It is scan->record, valid until the next call. */
enum record_scan_result record_scan_look(struct record_scan *scan, uint64_t *size,
                                         struct flow_error *error);

/* Whether a record reads as a flow; asked for each place that record_scan_resync tries. */
typedef bool record_scan_accept(void *context, struct record *record);

/* Looks for the next flow at or behind `from` and before `limit`; moves scan->position there and
 * returns true. False if there is none (position is unchanged), or if reading failed (the error is
 * set). The time it takes grows with the bytes it passes, not with their square: in a file made to
 * hold flows everywhere, that overlap, some are passed over. */
bool record_scan_resync(struct record_scan *scan, uint64_t from, uint64_t limit,
                        record_scan_accept *accept, void *context, struct flow_error *error);

void record_scan_close(struct record_scan *scan);

#endif
