/* Extended attributes of bodies. */
#include "media_type.h"
#include "tree_node.h"

#include <errno.h>

static bool no_attribute(struct flow_error *error)
{
    flow_error_set(error, ENODATA, FLOW_ERROR_NO_OFFSET, "no such attribute");
    return false;
}

static const char media_type_name[] = "user.mime_type";
static const char url_name[] = "user.xdg.origin.url";

/* The message whose body the node is, or NULL. */
static const struct flow_message *message_of_body(const struct flowdir *directory,
                                                  enum flowdir_file file)
{
    const struct flow *flow = &directory->loaded.flow;
    bool request = file == FLOWDIR_REQUEST_BODY || file == FLOWDIR_REQUEST_BODY_RAW;
    bool response = file == FLOWDIR_RESPONSE_BODY || file == FLOWDIR_RESPONSE_BODY_RAW;
    if (!flowdir_has(directory, file) || (!request && !response))
        return NULL;
    return request ? &flow->request : &flow->response;
}

static bool append_attribute(const struct flowdir *directory, enum flowdir_file file,
                             struct bytes name, struct buffer *value, struct flow_error *error)
{
    const struct flow_message *message = message_of_body(directory, file);
    struct bytes type = message ? media_type_of_message(message) : bytes_make("", 0);
    if (message && bytes_equal_text(name, url_name))
        flow_target_pretty_url(&directory->loaded.flow.target, value);
    else if (type.size && bytes_equal_text(name, media_type_name))
        buffer_append_bytes(value, type);
    else
        return no_attribute(error);
    return !value->failed || flow_error_memory(error);
}

bool tree_extended_attribute(const struct tree *tree, uint64_t number, struct bytes name,
                             struct buffer *value, struct flow_error *error)
{
    struct inode inode = inode_parse(number);
    /* ls and others ask each node for attributes that no node has: no flow is read for them. */
    if (inode.kind != INODE_FILE ||
        (!bytes_equal_text(name, media_type_name) && !bytes_equal_text(name, url_name)))
        return no_attribute(error);
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    struct cached_flow *cached = flow_cache_get(tree->cache, inode.number, error);
    if (!cached)
        return false;
    bool done = append_attribute(cached_flow_directory(cached), inode.file, name, value, error);
    flow_cache_release(tree->cache, cached);
    return done;
}

bool tree_extended_attribute_names(const struct tree *tree, uint64_t number, struct buffer *names,
                                   struct flow_error *error)
{
    struct inode inode = inode_parse(number);
    if (inode.kind != INODE_FILE)
        return true;
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    struct cached_flow *cached = flow_cache_get(tree->cache, inode.number, error);
    if (!cached)
        return false;
    const struct flow_message *message = message_of_body(cached_flow_directory(cached), inode.file);
    if (message && media_type_of_message(message).size)
        buffer_append(names, media_type_name, sizeof media_type_name);
    if (message)
        buffer_append(names, url_name, sizeof url_name);
    flow_cache_release(tree->cache, cached);
    return !names->failed || flow_error_memory(error);
}
