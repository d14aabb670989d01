/* Inode numbers are arithmetic: no table, no memory a node, the same at every mount.
 *
 *   1                              the root
 *   3                              `@staging`; what is in it: see stage_node.h
 *   16 + host                      a host's directory
 *   (flow + 1) << 32               a flow's directory
 *   (flow + 1) << 32 | slot        what is in it: 1 + file, 31 its messages/, 32 + n message n
 *   2, 0x40000000 | host << 4, (flow + 1) << 32 | 14       a `.flowfs` directory
 *   0x50000000 | version << 4 | 1 + file, 0x40000000 | host << 4 | 1 + file, (flow + 1) << 32 | 15
 * + file a file in it
 *   1 << 62 | view << 56 | group << 8         a directory of `@by` or `@query`; | 14, 15 + file:
 * its
 *                                             `.flowfs`
 *   (flow + 1) << 32 | 27 + depth             a link to a flow
 */
#ifndef FLOWFS_FS_INODE_H
#define FLOWFS_FS_INODE_H

#include "control_file.h"
#include "flowdir.h"
#include "view_place.h"

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
    INODE_VIEW, /* a directory of `@by` or `@query` */
    INODE_LINK,
};

/* Where links lead, which depends on where they stand. One inode can stand for all links of a kind
 * to a flow: what they are is the same. */
enum inode_link {
    LINK_FROM_QUERY, /* @query/EXPRESSION/ to the flow */
    LINK_FROM_GROUP, /* @by/method/GET/ to the flow */
    LINK_TO_BODY,    /* @by/type/image/png/ to response.body */
    LINKS,           /* their number */
};

struct inode {
    enum inode_kind kind;
    uint32_t number;           /* of the host or flow; of the group of a view */
    enum view view;            /* INODE_VIEW, CONTROL_OF_VIEW */
    enum inode_link link;      /* INODE_LINK */
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

uint64_t inode_of_view(struct view_place place);
uint64_t inode_of_link(uint32_t flow, enum inode_link link);

/* Of an INODE_CONTROL or INODE_CONTROL_FILE. Its number is that of the host, flow or group; for the
 * root 0, or in a file that changes (`errors`) its version, so that nobody takes the pages of one
 * version for those of the next. */
uint64_t inode_of_control(const struct inode *control);

static inline struct view_place inode_place(const struct inode *inode)
{
    return (struct view_place){inode->view, inode->number};
}

/* What a number stands for. Whether that host, flow or message exists is not looked at. */
struct inode inode_parse(uint64_t number);

#endif
