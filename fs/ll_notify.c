#include "ll.h"

static void forget_content(void *context, uint64_t inode)
{
    struct ll_mount *mount = context;
    fuse_lowlevel_notify_inval_inode(mount->session, inode, 0, 0);
}

/* All of them may have new links or groups; their times tell the kernel whether they do. */
static void forget_view_attributes(struct ll_mount *mount)
{
    struct view_place place = {0};
    for (int view = 0; view < VIEWS; view++) {
        place.view = (enum view)view;
        /* The types have groups alone (view_place.h). */
        place.group = view == VIEW_SUBTYPE;
        for (; views_exists(mount->tree.views, place); place.group++)
            fuse_lowlevel_notify_inval_inode(mount->session, inode_of_view(place), -1, 0);
    }
}

/* The kernel keeps listings, and which names are not there, until it is told. What it does not know
 * needs no word: those calls fail, and that is no loss. */
void ll_notify_added(struct ll_mount *mount, uint32_t first, uint32_t first_host)
{
    const struct index *index = collection_index(mount->tree.collection);
    uint32_t hosts = index_host_count(index);
    uint32_t flows = index_flow_count(index);
    struct name name;
    for (uint32_t host = first_host; host < hosts; host++) {
        struct bytes host_name = index_host(index, host)->name;
        fuse_lowlevel_notify_inval_entry(mount->session, INODE_ROOT_NUMBER,
                                         (const char *)host_name.data, host_name.size);
    }
    for (uint32_t flow = first; flow < flows; flow++) {
        uint64_t host = inode_of_host(index_flow(index, flow)->host);
        index_flow_name(index, flow, &name);
        fuse_lowlevel_notify_inval_entry(mount->session, host, name.text, name.size);
        fuse_lowlevel_notify_inval_inode(mount->session, host, 0, 0);
    }
    forget_view_attributes(mount);
    /* What shows all flows, or those of a host, has grown. */
    control_visit(mount->tree.control, forget_content, mount);
    /* Its time, and if hosts were added its listing. */
    fuse_lowlevel_notify_inval_inode(mount->session, INODE_ROOT_NUMBER, hosts > first_host ? 0 : -1,
                                     0);
}

/* The listing, too: who has the folder open and reads it from its start again is not asked to look
 * at its time. Nothing waits for that: no request is about the pages of a listing. */
void ll_notify_staging(struct ll_mount *mount)
{
    fuse_lowlevel_notify_inval_inode(mount->session, STAGE_TOP_NUMBER, 0, 0);
}
