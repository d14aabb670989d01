/* Reads the JSON that json_text.h describes back into the same value: tagged objects, number forms
 * and the order of members are kept. Strict (RFC 8259), because what it reads was written here and
 * then edited by hand: a mistake must be told, not guessed at. */
#ifndef FLOWFS_CODEC_JSON_PARSE_H
#define FLOWFS_CODEC_JSON_PARSE_H

#include "arena.h"
#include "bytes.h"
#include "error.h"
#include "value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses `text`, which is one value and white space around it; a UTF-8 byte-order mark is skipped.
 * The values live in `arena` and borrow from `text`; the `offset` of each says where it starts in
 * `text` (a member's key: where the key starts).
 * NULL with EBADMSG (what was found and what was expected; the offset is in `text`), EFBIG (nested
 * deeper than TNET_DEPTH_LIMIT, which no flow file may be, or more than eight million values) or
 * ENOMEM. */
struct value *json_parse(struct bytes text, struct arena *arena, struct flow_error *error);

/* What `{"dict": ...}` stands for: makes the dict of a list of pairs, which is used up. NULL with
 * EBADMSG (it is no list of pairs) or ENOMEM. */
struct value *json_parse_pairs(struct value *pairs, struct arena *arena, struct flow_error *error);

/* Where an offset is, as editors count: lines and columns from 1, columns in bytes. */
void json_parse_place(struct bytes text, uint64_t offset, size_t *line, size_t *column);

#endif
