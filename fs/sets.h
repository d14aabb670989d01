/* Sets: the folders of a staging folder, and the flow files that are made of them.
 *
 * A set is a directory directly in the staging folder, whose name does not begin with a dot and
 * leaves room for `.errors` behind it. The flow directories in it (codec/flowdir_walk.h) are its
 * flows. What is derived of the set NAME are two real files beside it:
 *
 *   NAME.mitm    the flows in the order of their start times, then of their paths
 *   NAME.errors  while the set has mistakes: PATH/IN/SET/file:line: what was found, what expected
 *
 * Who looks at one of them passes a gate first (sets_update, sets_open_pack): if something has
 * changed below the staging folder since the set was last looked at, the set is walked, changed
 * flows are packed, the records of the others are copied. The pack that comes of it is a new file
 * with a hidden name, and its inode is what NAME.mitm is from then on: who has an older one open
 * keeps it. Committing makes it durable and gives it its name on disk. While a set is broken the
 * last good NAME.mitm stays on disk; it is not served.
 *
 * Names that begin with `.flowfs` in the staging folder belong to this room.
 *
 * Nothing here knows FUSE, nodes or mounts. Any thread may call anything (sets_open and sets_close
 * apart). Names are NUL-terminated, without slash. Locks, in the order in which they are taken:
 *
 *   a set's lock      held while the set is packed or committed; who asks for the same set waits
 *   the table's lock  short: to find, add or take out a set
 *   the state's lock  short, but for one write and fsync of `.flowfs-sets`: a leaf
 *
 * No two sets' locks are held at once. sets_touch, sets_hurry, sets_state_now and sets_version
 * never wait for packing. */
#ifndef FLOWFS_FS_SETS_H
#define FLOWFS_FS_SETS_H

#include "control_file.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct sets;

/* A line for people about what went wrong in the background, or what an older version of the format
 * cannot hold: each is told once. Called by any thread, with a set's lock held: it must not call
 * back. */
typedef void sets_report(void *context, const char *line);

/* root: descriptor of the staging folder (O_PATH will do); it stays the caller's and must outlive
 * the sets. format_version: 17 to 21, of the flow files. report may be NULL.
 *
 * Removes what a killed daemon left behind, reads the state file and takes its lock, and starts the
 * packer thread, in which all signals are blocked: so call it when no fork will follow.
 *
 * NULL with EBUSY (another mount uses this folder), ENOTSUP (the version), ENOMEM, or what a system
 * call gave (EROFS, EACCES…). */
struct sets *sets_open(int root, int64_t format_version, sets_report *report, void *context,
                       struct flow_error *error);

/* Ends the thread, brings all sets up to date, commits them, and frees all, in any case. False with
 * the first error of those that could not be committed. Harmless on NULL. */
bool sets_close(struct sets *sets, struct flow_error *error);

/* Something below the staging folder has changed. To be called after the change, before it is
 * answered. Lock-free and cheap: for each write. */
void sets_touch(struct sets *sets);

/* Somebody has synced a staged file: commit soon, without waiting for a pause. Cheap. */
void sets_hurry(struct sets *sets);

/* What a name in the staging folder is. */
enum sets_derived {
    SETS_NONE,
    SETS_PACK,   /* NAME.mitm of a set that is there */
    SETS_ERRORS, /* NAME.errors likewise, whether there is such a file or not */
    SETS_HIDDEN, /* `.flowfs…`: ours, not to be seen nor made by others */
};

/* Fills set with the set's name for PACK and ERRORS; set may be NULL. */
enum sets_derived sets_derived(struct sets *sets, const char *name, char set[NAME_MAX + 1]);

/* Whether a directory of that name in the staging folder is a set. */
bool sets_is_name(const char *name);

enum sets_state {
    SETS_MISSING, /* no such set */
    SETS_EMPTY,   /* there are no flows in it, and it has no NAME.mitm (ENOENT): it never had any */
    SETS_PACKED,  /* NAME.mitm can be read, there is no NAME.errors */
    SETS_BROKEN,  /* NAME.mitm cannot be read (EBADMSG); NAME.errors says why */
};

/* The gate: brings one set, or all, up to date with its folder. A set that has never had a
 * NAME.mitm on disk gets it at once, durably, so that a listing of the staging folder shows it.
 *
 * False with what a system call gave (ENOSPC, EIO…) or ENOMEM: then all is as it was, the last good
 * pack included, but that pack is not current and must not be served; the next look tries again.
 * sets_update_all goes on behind such a set and gives the first error. */
bool sets_update(struct sets *sets, const char *set, enum sets_state *state,
                 struct flow_error *error);
bool sets_update_all(struct sets *sets, struct flow_error *error);

/* The gate, and then a descriptor of the pack that is current: read-only, to be closed by the
 * caller; its inode is what NAME.mitm is. version (may be NULL): that of sets_version. -1 with
 * ENOENT (no such set), EBADMSG (broken: "fix has 2 mistakes, see fix.errors: …"), EMFILE, or as
 * sets_update. */
int sets_open_pack(struct sets *sets, const char *set, uint64_t *version, struct flow_error *error);

/* As last known, without any work or waiting: for filtering a listing behind sets_update_all. */
enum sets_state sets_state_now(struct sets *sets, const char *set);

/* Another number for each content that a set's pack has had, never 0 and never used twice in the
 * life of `sets`; 0 where there is no such set or it was never packed. As last known, likewise. */
uint64_t sets_version(struct sets *sets, const char *set);

/* Passes the gate, and makes the pack durable on disk under its name: one set, or all (NULL). A
 * broken set is no error: its last good file stays. False as sets_update, or with what fsync or
 * rename gave; then the file on disk is the old one or the new one, and the next commit tries
 * again. */
bool sets_commit(struct sets *sets, const char *set, struct flow_error *error);

/* Files that stood in the way of derived ones and were renamed, never overwritten: NAME.mitm~, or
 * NAME.mitm~2~ and so on; "" where nothing did. */
struct sets_moved {
    char pack[NAME_MAX + 1];
    char errors[NAME_MAX + 1];
};

/* Told by the stage behind operations in the staging folder itself that succeeded. Each does the
 * work of sets_touch, too. A name that is none of a set (sets_is_name) or no directory is harmless.
 *
 * From the moment that a set is there the names NAME.mitm and NAME.errors are derived: whatever a
 * kernel or a cache knows of them, and of the names in `moved` (may be NULL), is not true any more.
 */

/* mkdir, or a directory that was renamed to NAME from elsewhere. False with what renaming a file in
 * the way gave: the set is one all the same, and its files will be told to be in the way. */
bool sets_made(struct sets *sets, const char *set, struct sets_moved *moved,
               struct flow_error *error);

/* rmdir, or a directory that was renamed to elsewhere: the set's derived files go. */
void sets_removed(struct sets *sets, const char *set);

/* rename in the staging folder, over whatever was there: the derived files go along, nothing is
 * packed anew for that. If only one of both names is one of a set: as sets_made or sets_removed. */
bool sets_renamed(struct sets *sets, const char *from, const char *to, struct sets_moved *moved,
                  struct flow_error *error);

/* RENAME_EXCHANGE in the staging folder; moved: of both names. What each holds now is seen at the
 * next look. */
bool sets_exchanged(struct sets *sets, const char *one, const char *other,
                    struct sets_moved moved[2], struct flow_error *error);

/* Writes what a file of `.flowfs` shows (up to CONTROL_STATS_TXT) of the set's flows into the
 * descriptor of an empty file, the same bytes that flowcat makes of NAME.mitm. Passes the gate, and
 * does not hold the set while it writes. False as sets_open_pack, or with what writing gave. */
bool sets_convert(struct sets *sets, const char *set, enum control_file file, int descriptor,
                  struct flow_error *error);

/* The same of one staged flow, whose directory's descriptor (not O_PATH) stays the caller's, up to
 * CONTROL_RAW_RESPONSE. False with EBADMSG (the mistake: "request.headers:3: …"), ENOENT (the flow
 * has no such export), or what reading or writing gave. */
bool sets_convert_flow(struct sets *sets, int directory, enum control_file file, int descriptor,
                       struct flow_error *error);

#endif
