#include "ll.h"

#include <errno.h>
#include <stdlib.h>

/* A reply that is being filled with entries. */
struct reply {
    fuse_req_t request;
    char *data;
    size_t size, capacity;
    bool plus;
};

void ll_demand_raise(struct ll_demand *demand)
{
    /* Written only now and then: many threads come by here. */
    if (atomic_load_explicit(&demand->listings, memory_order_relaxed) < LL_DEMAND_LISTINGS / 2)
        atomic_store_explicit(&demand->listings, LL_DEMAND_LISTINGS, memory_order_relaxed);
}

bool ll_demand_is(const struct ll_demand *demand)
{
    return atomic_load_explicit(&demand->listings, memory_order_relaxed) > 0;
}

void ll_demand_lower(struct ll_demand *demand)
{
    if (ll_demand_is(demand))
        atomic_fetch_sub_explicit(&demand->listings, 1, memory_order_relaxed);
}

static bool add_entry(void *context, const struct tree_entry *entry)
{
    struct reply *reply = context;
    char *place = reply->data + reply->size;
    size_t room = reply->capacity - reply->size;
    size_t needed;
    if (reply->plus) {
        /* Inode 0 says that no attributes come with the entry: the kernel makes no node of it and
         * asks when somebody does. So it is for `.` and `..`, which are never looked up. */
        struct fuse_entry_param parameters = {
            .ino = entry->complete ? entry->status.st_ino : 0,
            .attr = entry->status,
            .attr_timeout = ll_attribute_timeout(entry->status.st_ino),
            .entry_timeout = ll_entry_timeout(entry->status.st_ino),
        };
        needed = fuse_add_direntry_plus(reply->request, place, room, entry->name, &parameters,
                                        (off_t)entry->next);
    } else {
        needed = fuse_add_direntry(reply->request, place, room, entry->name, &entry->status,
                                   (off_t)entry->next);
    }
    if (needed > room)
        return false;
    reply->size += needed;
    return true;
}

static void note_start(struct ll_mount *mount, fuse_ino_t inode)
{
    /* Not for the directories of views: to give attributes of links costs little, while to be asked
     * for each link of a large one costs much. */
    if (inode_parse(inode).kind == INODE_FLOW)
        ll_demand_lower(&mount->demand);
    ll_store_note_listing(mount, inode);
}

void ll_list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct reply reply = {request, malloc(size), 0, size, plus};
    if (!reply.data) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    bool complete = plus && ll_demand_is(&mount->demand);
    if (offset == 0)
        note_start(mount, inode);
    bool done =
        tree_list(&mount->tree, inode, (uint64_t)offset, complete, add_entry, &reply, &error);
    if (error.code)
        mount->report(mount->report_context, inode, &error);
    if (done && complete && offset && reply.size == 0)
        ll_store_files(mount, inode);
    if (done)
        fuse_reply_buf(request, reply.data, reply.size);
    else
        fuse_reply_err(request, ll_errno(&error));
    free(reply.data);
}
