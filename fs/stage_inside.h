/* What the rooms share that make up stage.h: stage.c, stage_change.c, stage_file.c,
 * stage_control.c. */
#ifndef FLOWFS_FS_STAGE_INSIDE_H
#define FLOWFS_FS_STAGE_INSIDE_H

#include "stage.h"

#include <stdatomic.h>

struct stage {
    struct stage_options options;
    struct stage_nodes *nodes;
    struct sets *sets;
    uid_t owner;
    gid_t group;
    mode_t umask;                /* of this process, which the kernel applies to what we make */
    _Atomic uint64_t generation; /* of all that is staged: another number after each change */
    _Atomic int64_t touched;     /* when that was, in nanoseconds since the epoch */
    _Atomic bool shown;          /* the top has been looked at since */
    _Atomic bool keeps_pages;    /* the backing file system writes no other way */
};

/* Records what a system call gave in errno; always false. what: the name or thing concerned. */
bool stage_fail(struct flow_error *error, const char *what);

/* Something has changed; before the request that did it is answered. */
void stage_touch(struct stage *stage);

/* Somebody looks at what is derived: what others may have changed counts as changed. */
void stage_look(struct stage *stage);

/* Whether the node is a folder directly in the top that is a set; its name. */
bool stage_is_set(struct stage *stage, const struct stage_node *node, char name[256]);

/* Fails with EROFS if a name in that folder is a derived one, EPERM if it is reserved. */
bool stage_may_change(struct stage *stage, const struct stage_node *parent, const char *name,
                      struct flow_error *error);

/* Whether we, who are not root, could not open a file of that mode again. */
bool stage_is_shut(const struct stage *stage, mode_t mode);

/* What stat gave becomes what the mount shows. */
void stage_show_status(const struct stage_node *node, struct stat *status);

/* stage_control.c: `.flowfs` */

#define STAGE_CONTROL_NAME ".flowfs"

/* As stage_lookup for `.flowfs` in a folder, and for a file in it. */
bool stage_control_lookup(struct stage *stage, struct stage_node *folder, struct stage_entry *entry,
                          struct flow_error *error);
bool stage_control_file_lookup(struct stage *stage, struct stage_node *control, const char *name,
                               struct stage_entry *entry, struct flow_error *error);

/* As stage_attributes and stage_list for both. */
bool stage_control_attributes(struct stage *stage, struct stage_node *node, struct stat *status,
                              struct flow_error *error);
bool stage_control_list(struct stage *stage, struct stage_node *control, uint64_t from,
                        stage_emit *emit, void *context, struct flow_error *error);

#endif
