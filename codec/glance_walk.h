/* How a glance steps over the elements of a record, and reads the few that it is after. */
#ifndef FLOWFS_CODEC_GLANCE_WALK_H
#define FLOWFS_CODEC_GLANCE_WALK_H

#include "record.h"

struct glance_walk {
    struct record *record;
    const uint8_t *text;          /* the record's, if it is whole in memory; else NULL */
    const struct tnet_need *need; /* else, how to get at it */
    struct tnet_need need_storage;
    struct flow_error *error;
    bool unusual; /* something was met that must be read in full */
};

void glance_walk_init(struct glance_walk *walk, struct record *record, struct flow_error *error);

/* A piece of the record: where its content starts and how long it is, and where the next piece
 * starts. next 0: none. */
struct glance_piece {
    size_t at, size, next;
    char type;
};

/* As glance_step, for what is not in memory or not sound. */
struct glance_piece glance_step_carefully(struct glance_walk *walk, size_t from, size_t end);

/* The element at `from` inside a container that ends at `end`; none, with the walk's error, if
 * there is none. This runs a hundred times a flow: what is sound and in memory takes the short way.
 */
static inline struct glance_piece glance_step(struct glance_walk *walk, size_t from, size_t end)
{
    const uint8_t *text = walk->text;
    size_t at = from;
    size_t size = 0;
    if (!text)
        return glance_step_carefully(walk, from, end);
    /* The record ends in a tag, so a run of digits ends inside it. */
    for (uint8_t digit; (digit = (uint8_t)(text[at] - '0')) < 10; at++)
        size = size * 10 + digit;
    if (text[at] != ':' || at - from - 1 >= TNET_LENGTH_DIGITS || ++at >= end || size >= end - at)
        return glance_step_carefully(walk, from, end);
    return (struct glance_piece){at, size, at + size + 1, (char)text[at + size]};
}

/* The content of a short string; nothing if it is null, another kind or long: the latter are
 * unusual. Nothing with the walk's error if it cannot be read. */
struct bytes glance_string(struct glance_walk *walk, const struct glance_piece *piece);

/* A number's content; 0 if it is no number. A time is in seconds. */
int64_t glance_integer(struct glance_walk *walk, const struct glance_piece *piece);
double glance_time(struct glance_walk *walk, const struct glance_piece *piece);

#endif
