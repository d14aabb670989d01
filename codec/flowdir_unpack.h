/* Writes a flow's directory as real files: what the mounted tree shows, outside of a mount. */
#ifndef FLOWFS_CODEC_FLOWDIR_UNPACK_H
#define FLOWFS_CODEC_FLOWDIR_UNPACK_H

#include "flowdir.h"

/* Writes all files of the flow into the directory behind the descriptor, which should be empty: a
 * file that is there already is an error. Contents are written in pieces. Files get the times that
 * flowdir_time tells, directories that of the flow's start. False with EEXIST or what another
 * system call gave (with the file's name), ENOMEM, or what reading gave. */
bool flowdir_unpack(struct flowdir *flow, int directory, struct flow_error *error);

#endif
