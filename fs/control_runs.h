/* A flow file that need not be made: where its flows stand in the captures as they would in it, it
 * is read out of them. So `flows.mitm` of a large capture costs neither time nor disk. */
#ifndef FLOWFS_FS_CONTROL_RUNS_H
#define FLOWFS_FS_CONTROL_RUNS_H

#include "collection.h"
#include "flow_cache.h"

struct control_runs;

/* Of these flows, in that order, as version `version`. NULL without an error if one of them must be
 * converted; or with ENOMEM. Freed by control_runs_close. */
struct control_runs *control_runs_open(const struct collection *collection, const uint32_t *flows,
                                       uint32_t count, int64_t version, struct flow_error *error);

/* In bytes. */
uint64_t control_runs_size(const struct control_runs *runs);

/* The `size` bytes at `offset`, which are there; as cached_flow_read. False with EIO if a capture
 * was cut short, or what reading gave. */
bool control_runs_read(const struct control_runs *runs, uint64_t offset, size_t size, void *scratch,
                       struct cached_piece *piece, struct flow_error *error);

/* Harmless on NULL. */
void control_runs_close(struct control_runs *runs);

#endif
