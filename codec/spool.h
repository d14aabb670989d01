/* Files without a name, for what is too large for memory and of no use when the program has ended.
 */
#ifndef FLOWFS_CODEC_SPOOL_H
#define FLOWFS_CODEC_SPOOL_H

#include "error.h"

/* Where such files are made: $TMPDIR, or /var/tmp. */
const char *spool_directory(void);

/* Makes such a file in spool_directory. what: for whom, as in "the unpacked bytes of x.gz".
 * Returns its descriptor, to be closed by the caller; -1 with what open gave. */
int spool_open(const char *what, struct flow_error *error);

#endif
