/* What will be asked for next, told from what was asked for: so that the kernel can be given it
 * beforehand, in less than a request takes.
 *
 * Files: who reads a file of a flow mostly wants the file of that name in the next flows too, and
 * grep each of them. So once one was read, those of that name are given with the next directories,
 * as many as FORESIGHT_DIRECTORIES; after these we look again, since files that were given are not
 * asked for.
 *
 * Times: on a mount that can be written to, the kernel takes a directory's attributes as outdated
 * once it has listed it, and asks for them the next time. A listing of the host above brings them
 * for all its flows in a few requests. So once so many flows of a host have been listed that asking
 * for each would cost more, the host is worth being listed anew.
 *
 * Any thread may call anything. Threads that are in each other's way lose a count, no more. */
#ifndef FLOWFS_FS_FORESIGHT_H
#define FLOWFS_FS_FORESIGHT_H

#include "flowdir_file.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FORESIGHT_DIRECTORIES 256
#define FORESIGHT_SLOTS 64

/* Zeroed at the start. */
struct foresight {
    /* By name, and one for messages: the directories with which the file will be given. */
    _Atomic int wanted[FLOWDIR_FILES + 1];
    _Atomic uint64_t
        hosts[FORESIGHT_SLOTS]; /* by host: it, and how many of its flows were listed */
};

/* A small file was read; of others than those of flows nothing is noted. */
void foresight_note_read(struct foresight *foresight, uint64_t inode);

/* Whether files of that name are wanted. */
bool foresight_wants(const struct foresight *foresight, uint64_t inode);

/* Whether files of any name are. */
bool foresight_wants_any(const struct foresight *foresight);

/* The files of a flow, or its messages, could be given. */
void foresight_note_given(struct foresight *foresight, uint64_t directory);

/* A flow of the host is being listed; flows: how many it has. True, once, if the kernel is to list
 * the host anew the next time. */
bool foresight_note_flow(struct foresight *foresight, uint32_t host, uint32_t flows);

/* The host is being listed from its start. */
void foresight_note_host(struct foresight *foresight, uint32_t host);

#endif
