/* What tree.c shares with the other tree_*.c; for them only. */
#ifndef FLOWFS_FS_TREE_NODE_H
#define FLOWFS_FS_TREE_NODE_H

#include "tree.h"

/* time: nanoseconds since the epoch; directories: that are in it. */
void tree_set_directory(const struct tree *tree, uint64_t number, nlink_t directories, int64_t time,
                        struct stat *status);
void tree_set_file(const struct tree *tree, uint64_t number, uint64_t size, int64_t time,
                   struct stat *status);

bool tree_no_such_node(struct flow_error *error);

/* Whether what the number stands for is there. */
bool tree_node_exists(const struct tree *tree, const struct inode *inode);

/* Whether the owner of a control node, and what the node shows, is there. */
bool tree_control_exists(const struct tree *tree, const struct inode *inode);

/* As tree_attributes, tree_lookup and tree_read, for INODE_CONTROL and INODE_CONTROL_FILE. */
bool tree_control_attributes(const struct tree *tree, const struct inode *inode,
                             struct stat *status, struct flow_error *error);
bool tree_control_lookup(const struct tree *tree, const struct inode *directory, struct bytes name,
                         struct stat *status, struct flow_error *error);
bool tree_control_read(const struct tree *tree, const struct inode *inode, uint64_t offset,
                       size_t size, void *scratch, struct tree_piece *piece,
                       struct flow_error *error);

/* The `.flowfs` of the node, if it is one that has it; INODE_NONE else. */
struct inode tree_control_of(const struct inode *inode);

/* Positions in listings: 1 behind `.`, 2 behind `..`. */
#define TREE_BEHIND_DOTS 2

/* The views that stand in the root. */
#define TREE_VIEW_ROOTS 2
const char *tree_view_root(size_t number, struct view_place *place);

bool tree_view_exists(const struct tree *tree, const struct inode *inode);
void tree_view_attributes(const struct tree *tree, struct view_place place, struct stat *status);
uint64_t tree_view_parent(const struct tree *tree, struct view_place place);

/* As tree_lookup and tree_list (without `.` and `..`) for INODE_VIEW. */
bool tree_view_lookup(const struct tree *tree, struct view_place place, struct bytes name,
                      struct stat *status, struct flow_error *error);
bool tree_view_list(const struct tree *tree, struct view_place place, uint64_t from,
                    bool attributes, tree_emit *emit, void *context, struct flow_error *error);

/* As tree_attributes for INODE_LINK, and where it leads; false if there is no memory. */
bool tree_link_attributes(const struct tree *tree, const struct inode *link, struct stat *status,
                          struct flow_error *error);
bool tree_view_target(const struct tree *tree, const struct inode *link, struct buffer *target);

#endif
