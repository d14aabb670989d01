/* What links to flows are called: `2025-01-31T10-22-05.123Z_GET_example.com_api_users_200`. Time
 * (in UTC), method or kind of flow, host, path without query, status: as much as there is of it. */
#ifndef FLOWFS_FS_LINK_NAME_H
#define FLOWFS_FS_LINK_NAME_H

#include "collection.h"

/* Appends that text, unescaped: it is for name_make. A flow that cannot be read any more goes
 * without its path. with_day: the day stands before the time. */
void link_name_append(const struct collection *collection, uint32_t flow, bool with_day,
                      struct buffer *text);

/* Appends the day that the flow started on: `2025-01-31`. */
void link_name_append_day(int64_t start, struct buffer *text);

#endif
