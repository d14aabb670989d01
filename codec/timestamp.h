/* Times of flows, seconds since the epoch as a double, for people and programs. */
#ifndef FLOWFS_CODEC_TIMESTAMP_H
#define FLOWFS_CODEC_TIMESTAMP_H

#include "bytes.h"

/* Whole microseconds, which is what a double of this size can tell; 0 for what is no time (NaN, or
 * out of range of some 285 years). */
int64_t timestamp_microseconds(double seconds);

/* A time in UTC. */
struct timestamp {
    unsigned year, month, day, hour, minute, second, microsecond;
};

struct timestamp timestamp_split(int64_t microseconds);

/* Appends `number` with at least so many digits. */
void timestamp_append_padded(struct buffer *out, uint64_t number, unsigned digits);

/* Appends milliseconds with three decimals. */
void timestamp_append_milliseconds(struct buffer *out, int64_t microseconds);

/* Appends ISO 8601 with microseconds: 2025-01-31T10:22:05.123456Z. */
void timestamp_append(struct buffer *out, double seconds);

#endif
