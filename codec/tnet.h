/* tnetstrings with mitmproxy's additions, between bytes and values. FORMAT.md describes the format
 * and its quirks; the rules are those of mitmproxy/io/tnetstring.py, strictly. */
#ifndef FLOWFS_CODEC_TNET_H
#define FLOWFS_CODEC_TNET_H

#include "arena.h"
#include "bytes.h"
#include "error.h"
#include "value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deeper nesting is refused: real flows reach 6. */
#define TNET_DEPTH_LIMIT 64

/* mitmproxy reads no longer length prefix (tnetstring.py: "absurdly large length prefix"). */
#define TNET_LENGTH_DIGITS 12

/* One element's outside: what stands before and behind the content. */
struct tnet_element {
    size_t content; /* offset of the content from the start of the element */
    uint64_t size;  /* bytes of content */
    char type;      /* the tag behind the content: one of , ; # ^ ! ~ ] } */
};

/* Reads the length prefix at the start of `text`: fills content and size, not type. False with
 * EBADMSG if there is none (`offset` is what the error says of where `text` stands), or with EAGAIN
 * if `text` ends inside the prefix and so far could be one. */
bool tnet_prefix(struct bytes text, uint64_t offset, struct tnet_element *element,
                 struct flow_error *error);

/* Where the bytes of an element come from when they are not all in memory: before the reader
 * touches `size` bytes at `from` of the text it calls `need`. See record.h. */
struct tnet_need {
    bool (*need)(void *context, size_t from, size_t size, struct flow_error *error);
    void *context;
    size_t long_string; /* strings longer than this stay in the capture (struct value: bytes) */
};

/* Finds the extent of the element that starts at `from` and must end by `end`, its type tag
 * included. False with EBADMSG, or what `need` gave; need: NULL if all of `text` is in memory. */
bool tnet_element(struct bytes text, size_t from, size_t end, uint64_t offset,
                  const struct tnet_need *need, struct tnet_element *element,
                  struct flow_error *error);

/* Parses the one element that is `text`, from its length prefix to its type tag, into values that
 * borrow from `text`. offset: where `text` stands in the capture.
 * NULL with EBADMSG (malformed; offset and key path say where), EFBIG (nested too deep), ENOMEM, or
 * what `need` gave. need: NULL if all of `text` is in memory. */
struct value *tnet_read(struct bytes text, uint64_t offset, const struct tnet_need *need,
                        struct arena *arena, struct flow_error *error);

/* Whether digits are what a flow file holds as integer, as float: Python's int() and float(),
 * without their white space and underscores. */
bool tnet_is_integer(struct bytes digits);
bool tnet_is_float(struct bytes digits);

/* Appends the element that stands for `value`, byte for byte as mitmproxy would write it. False
 * with ENOMEM, or EINVAL if a string was left in the capture (see struct value). */
bool tnet_write(struct value *value, struct buffer *out, struct flow_error *error);

#endif
