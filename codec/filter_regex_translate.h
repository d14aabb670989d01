/* What filter_regex_python.c (the structure of a pattern), filter_regex_group.c (groups and what
 * refers to them) and filter_regex_class.c (escapes and sets of characters) share. For these only.
 */
#ifndef FLOWFS_CODEC_FILTER_REGEX_TRANSLATE_H
#define FLOWFS_CODEC_FILTER_REGEX_TRANSLATE_H

#include "filter_regex_python.h"

/* The flags that hold at a place in the pattern. */
struct regex_scope {
    bool ignore_case, multiline, dot_all, verbose;
    bool ascii; /* text pattern: as if it were a bytes pattern */
};

/* How many characters something matches, at least and at most: Python's getwidth(). */
struct regex_width {
    uint64_t low, high;
};

/* Python's MAXREPEAT: stands for "no end". */
#define REGEX_ENDLESS ((uint64_t)UINT32_MAX)

enum regex_item_kind {
    REGEX_ITEM_NONE,
    REGEX_ITEM_PLACE,  /* matches no character, cannot be repeated */
    REGEX_ITEM_REPEAT, /* is already repeated */
    REGEX_ITEM_LOOK,   /* a look-ahead or look-behind */
    REGEX_ITEM_OTHER,
};

/* One element of a sequence. */
struct regex_item {
    enum regex_item_kind kind;
    struct regex_width width;
};

struct regex_group {
    struct bytes name;
    struct regex_width width;
    bool closed;
};

struct regex_translator {
    struct bytes pattern;
    size_t at; /* the next byte to read */
    struct buffer *out;
    bool text;
    bool repeats, atomic, unlike_start; /* as in struct filter_regex_python */
    struct regex_group *groups;         /* [0] is not used */
    size_t group_count, group_capacity;
    size_t lookbehind_groups; /* within a look-behind: group_count at its start; else 0 */
    size_t condition;         /* the highest number in a (?(number)…), and where it stands */
    size_t condition_at;
    unsigned depth;
    unsigned types; /* which of a, L and u were turned on for all of the pattern */
    struct flow_error *error;
};

/* Records EINVAL at that byte of the pattern; always false. */
bool regex_refuse(struct regex_translator *translator, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads one character, which is a byte in a bytes pattern. False if it is no UTF-8. There must be
 * one. */
bool regex_read_character(struct regex_translator *translator, uint32_t *character);

/* Whether the next byte is this one; reads it if so. */
bool regex_read_if(struct regex_translator *translator, char byte);

/* The next byte, or -1 at the end. */
int regex_peek(const struct regex_translator *translator);

/* Steps over one of Python's tokens: a backslash goes with what follows. */
void regex_skip_token(struct regex_translator *translator);

/* Alternatives with `|` between them, and one of them, up to the end or a closing parenthesis. The
 * outermost may change the scope by flags at their start. */
bool regex_translate_alternatives(struct regex_translator *translator, struct regex_scope *scope,
                                  bool outermost, struct regex_width *width);
bool regex_translate_sequence(struct regex_translator *translator, struct regex_scope *scope,
                              bool first, struct regex_width *width);

/* Adds a group that is open; its name is empty or borrowed from the pattern. */
bool regex_new_group(struct regex_translator *translator, struct bytes name);

/* Translates a group of any kind; the next byte is its opening parenthesis. `first`: nothing but
 * flags and comments stands before it, so that it may set flags for all of the pattern. A comment
 * or such flags leave the item as it is. */
bool regex_translate_group(struct regex_translator *translator, struct regex_scope *scope,
                           bool first, struct regex_item *item);

/* Writes one character that stands for itself. */
void regex_write_literal(struct regex_translator *translator, const struct regex_scope *scope,
                         uint32_t character);

/* Translates an escape outside of a set; the next byte is the backslash. */
bool regex_translate_escape(struct regex_translator *translator, const struct regex_scope *scope,
                            struct regex_item *item);

/* Translates a set; the next byte is the opening bracket. */
bool regex_translate_set(struct regex_translator *translator, const struct regex_scope *scope,
                         struct regex_item *item);

/* Writes a reference to a group after checking that there can be one; `at` is for errors. */
bool regex_write_reference(struct regex_translator *translator, const struct regex_scope *scope,
                           size_t group, size_t at, struct regex_item *item);

/* Whether a look-behind that is open allows to refer to the group. */
bool regex_check_lookbehind(struct regex_translator *translator, size_t group, size_t at);

#endif
