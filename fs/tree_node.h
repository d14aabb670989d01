/* What tree.c and tree_control.c share; for them only. */
#ifndef FLOWFS_FS_TREE_NODE_H
#define FLOWFS_FS_TREE_NODE_H

#include "tree.h"

/* time: nanoseconds since the epoch; directories: that are in it. */
void tree_set_directory(const struct tree *tree, uint64_t number, nlink_t directories, int64_t time,
                        struct stat *status);
void tree_set_file(const struct tree *tree, uint64_t number, uint64_t size, int64_t time,
                   struct stat *status);

bool tree_no_such_node(struct flow_error *error);

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

#endif
