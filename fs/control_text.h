/* The files of the root's `.flowfs` that show no flows. */
#ifndef FLOWFS_FS_CONTROL_TEXT_H
#define FLOWFS_FS_CONTROL_TEXT_H

#include "collection.h"

extern const char control_readme[];

/* Appends captures.json: each capture's name, path, format, packing, flows, bytes, gaps, and
 * whether it may grow. */
void control_append_captures(const struct collection *collection, struct buffer *out);

#endif
