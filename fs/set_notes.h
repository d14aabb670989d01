/* The state file of a staging folder, `.flowfs-sets`: which of the files NAME.mitm and NAME.errors
 * were written by us, so that one that a user put there is never taken for ours. What is noted is a
 * file's inode, size and time of change, before it gets its name: whatever ends us in between, a
 * note about a file that is not there harms nobody.
 *
 * The file is a log: a line a note, `inode size seconds nanoseconds name`, `%` and line ends in the
 * name percent-encoded. It is there only while there is something to note. A lock on the folder
 * keeps two mounts apart. Any thread may call anything. */
#ifndef FLOWFS_FS_SET_NOTES_H
#define FLOWFS_FS_SET_NOTES_H

#include "error.h"

#include <stdbool.h>
#include <sys/stat.h>

#define SET_NOTES_NAME ".flowfs-sets"

struct set_notes;

/* Locks the folder, reads the file if it is there, and leaves out what is not true any more. root:
 * the staging folder; it stays the caller's. NULL with EBUSY (another mount has it), ENOMEM, or
 * what a system call gave. */
struct set_notes *set_notes_open(int root, struct flow_error *error);

/* Notes that the file with that stat is ours under that name; durable: on disk when it returns.
 * False with ENOSPC, EIO… */
bool set_notes_add(struct set_notes *notes, const char *name, const struct stat *status,
                   bool durable, struct flow_error *error);

/* Whether the file that has the name is one that we wrote, as we wrote it. status (may be NULL) is
 * filled; *there (may be NULL): something has that name. */
bool set_notes_are_of(struct set_notes *notes, const char *name, bool *there, struct stat *status);

/* Harmless on NULL. */
void set_notes_close(struct set_notes *notes);

#endif
