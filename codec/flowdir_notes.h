/* The member `flowfs` of flow.json: what packing must know of a flow that its files alone do not
 * tell. It is no part of the flow. A flow without encoded bodies, read from what mitmproxy itself
 * wrote, mostly has none.
 *
 *   "request.content": {"size": 123, "crc32": "0a1b2c3d"}
 *       the content's bytes on the wire. There if a coding was applied, if Content-Length is not
 *       their number, or if flow.json holds the content too. While they are these, nothing that
 *       depends on them is put right. "response.content" likewise.
 *   "request.headers": {"size": 60, "crc32": "0a1b2c3d", "exact": ["start line", "fields"]}
 *       flow.json holds the start line, the fields or both, because lines cannot. While the file is
 *       as it was written, flow.json counts. Likewise "request.trailers", "response.headers",
 *       "response.trailers", "error", "query.json" and "answer.json", with "exact": [].
 *   "messages": {"size": 60, "crc32": "0a1b2c3d"}
 *       names and contents of the files in messages/ one after the other. There if flow.json holds
 *       the contents, because a message is odd. While the files are these, flow.json counts.
 *   "order": {"request": ["method", ...]}
 *       the order of members, where it is not mitmproxy's; of "state", "request", "response",
 * "error" "odd": ["client_conn.peername", ...] members that are missing or of another type than
 * mitmproxy's (flow_shape.h) and may be so, since that is how the flow was captured. "member": ...
 *       the flow's own member of the name `flowfs`
 *
 * crc32 is that of gzip and PNG (RFC 1952, section 8), in hexadecimal. */
#ifndef FLOWFS_CODEC_FLOWDIR_NOTES_H
#define FLOWFS_CODEC_FLOWDIR_NOTES_H

#include "flowdir.h"
#include "flowdir_form.h"

#define FLOWDIR_NOTES "flowfs"

/* Makes that member in `arena`; *notes is NULL if the flow needs none. Reads contents that are
 * noted once. False with ENOMEM or what reading gave. */
bool flowdir_notes_make(struct flowdir *directory, struct arena *arena, struct value **notes,
                        struct flow_error *error);

/* What is noted of bytes; they may come in pieces. */
struct flowdir_note_sum {
    uint64_t size;
    uint32_t crc32;
};

#define FLOWDIR_NOTE_SUM_INIT                                                                      \
    {                                                                                              \
        0, 0                                                                                       \
    }

void flowdir_note_add(struct flowdir_note_sum *sum, struct bytes bytes);

/* `{"size": ..., "crc32": ...}`. NULL if there is no memory. */
struct value *flowdir_note(struct arena *arena, struct flowdir_note_sum sum);

/* Whether the note is of these bytes. False where there is no note, or it is none. */
bool flowdir_note_matches(const struct value *note, struct bytes bytes);
bool flowdir_note_matches_sum(const struct value *note, struct flowdir_note_sum sum);

/* The name in a dict of orders. */
const char *flowdir_dict_name(enum flowdir_dict which);

#endif
