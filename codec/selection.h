/* Flows of many captures, chosen by a filter and put in order, before any of them is written: what
 * flowcat and the library's reader of many paths work on. It holds some 80 bytes a flow. */
#ifndef FLOWFS_CODEC_SELECTION_H
#define FLOWFS_CODEC_SELECTION_H

#include "capture.h"
#include "convert.h"
#include "filter.h"

struct selection_capture {
    struct capture *capture;
    char *name; /* of the file; in a folder of captures, its path from there */
    uint64_t flows, gaps;
    bool told_newer; /* that there are flows of a version newer than known */
};

struct selection_flow {
    struct capture_extent extent, handshake;
    double start; /* seconds since the epoch */
    uint32_t capture;
    uint32_t number; /* in its capture, from 1 */
};

/* Told of what is wrong with a capture. gap: the bytes that are left out, size 0 where none are. */
typedef void selection_report(void *context, const char *capture, const struct flow_error *problem,
                              struct capture_extent gap);

/* Told of the work done and all there is to do, in bytes of captures, now and then. */
typedef void selection_progress(void *context, uint64_t done, uint64_t all);

struct selection_options {
    const struct filter *filter;  /* NULL: all flows; must outlive the selection */
    uint64_t decode_limit;        /* see flowdir.h */
    selection_report *report;     /* may be NULL */
    selection_progress *progress; /* may be NULL */
    void *context;
};

struct selection;

/* NULL with ENOMEM. Freed by selection_close. */
struct selection *selection_open(const struct selection_options *options, struct flow_error *error);

/* Adds the flows of a capture, a folder of captures or `-`; those that the filter refuses by what
 * is seen in passing are left out at once. False with the error of source_open, ENOENT for a folder
 * without captures, EBADMSG for a file in which there is no flow though it is not empty, ENOMEM. */
bool selection_add(struct selection *selection, const char *path, struct flow_error *error);

/* Adds the flows of a flow file that is open, such as one without a name. name: for summaries. */
bool selection_add_descriptor(struct selection *selection, int descriptor, const char *name,
                              struct flow_error *error);

/* Reads the flows about which the filter needs to know more, with all processors, and leaves out
 * those that it refuses. A flow that cannot be read, or at which the filter gives up, is reported
 * and left out: *failed counts them. False with ENOMEM or if threads cannot be had. */
bool selection_match(struct selection *selection, uint64_t *failed, struct flow_error *error);

/* By start time; what starts at the same time stays in order. */
void selection_sort(struct selection *selection);

size_t selection_count(const struct selection *selection);
const struct selection_flow *selection_flow(const struct selection *selection, size_t number);
const struct selection_capture *selection_capture(const struct selection *selection,
                                                  uint32_t capture);
/* Gaps in all captures. */
uint64_t selection_gaps(const struct selection *selection);

/* Reads a flow; see capture_load and flowdir_open for the errors. Freed by flowdir_close. */
bool selection_load(const struct selection *selection, size_t number, struct flowdir *directory,
                    struct flow_error *error);

/* A flow as convert_add wants it. */
struct convert_flow selection_convert_flow(const struct selection *selection, size_t number);

/* Harmless on NULL. */
void selection_close(struct selection *selection);

#endif
