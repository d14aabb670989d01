/* `@by`, `@query`, and the links in them. */
#include "tree_node.h"

#include <errno.h>

static const struct {
    const char *name;
    enum view view;
} roots[TREE_VIEW_ROOTS] = {{"@by", VIEW_BY}, {"@query", VIEW_QUERY}};

const char *tree_view_root(size_t number, struct view_place *place)
{
    *place = (struct view_place){roots[number].view, 0};
    return roots[number].name;
}

bool tree_view_exists(const struct tree *tree, const struct inode *inode)
{
    return views_exists(tree->views, inode_place(inode));
}

void tree_view_attributes(const struct tree *tree, struct view_place place, struct stat *status)
{
    int64_t directories = views_directories(tree->views, place);
    tree_set_directory(tree, inode_of_view(place), directories < 0 ? 0 : (nlink_t)directories,
                       views_time(tree->views, place), status);
    /* The old word for "who knows", which keeps find from counting. */
    if (directories < 0)
        status->st_nlink = 1;
}

static enum inode_link link_of(enum view view)
{
    return view == VIEW_QUERY     ? LINK_FROM_QUERY
           : view == VIEW_SUBTYPE ? LINK_TO_BODY
                                  : LINK_FROM_GROUP;
}

bool tree_view_target(const struct tree *tree, const struct inode *link, struct buffer *target)
{
    static const char *const up[] = {
        [LINK_FROM_QUERY] = "../../",
        [LINK_FROM_GROUP] = "../../../",
        [LINK_TO_BODY] = "../../../../",
    };
    struct name name;
    const struct index *index = collection_index(tree->collection);
    index_flow_name(index, link->number, &name);
    buffer_append_text(target, up[link->link]);
    buffer_append_bytes(target, index_host(index, index_flow(index, link->number)->host)->name);
    buffer_append_byte(target, '/');
    buffer_append_bytes(target, name_bytes(&name));
    if (link->link == LINK_TO_BODY) {
        buffer_append_byte(target, '/');
        buffer_append_text(target, flowdir_file_name(FLOWDIR_RESPONSE_BODY));
    }
    return !target->failed;
}

bool tree_link_attributes(const struct tree *tree, const struct inode *link, struct stat *status,
                          struct flow_error *error)
{
    struct buffer target = BUFFER_INIT;
    bool done = tree_view_target(tree, link, &target) || flow_error_memory(error);
    tree_set_file(tree, inode_of_link(link->number, link->link), target.size,
                  index_flow(collection_index(tree->collection), link->number)->start, status);
    status->st_mode = S_IFLNK | 0777;
    status->st_blocks = 0;
    buffer_free(&target);
    return done;
}

bool tree_view_lookup(const struct tree *tree, struct view_place place, struct bytes name,
                      struct stat *status, struct flow_error *error)
{
    struct view_place found;
    struct inode link = {.kind = INODE_LINK, .link = link_of(place.view)};
    if (views_has_links(place))
        return views_find_link(tree->views, place, name, &link.number, error) &&
               tree_link_attributes(tree, &link, status, error);
    if (!views_find(tree->views, place, name, &found, error))
        return false;
    tree_view_attributes(tree, found, status);
    return true;
}

uint64_t tree_view_parent(const struct tree *tree, struct view_place place)
{
    if (!place.group && (place.view == VIEW_BY || place.view == VIEW_QUERY))
        return INODE_ROOT_NUMBER;
    return inode_of_view(views_parent(tree->views, place));
}

/* A listing of links. */
struct listing {
    const struct tree *tree;
    enum inode_link link;
    bool complete;
    tree_emit *emit;
    void *context;
};

static bool emit_link(void *context, uint32_t entry, const char *name, uint32_t flow)
{
    const struct listing *listing = context;
    struct flow_error ignored = {0};
    struct inode link = {.kind = INODE_LINK, .number = flow, .link = listing->link};
    struct tree_entry emitted = {.name = name, .next = (uint64_t)entry + TREE_BEHIND_DOTS + 1};
    emitted.complete =
        listing->complete && tree_link_attributes(listing->tree, &link, &emitted.status, &ignored);
    if (!emitted.complete)
        emitted.status =
            (struct stat){.st_ino = inode_of_link(flow, link.link), .st_mode = S_IFLNK};
    return listing->emit(listing->context, &emitted);
}

static void list_directories(const struct listing *listing, struct view_place place, uint64_t from)
{
    struct view_place found;
    struct name name;
    struct tree_entry entry = {.name = name.text};
    while (views_next(listing->tree->views, place, &from, &found, &name)) {
        entry.next = from + TREE_BEHIND_DOTS;
        entry.complete = true;
        tree_view_attributes(listing->tree, found, &entry.status);
        if (!listing->emit(listing->context, &entry))
            return;
    }
}

bool tree_view_list(const struct tree *tree, struct view_place place, uint64_t from,
                    bool attributes, tree_emit *emit, void *context, struct flow_error *error)
{
    struct listing listing = {tree, link_of(place.view), attributes, emit, context};
    uint64_t first = from > TREE_BEHIND_DOTS ? from - TREE_BEHIND_DOTS : 0;
    if (views_has_links(place))
        return views_list(tree->views, place, first, emit_link, &listing, error);
    list_directories(&listing, place, first);
    return true;
}
