/* Flows into a flow file: copied where they are in the version that is wanted, written anew where
 * they are not. */
#ifndef FLOWFS_CODEC_CONVERT_MITM_H
#define FLOWFS_CODEC_CONVERT_MITM_H

#include "convert.h"

/* Whether flow files of that version can be written; if not, ENOTSUP says which can. */
bool convert_version_is_known(int64_t version, struct flow_error *error);

/* Copies the flow's record as it is, if it is of that version and whole by itself: *copied tells.
 * False with what reading or writing gave. */
bool convert_copy_record(const struct convert_flow *flow, int64_t version, struct sink *sink,
                         bool *copied, struct flow_error *error);

/* Appends the record of a flow in the version that the options ask for. What that version cannot
 * hold is reported. False with ENOTSUP (it has no such flows), EFBIG, ENOMEM or what reading
 * gave. */
bool convert_append_record(struct flowdir *directory, const struct convert_options *options,
                           struct buffer *out, struct flow_error *error);

#endif
