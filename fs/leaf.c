#include "leaf.h"

#include <stdlib.h>

struct entry {
    uint32_t flow;
    uint32_t copies; /* of the first of that name: how many there are */
    size_t name;     /* where it stands in the names */
};

struct leaf {
    struct entry *entries;
    uint32_t count, capacity;
    struct buffer names; /* each with its NUL */
    struct hash_table table;
};

struct leaf *leaf_open(void)
{
    return calloc(1, sizeof(struct leaf));
}

void leaf_close(struct leaf *leaf)
{
    if (!leaf)
        return;
    hash_table_close(&leaf->table);
    buffer_free(&leaf->names);
    free(leaf->entries);
    free(leaf);
}

uint32_t leaf_count(const struct leaf *leaf)
{
    return leaf->count;
}

uint32_t leaf_flow(const struct leaf *leaf, uint32_t entry)
{
    return leaf->entries[entry].flow;
}

const char *leaf_name(const struct leaf *leaf, uint32_t entry)
{
    return (const char *)leaf->names.data + leaf->entries[entry].name;
}

struct search {
    const struct leaf *leaf;
    struct bytes name;
};

static bool is_named(const void *context, uint32_t number)
{
    const struct search *search = context;
    return bytes_equal_text(search->name, leaf_name(search->leaf, number));
}

uint32_t leaf_find(const struct leaf *leaf, struct bytes name)
{
    struct search search = {leaf, name};
    return hash_table_find(&leaf->table, bytes_hash(name, 0), is_named, &search);
}

/* The extension stands behind the number of the copy, for it is what programs go by. What leaves no
 * room for it goes without. */
static void make_name(struct name *name, struct bytes text, uint32_t copy, const char *extension)
{
    size_t size = strlen(extension);
    name_make(name, text, copy);
    if (name->size + size > NAME_LONGEST)
        return;
    memcpy(name->text + name->size, extension, size + 1);
    name->size = (uint16_t)(name->size + size);
}

static bool reserve(struct leaf *leaf)
{
    if (leaf->count < leaf->capacity)
        return true;
    uint32_t capacity = leaf->capacity ? leaf->capacity * 2 : 16;
    struct entry *entries = realloc(leaf->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    leaf->entries = entries;
    leaf->capacity = capacity;
    return true;
}

bool leaf_add(struct leaf *leaf, uint32_t flow, struct bytes text, const char *extension)
{
    struct name name;
    if (!reserve(leaf) || !hash_table_reserve(&leaf->table) ||
        !buffer_reserve(&leaf->names, sizeof name.text))
        return false;
    make_name(&name, text, 1, extension);
    uint32_t first = leaf_find(leaf, name_bytes(&name));
    if (first != HASH_TABLE_NONE)
        make_name(&name, text, ++leaf->entries[first].copies, extension);
    leaf->entries[leaf->count] = (struct entry){flow, 1, leaf->names.size};
    buffer_append(&leaf->names, name.text, (size_t)name.size + 1);
    hash_table_add(&leaf->table, bytes_hash(name_bytes(&name), 0), leaf->count++);
    return true;
}

size_t leaf_footprint(const struct leaf *leaf)
{
    return sizeof *leaf + leaf->capacity * sizeof *leaf->entries + leaf->names.capacity +
           leaf->table.footprint;
}
