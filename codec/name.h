/* Names of files from bytes that come from hostile traffic.
 *
 * The mapping is the same at every mount and never joins two things:
 *   - `/`, NUL, control characters (C0, DEL, C1), `%`, bytes that are no UTF-8, a leading `.` or
 *     `@`, and a `~` that only digits follow become %XX, byte by byte;
 *   - what is longer than 255 bytes is cut and ends in `%~` and the hash of all of it (`%~` comes
 *     from no escape);
 *   - equal names get `~2`, `~3`: that is for the index to count;
 *   - nothing at all becomes `unknown`.
 */
#ifndef FLOWFS_CODEC_NAME_H
#define FLOWFS_CODEC_NAME_H

#include "bytes.h"

#include <stdint.h>

/* NAME_MAX of Linux, without the NUL. */
#define NAME_LONGEST 255

struct name {
    uint16_t size;
    char text[NAME_LONGEST + 1]; /* NUL-terminated */
};

/* The name for `raw`; copy: 1 for the first thing of that name, 2 for the second and so on. */
void name_make(struct name *name, struct bytes raw, uint32_t copy);

/* The same for bytes of which none is to be escaped and which are few, such as a UUID. */
void name_make_plain(struct name *name, struct bytes raw, uint32_t copy);

static inline struct bytes name_bytes(const struct name *name)
{
    return bytes_make(name->text, name->size);
}

#endif
