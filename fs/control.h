/* What the files of `.flowfs` hold. A file is made when it is first asked for, into a file without
 * a name in $TMPDIR (or /var/tmp), so that memory stays bounded; the last ones are kept. A flow
 * file for which nothing need be converted is not made, but read out of the captures. */
#ifndef FLOWFS_FS_CONTROL_H
#define FLOWFS_FS_CONTROL_H

#include "collection.h"
#include "control_runs.h"
#include "inode.h"
#include "views.h"

struct control;

/* format_version: of flow files. NULL with ENOMEM. Freed by control_close. */
struct control *control_open(const struct collection *collection, int64_t format_version,
                             struct flow_error *error);

/* Where the flows of views are asked for; before any file of theirs is. */
void control_set_views(struct control *control, struct views *views);

/* Asked now and then while a file is made: whether the one who asked for it waits no more.
 * In the thread that called control_get. */
typedef bool control_abandoned(void *context);
void control_set_abandoned(struct control *control, control_abandoned *abandoned, void *context);

/* Takes a line for the file `errors`; the newest 1 MB of them are kept. Any thread may call it. */
void control_note(struct control *control, const char *line);

/* How many lines have been noted. */
uint32_t control_errors_version(struct control *control);

/* Content that is there as long as somebody uses it. */
struct control_content {
    int descriptor; /* -1: runs has it */
    struct control_runs *runs;
    uint64_t size; /* in bytes */
};

/* The content of a control file, made if it is not there or if flows have been added. Any thread
 * may call it; who asks for the same file waits. NULL with ENOENT (the flow has no such export),
 * EINTR (see control_set_abandoned), what writing or reading gave, or ENOMEM. Given back by
 * control_release. */
const struct control_content *control_get(struct control *control, const struct inode *inode,
                                          struct flow_error *error);

/* As cached_flow_read. */
bool control_read(const struct control_content *content, uint64_t offset, size_t size,
                  void *scratch, struct cached_piece *piece, struct flow_error *error);

void control_release(struct control *control, const struct control_content *content);

/* Calls `visit` for each file whose content may be in somebody's cache. */
void control_visit(struct control *control, void (*visit)(void *context, uint64_t inode),
                   void *context);

/* Harmless on NULL. */
void control_close(struct control *control);

#endif
