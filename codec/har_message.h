/* Headers and bodies of a HAR entry, as mitmproxy has them after it has read one: with the header
 * fields that follow from the body set right. har_read.h tells the rules that differ. */
#ifndef FLOWFS_CODEC_HAR_MESSAGE_H
#define FLOWFS_CODEC_HAR_MESSAGE_H

#include "arena.h"
#include "bytes.h"
#include "error.h"
#include "har_json.h"
#include "value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all steps of reading one entry share. */
struct har_reader {
    struct har_json json;
    struct arena *arena; /* all results live there */
    uint64_t offset;     /* of the entry in the capture */
    struct flow_error *error;
    bool no_memory; /* an allocation failed: what was made is not complete */
};

/* Records that the member `key` is not what it must be; always false. */
bool har_wrong(struct har_reader *reader, const char *key, const json_t *found,
               const char *expected);

/* The bytes of a string, see har_json_string; sets no_memory. */
struct bytes har_string(struct har_reader *reader, const json_t *string);

/* Takes what a buffer holds into the arena, and frees the buffer; sets no_memory. */
struct bytes har_keep(struct har_reader *reader, struct buffer *buffer);

struct har_field {
    struct bytes name, value;
};

struct har_fields {
    struct har_field *items;
    size_t count;
};

/* Reads a list of {name, value} or [name, value]; NULL or null is an empty one. False with EBADMSG
 * (the key path has the index) or ENOMEM. */
bool har_fields_read(struct har_reader *reader, const json_t *list, struct har_fields *fields);

/* The list of [name, value] of a state. */
struct value *har_fields_value(struct har_reader *reader, const struct har_fields *fields);

/* The request's body, from postData; sets content-length, and content-type if the charset had to be
 * changed to UTF-8, and takes content-encoding away (Message.set_text, set_content and decode).
 * False with EBADMSG or ENOMEM. */
bool har_request_body(struct har_reader *reader, const json_t *request, struct har_fields *fields,
                      struct bytes *content);

/* The same for a response, from content. *known is false if the entry doesn't have the body. */
bool har_response_body(struct har_reader *reader, const json_t *response, struct har_fields *fields,
                       struct bytes *content, bool *known);

#endif
