/* Flows as folders, outside of a mount: `flowcat --pack` and `--unpack`. */
#ifndef FLOWFS_CODEC_FLOWCAT_DIRS_H
#define FLOWFS_CODEC_FLOWCAT_DIRS_H

#include "selection.h"

/* Told of each mistake in a folder that is packed, as "PATH/request.headers:3: …". */
typedef void flowcat_mistake(void *context, const char *what);

/* Packs the flow directories in the folders, at any depth, in the order of their names, into a flow
 * file of version 21 without a name: its descriptor is the caller's. Names with a leading dot are
 * passed over. *mistakes counts what could not be packed. -1 with what a system call gave, ENOENT
 * (there is no flow in a folder), or ENOMEM. */
int flowcat_pack(char *const *folders, int count, flowcat_mistake *tell, void *context,
                 uint64_t *mistakes, struct flow_error *error);

/* Writes the flows of the selection as FOLDER/HOST/ID/, the names those of the mount. The folder is
 * made if it is missing; a flow's directory that is there already is an error. False with what a
 * system call or reading gave, or ENOMEM. */
bool flowcat_unpack(const struct selection *selection, const char *folder,
                    struct flow_error *error);

#endif
