/* Inode numbers are arithmetic: no table, no memory a node, the same at every mount.
 *
 *   1                              the root
 *   16 + host                      a host's directory
 *   (flow + 1) << 32               a flow's directory
 *   (flow + 1) << 32 | slot        what is in it: 1 + file, 31 its messages/, 32 + n message n
 *   2, 0x40000000 | host << 4, (flow + 1) << 32 | 14       a `.flowfs` directory
 *   0x50000000 | version << 4 | 1 + file, 0x40000000 | host << 4 | 1 + file, (flow + 1) << 32 | 15
 * + file a file in it
 */
#ifndef FLOWFS_FS_INODE_H
#define FLOWFS_FS_INODE_H

#include "control_file.h"
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
    INODE_CONTROL, /* a `.flowfs` directory */
    INODE_CONTROL_FILE,
};

struct inode {
    enum inode_kind kind;
    uint32_t number;           /* of the host or flow */
    enum flowdir_file file;    /* INODE_FILE */
    size_t message;            /* INODE_MESSAGE, from 1 */
    enum control_owner owner;  /* INODE_CONTROL, INODE_CONTROL_FILE */
    enum control_file control; /* INODE_CONTROL_FILE */
};

#define INODE_ROOT_NUMBER ((uint64_t)1)

uint64_t inode_of_host(uint32_t host);
uint64_t inode_of_flow(uint32_t flow);
uint64_t inode_of_file(uint32_t flow, enum flowdir_file file);
uint64_t inode_of_messages(uint32_t flow);
uint64_t inode_of_message(uint32_t flow, size_t message);

/* number: of the host or flow; for the root 0, or in a file that changes (`errors`) its version, so
 * that nobody takes the pages of one version for those of the next. */
uint64_t inode_of_control(enum control_owner owner, uint32_t number);
uint64_t inode_of_control_file(enum control_owner owner, uint32_t number, enum control_file file);

/* What a number stands for. Whether that host, flow or message exists is not looked at. */
struct inode inode_parse(uint64_t number);

#endif
