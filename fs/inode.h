/* Inode numbers are arithmetic: no table, no memory a node, the same at every mount.
 *
 *   1                              the root
 *   16 + host                      a host's directory
 *   (flow + 1) << 32               a flow's directory
 *   (flow + 1) << 32 | slot        what is in it: 1 + file, 31 its messages/, 32 + n message n
 */
#ifndef FLOWFS_FS_INODE_H
#define FLOWFS_FS_INODE_H

#include "flowdir.h"

#include <stdint.h>

enum inode_kind {
    INODE_NONE, /* no number that this module makes */
    INODE_ROOT,
    INODE_HOST,
    INODE_FLOW,
    INODE_FILE,
    INODE_MESSAGES,
    INODE_MESSAGE,
};

struct inode {
    enum inode_kind kind;
    uint32_t number;        /* of the host or flow */
    enum flowdir_file file; /* INODE_FILE */
    size_t message;         /* INODE_MESSAGE, from 1 */
};

#define INODE_ROOT_NUMBER ((uint64_t)1)

uint64_t inode_of_host(uint32_t host);
uint64_t inode_of_flow(uint32_t flow);
uint64_t inode_of_file(uint32_t flow, enum flowdir_file file);
uint64_t inode_of_messages(uint32_t flow);
uint64_t inode_of_message(uint32_t flow, size_t message);

/* What a number stands for. Whether that host, flow or message exists is not looked at. */
struct inode inode_parse(uint64_t number);

#endif
