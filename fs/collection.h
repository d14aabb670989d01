/* The captures of a mount and the index of their flows. */
#ifndef FLOWFS_FS_COLLECTION_H
#define FLOWFS_FS_COLLECTION_H

#include "capture.h"
#include "convert.h"
#include "filter.h"
#include "flowdir.h"
#include "index.h"

#include <stdbool.h>
#include <stdint.h>

/* A capture as the mount shows it. */
struct collection_capture {
    struct capture *capture;
    char *name; /* of the file; in a folder of captures, its path from there */
    uint32_t flows;
    uint32_t gaps;
    uint64_t position; /* up to here the capture has been indexed, in bytes */
    uint64_t seen;     /* the capture's size when it was looked at last, in bytes */
    bool lost;         /* it is no longer what it was */
    bool told_newer;   /* that there are flows of a version newer than known */
};

struct collection;

/* Told of what is wrong with a capture, by its name. gap: the bytes that are left out, size 0 where
 * none are. */
typedef void collection_report(void *context, const char *capture, const struct flow_error *problem,
                               struct capture_extent gap);

/* NULL with ENOMEM. decode_limit: see flowdir.h. Freed by collection_close. */
struct collection *collection_open(uint64_t decode_limit, collection_report *report, void *context,
                                   struct flow_error *error);

/* From now on only flows that match are added; a flow at which the filter gives up is reported and
 * left out. The filter must outlive the collection. False with ENOMEM. */
bool collection_set_filter(struct collection *collection, const struct filter *filter,
                           struct flow_error *error);

/* Adds a capture and indexes it; `path` may be "-", or a folder, whose captures are added in the
 * order of their names, those in its folders too. In a folder, files that are no captures are
 * passed over.
 * False with the error of source_open, with ENOENT for a folder without captures, EBADMSG for a
 * file in which no flow was found though it is not empty, or ENOMEM. */
bool collection_add(struct collection *collection, const char *path, struct flow_error *error);

/* Looks whether captures have grown, and indexes what is new. Problems are reported, each once a
 * capture: one that was cut short, replaced or removed is left alone from then on. Only one thread
 * may add or grow; others may read meanwhile. */
void collection_grow(struct collection *collection);

const struct index *collection_index(const struct collection *collection);
uint32_t collection_capture_count(const struct collection *collection);
const struct collection_capture *collection_capture(const struct collection *collection,
                                                    uint32_t number);

/* Reads a flow as a directory; see flowdir_open and capture_load for the errors. */
bool collection_load(const struct collection *collection, uint32_t flow, struct flowdir *directory,
                     struct flow_error *error);

/* A flow as convert_add wants it. */
struct convert_flow collection_convert_flow(const struct collection *collection, uint32_t flow);

/* Harmless on NULL. */
void collection_close(struct collection *collection);

#endif
