/* A flow's state as the file has it: eight kinds of value, order kept, numbers as written.
 *
 * Values live in an arena and borrow their bytes from the record (or the arena). Dictionaries keep
 * their members in insertion order, which is the reverse of the order in a flow file: see
 * FORMAT.md. Numbers keep the text they were written with, so that nothing is rounded and an
 * unchanged value is written back byte for byte.
 *
 * Functions that make values return NULL if there is no memory; those that take values accept NULL
 * and answer as for a value that is not there, so that calls nest: a chain of makes needs one check
 * at its end. */
#ifndef FLOWFS_CODEC_VALUE_H
#define FLOWFS_CODEC_VALUE_H

#include "arena.h"
#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_BYTES,
    VALUE_TEXT,
    VALUE_LIST,
    VALUE_DICT,
};

#define VALUE_NO_OFFSET UINT64_MAX

struct value {
    enum value_kind kind;
    bool boolean;
    bool elsewhere;     /* mark of a renderer: another file of the flow directory holds this */
    struct bytes bytes; /* BYTES and TEXT: the content; INT and FLOAT: the digits as written.
                           data is NULL with size > 0 for a long string left in the capture */
    uint64_t offset;    /* where bytes.data stands in the capture, or VALUE_NO_OFFSET */
    struct value *key;  /* of a member of a dict */
    struct value *next, *previous;
    struct value *first, *last; /* LIST: items; DICT: members, in insertion order */
    size_t count;
    size_t encoded_size; /* scratch of the writer */
};

/* Put a new item, or a member that has its key, into a list or a dict: for readers, which know what
 * they have made. */
static inline void value_link_last(struct value *parent, struct value *child)
{
    child->next = NULL;
    child->previous = parent->last;
    *(parent->last ? &parent->last->next : &parent->first) = child;
    parent->last = child;
    parent->count++;
}

static inline void value_link_first(struct value *parent, struct value *child)
{
    child->previous = NULL;
    child->next = parent->first;
    *(parent->first ? &parent->first->previous : &parent->last) = child;
    parent->first = child;
    parent->count++;
}

struct value *value_null(struct arena *arena);
struct value *value_bool(struct arena *arena, bool boolean);
struct value *value_int(struct arena *arena, int64_t number);
/* Written as Python's repr() writes it: the fewest digits that read back as the same double. */
struct value *value_float(struct arena *arena, double number);
/* The bytes are borrowed: they must live as long as the arena. */
struct value *value_bytes(struct arena *arena, struct bytes bytes);
struct value *value_text(struct arena *arena, struct bytes text);
/* An empty list, an empty dict. */
struct value *value_list(struct arena *arena);
struct value *value_dict(struct arena *arena);

/* The member of that name (whether its key is text or bytes, as old files have it), or NULL. */
struct value *value_get(const struct value *dict, const char *key);

/* The item at `index`, or NULL. */
struct value *value_item(const struct value *list, size_t index);

/* Replaces the member of that name in its place, or appends it, as assignment does in Python.
 * key: borrowed. False if dict or member is NULL or there is no memory. */
bool value_set(struct arena *arena, struct value *dict, const char *key, struct value *member);

/* Takes a member or item out of the dict or list that it is in. */
void value_remove(struct value *parent, struct value *child);

/* Takes the member out and returns it, or NULL if there is none. */
struct value *value_pop(struct value *dict, const char *key);

/* Appends to a list; the item must not be in another container. False if either is NULL. */
bool value_append(struct value *list, struct value *item);

/* Appends (key, member) to a dict without looking whether the key is there. */
bool value_append_member(struct value *dict, struct value *key, struct value *member);

/* As above at the front: the reader meets the members of a dict in reverse order. */
bool value_prepend_member(struct value *dict, struct value *key, struct value *member);

/* A deep copy; strings stay borrowed. */
struct value *value_copy(struct arena *arena, const struct value *value);

bool value_is(const struct value *value, enum value_kind kind);
/* NULL or VALUE_NULL. */
bool value_is_null(const struct value *value);
/* What Python's bool() says. */
bool value_is_true(const struct value *value);
/* BYTES or TEXT whose content is in memory; otherwise empty bytes. */
struct bytes value_string(const struct value *value);
bool value_is_string(const struct value *value);
/* INT (or FLOAT without a fraction, or BOOL) that fits; false otherwise. */
bool value_to_int64(const struct value *value, int64_t *number);
/* INT, FLOAT or BOOL. */
bool value_to_double(const struct value *value, double *number);
/* The number that a short text such as 1700000000.42979 stands for, as strtod reads it; false for a
 * text that this way cannot tell, or that is none. */
bool value_short_decimal(struct bytes digits, double *number);

/* The text of a double as Python's repr() has it; `text` takes at least 32 bytes. Returns the
 * length. */
size_t value_format_float(double number, char text[32]);

#endif
