/* Values as JSON text, exactly: what JSON has no form for gets a tagged object, so that reading the
 * text back gives the same value, number forms and order included.
 *
 *   value                                        JSON
 *   text (UTF-8)                                 "text"
 *   text that is no UTF-8                        {"text_base64": "..."}
 *   bytes that are UTF-8 without controls        {"bytes": "..."}      (tab, CR and LF may be in
 * it) other bytes                                  {"base64": "..."} integer of up to 18 digits, as
 * Python writes it      12 any other integer                            {"int": "..."} float as
 * Python's repr() writes it           1.5, 1e+16 any other float {"float": "..."} dict with
 * distinct text keys                 {...} in insertion order any other dict, and one that could be
 * taken for a tagged object
 *                                                {"dict": [[key, value], ...]}
 */
#ifndef FLOWFS_CODEC_JSON_TEXT_H
#define FLOWFS_CODEC_JSON_TEXT_H

#include "bytes.h"
#include "value.h"

/* Appends a JSON string (RFC 8259, section 7). Bytes that are no UTF-8 become U+FFFD. */
void json_append_string(struct buffer *out, struct bytes text);

/* The same without the quotes around it. */
void json_append_escaped(struct buffer *out, struct bytes text);

/* Appends the value, pretty-printed; `indent` is the depth it stands at, two spaces each. Values
 * marked `elsewhere` are left out. Every string must be in memory. */
void json_append_value(struct buffer *out, const struct value *value, unsigned indent);

/* A dict of more members than this is told in pairs: looking for equal keys would take too long. */
#define JSON_PLAIN_MEMBERS 512

/* Whether an object with this one member stands for something else than a dict. */
bool json_is_tag(struct bytes key);

/* Whether the dict has distinct text keys, and not too many, so that members can be left out of it
 * and put back by name. */
bool json_is_plain_dict(const struct value *dict);

/* Appends a line break and `indent` times two spaces. */
void json_append_line(struct buffer *out, unsigned indent);

#endif
