/* Directories that are made in `@query`, which saves the query of that name, and removed.
 *
 * Before it sends MKDIR the kernel looks the name up, and a name that is looked up is a query and
 * there. So to who is about to make one we say that it is not, unless it is saved. */
#include "caller.h"
#include "ll.h"

#include <errno.h>

bool ll_query_is_parent(fuse_ino_t inode)
{
    return inode == inode_of_view((struct view_place){VIEW_QUERY, 0});
}

bool ll_query_denies(fuse_req_t request, const struct ll_mount *mount, const char *name)
{
    enum views_query_state state = views_query_state(mount->tree.views, bytes_of(name));
    if (state == VIEWS_QUERY_SAVED)
        return false;
    enum caller_act act = caller_act(fuse_req_ctx(request)->pid);
    return act == CALLER_MAKES_DIRECTORY || (act == CALLER_REMOVES && state == VIEWS_QUERY_NONE);
}

void ll_query_mkdir(fuse_req_t request, struct ll_mount *mount, const char *name)
{
    struct flow_error error = {0};
    struct view_place place = {VIEW_QUERY, 0};
    struct fuse_entry_param entry = {0}; /* the kernel keeps nothing of it, as with every query */
    if (views_save_query(mount->tree.views, bytes_of(name), &place.group, &error) &&
        tree_attributes(&mount->tree, inode_of_view(place), &entry.attr, &error)) {
        entry.ino = entry.attr.st_ino;
        fuse_reply_entry(request, &entry);
    } else {
        fuse_reply_err(request, error.code);
    }
}

void ll_query_rmdir(fuse_req_t request, struct ll_mount *mount, const char *name)
{
    struct flow_error error = {0};
    bool done = views_forget_query(mount->tree.views, bytes_of(name), &error);
    fuse_reply_err(request, done ? 0 : error.code);
}
