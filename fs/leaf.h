/* The links in one directory: flows under names of their own, in the order in which they came. It
 * only grows, and an entry keeps its name. For one thread at a time. */
#ifndef FLOWFS_FS_LEAF_H
#define FLOWFS_FS_LEAF_H

#include "hash_table.h"
#include "name.h"

struct leaf;

/* NULL if there is no memory. Freed by leaf_close, harmless on NULL. */
struct leaf *leaf_open(void);
void leaf_close(struct leaf *leaf);

/* Adds a flow under the name made of `text` and the extension; an equal name gets `~2` before its
 * extension. False if there is no memory; then nothing was added. */
bool leaf_add(struct leaf *leaf, uint32_t flow, struct bytes text, const char *extension);

uint32_t leaf_count(const struct leaf *leaf);
uint32_t leaf_flow(const struct leaf *leaf, uint32_t entry);

/* NUL-terminated; borrowed until the next leaf_add. */
const char *leaf_name(const struct leaf *leaf, uint32_t entry);

/* HASH_TABLE_NONE if there is none of that name. */
uint32_t leaf_find(const struct leaf *leaf, struct bytes name);

/* Bytes of memory. */
size_t leaf_footprint(const struct leaf *leaf);

#endif
