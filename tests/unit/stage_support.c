#include "stage_support.h"

#include "stage_inside.h"
#include "stage_node_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void note_change(void *context)
{
    struct staged *staged = context;
    staged->changes++;
}

static int count_descriptors(void)
{
    int count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++)
        count += fcntl(descriptor, F_GETFD) >= 0;
    return count;
}

static int open_one(void **state, bool shared)
{
    struct staged *staged = calloc(1, sizeof *staged);
    struct flow_error error = {0};
    folder_open(&staged->folder);
    staged->descriptors = count_descriptors();
    const struct stage_options options = {
        .folder = staged->folder.descriptor,
        .shared = shared,
        .format_version = 21,
        .changed = note_change,
        .changed_context = staged,
    };
    staged->stage = stage_open(&options, &error);
    if (!staged->stage)
        fail_msg("%s", error.message);
    staged->top = stage_nodes_top(stage_nodes_of(staged->stage));
    *state = staged;
    return 0;
}

int staged_open(void **state)
{
    return open_one(state, false);
}

int staged_open_shared(void **state)
{
    return open_one(state, true);
}

int staged_close(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    staged_forget_all(staged);
    assert_int_equal(staged_count(staged), 1);
    if (!stage_close(staged->stage, &error))
        fail_msg("%s", error.message);
    assert_int_equal(count_descriptors(), staged->descriptors);
    folder_close(&staged->folder);
    free((void *)staged->known);
    free(staged);
    return 0;
}

struct stage_node *staged_know(struct staged *staged, struct stage_node *node)
{
    struct stage_node **known =
        realloc((void *)staged->known, (staged->known_count + 1) * sizeof *known);
    assert_non_null(known);
    staged->known = known;
    known[staged->known_count++] = node;
    return node;
}

void staged_forget(struct staged *staged, struct stage_node *node)
{
    for (size_t i = staged->known_count; i; i--)
        if (staged->known[i - 1] == node) {
            staged->known[i - 1] = staged->known[--staged->known_count];
            stage_node_forget(stage_nodes_of(staged->stage), node, 1);
            return;
        }
    fail_msg("the kernel does not know the node");
}

void staged_forget_all(struct staged *staged)
{
    while (staged->known_count)
        staged_forget(staged, staged->known[0]);
}

size_t staged_count(const struct staged *staged)
{
    return stage_nodes_of(staged->stage)->count;
}

static struct stage_node *or_top(struct staged *staged, struct stage_node *parent)
{
    return parent ? parent : staged->top;
}

struct stage_node *staged_find(struct staged *staged, struct stage_node *parent, const char *name)
{
    struct flow_error error = {0};
    struct stage_entry entry;
    if (!stage_lookup(staged->stage, or_top(staged, parent), name, &entry, &error))
        fail_msg("%s: %s", name, error.message);
    return staged_know(staged, entry.node);
}

struct stage_node *staged_make(struct staged *staged, struct stage_node *parent, const char *name,
                               mode_t mode)
{
    const struct stage_making making = {.mode = mode, .owner = geteuid(), .group = getegid()};
    struct flow_error error = {0};
    struct stage_entry entry;
    if (!stage_make(staged->stage, or_top(staged, parent), name, &making, &entry, &error))
        fail_msg("%s: %s", name, error.message);
    return staged_know(staged, entry.node);
}

struct stage_node *staged_folder(struct staged *staged, struct stage_node *parent, const char *name)
{
    return staged_make(staged, parent, name, S_IFDIR | 0755);
}

struct stat staged_status(struct staged *staged, struct stage_node *node)
{
    struct flow_error error = {0};
    struct stat status;
    if (!stage_attributes(staged->stage, node, &status, &error))
        fail_msg("%s", error.message);
    return status;
}

int staged_look(struct staged *staged, struct stage_node *parent, const char *name)
{
    struct flow_error error = {0};
    struct stage_entry entry;
    if (stage_lookup(staged->stage, or_top(staged, parent), name, &entry, &error))
        stage_node_forget(stage_nodes_of(staged->stage), entry.node, 1);
    else
        assert_int_not_equal(error.code, 0);
    return error.code;
}

int staged_remove(struct staged *staged, struct stage_node *parent, const char *name, bool folder)
{
    struct flow_error error = {0};
    stage_remove(staged->stage, or_top(staged, parent), name, folder, &error);
    return error.code;
}

int staged_rename(struct staged *staged, struct stage_node *parent, const char *name,
                  struct stage_node *new_parent, const char *new_name, unsigned flags)
{
    struct flow_error error = {0};
    stage_rename(staged->stage, or_top(staged, parent), name, or_top(staged, new_parent), new_name,
                 flags, &error);
    return error.code;
}

void staged_write(struct staged *staged, struct stage_node *node, const char *text)
{
    struct flow_error error = {0};
    struct stage_early early;
    size_t size = strlen(text);
    if (!stage_set_size(staged->stage, node, 0, &error) ||
        stage_write(staged->stage, node, text, size, 0, &early, &error) != (int64_t)size)
        fail_msg("%s", error.message);
    stage_write_early(&early);
}

struct buffer staged_read(struct staged *staged, struct stage_node *node)
{
    char path[64];
    struct flow_error error = {0};
    int descriptor = stage_read(staged->stage, node, &error);
    if (descriptor < 0)
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    struct buffer content = test_read_file(path);
    stage_read_done(staged->stage, node);
    return content;
}

void assert_staged(struct staged *staged, struct stage_node *node, const char *text)
{
    struct buffer content = staged_read(staged, node);
    assert_bytes(buffer_bytes(&content), text);
    buffer_free(&content);
}

#define MOST_NAMES 512

struct names {
    char *items[MOST_NAMES];
    size_t count;
};

static bool add_name(void *context, const struct stage_listed *listed)
{
    struct names *names = context;
    if (strcmp(listed->name, ".") != 0 && strcmp(listed->name, "..") != 0) {
        assert_true(names->count < MOST_NAMES);
        names->items[names->count++] = strdup(listed->name);
    }
    assert_null(listed->entry.node);
    return true;
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

const char *staged_names(struct staged *staged, struct stage_node *folder)
{
    static char text[8192];
    struct flow_error error = {0};
    struct names names = {.count = 0};
    size_t size = 0;
    if (!stage_list(staged->stage, or_top(staged, folder), 0, false, add_name, &names, &error))
        fail_msg("%s", error.message);
    qsort((void *)names.items, names.count, sizeof *names.items, compare_names);
    text[0] = '\0';
    for (size_t i = 0; i < names.count; i++) {
        size +=
            (size_t)snprintf(text + size, sizeof text - size, "%s%s", i ? " " : "", names.items[i]);
        assert_true(size < sizeof text);
        free(names.items[i]);
    }
    return text;
}

void staged_add_flow(struct staged *staged, const char *set, const char *name)
{
    char path[256];
    struct test_flow flow = {.id = name};
    if (staged_look(staged, NULL, set) == ENOENT)
        staged_folder(staged, NULL, set);
    snprintf(path, sizeof path, "%s/%s", set, name);
    staging_add(&staged->folder, path, &flow);
    stage_touch(staged->stage);
}

void staged_edit_flow(struct staged *staged, const char *set, const char *name, const char *line)
{
    struct stage_node *folder = staged_find(staged, staged_find(staged, NULL, set), name);
    staged_write(staged, staged_find(staged, folder, "request.headers"), line);
}
