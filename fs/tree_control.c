#include "tree_node.h"

#include <errno.h>

struct inode tree_control_of(const struct inode *inode)
{
    switch (inode->kind) {
    case INODE_ROOT:
        return (struct inode){.kind = INODE_CONTROL, .owner = CONTROL_OF_ROOT};
    case INODE_HOST:
        return (struct inode){
            .kind = INODE_CONTROL, .owner = CONTROL_OF_HOST, .number = inode->number};
    case INODE_FLOW:
        return (struct inode){
            .kind = INODE_CONTROL, .owner = CONTROL_OF_FLOW, .number = inode->number};
    case INODE_VIEW:
        if (!views_has_links(inode_place(inode)))
            break;
        return (struct inode){.kind = INODE_CONTROL,
                              .owner = CONTROL_OF_VIEW,
                              .view = inode->view,
                              .number = inode->number};
    default:
        break;
    }
    return (struct inode){0};
}

static const struct index *index_of(const struct tree *tree)
{
    return collection_index(tree->collection);
}

/* By what the index knows; whether the content was captured shows only when it is read. */
static bool flow_has(const struct index_flow *flow, enum control_file file)
{
    if (file <= CONTROL_STATS_TXT)
        return true;
    if (flow->type != FLOW_HTTP)
        return false;
    return file != CONTROL_RAW_RESPONSE || flow->files & flowdir_bit(FLOWDIR_RESPONSE_HEADERS);
}

bool tree_control_exists(const struct tree *tree, const struct inode *inode)
{
    const struct index *index = index_of(tree);
    switch (inode->owner) {
    case CONTROL_OF_ROOT:
        return true;
    case CONTROL_OF_HOST:
        return inode->number < index_host_count(index);
    case CONTROL_OF_VIEW:
        return views_exists(tree->views, inode_place(inode));
    case CONTROL_OF_FLOW:
        return inode->number < index_flow_count(index) &&
               (inode->kind == INODE_CONTROL ||
                flow_has(index_flow(index, inode->number), inode->control));
    }
    return false;
}

static int64_t time_of(const struct tree *tree, const struct inode *inode)
{
    const struct index *index = index_of(tree);
    int64_t newest = index_newest(index);
    if (inode->owner == CONTROL_OF_FLOW)
        return index_flow(index, inode->number)->start;
    if (inode->owner == CONTROL_OF_HOST)
        newest = atomic_load(&index_host(index, inode->number)->newest);
    if (inode->owner == CONTROL_OF_VIEW)
        return views_time(tree->views, inode_place(inode));
    return newest == INT64_MIN ? 0 : newest;
}

bool tree_control_attributes(const struct tree *tree, const struct inode *inode,
                             struct stat *status, struct flow_error *error)
{
    if (inode->kind == INODE_CONTROL) {
        tree_set_directory(tree, inode_of_control(inode), 0, time_of(tree, inode), status);
        return true;
    }
    const struct control_content *content = control_get(tree->control, inode, error);
    if (!content)
        return false;
    tree_set_file(tree, inode_of_control(inode), content->size, time_of(tree, inode), status);
    control_release(tree->control, content);
    return true;
}

bool tree_control_lookup(const struct tree *tree, const struct inode *directory, struct bytes name,
                         struct stat *status, struct flow_error *error)
{
    struct inode inode = *directory;
    inode.kind = INODE_CONTROL_FILE;
    inode.control = control_file_of_name(name);
    if (inode.control == CONTROL_FILES || !control_file_belongs(inode.control, inode.owner) ||
        !tree_control_exists(tree, &inode))
        return tree_no_such_node(error);
    if (inode.control == CONTROL_ERRORS)
        inode.number = control_errors_version(tree->control);
    return tree_control_attributes(tree, &inode, status, error);
}

bool tree_control_read(const struct tree *tree, const struct inode *inode, uint64_t offset,
                       size_t size, void *scratch, struct tree_piece *piece,
                       struct flow_error *error)
{
    piece->content = control_get(tree->control, inode, error);
    return piece->content &&
           control_read(piece->content, offset, size, scratch, &piece->piece, error);
}
