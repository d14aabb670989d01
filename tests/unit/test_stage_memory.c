/* No memory: each allocation of what the stage does fails in turn, alone or with all that follow.
 * Nothing crashes or leaks, no node is left over, and what fails says ENOMEM. */
#include "failing_memory.h"
#include "stage_support.h"

#include "stage_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool step(bool done, const struct flow_error *error)
{
    if (!done && error->code != ENOMEM)
        fail_msg("%d, %s", error->code, error->message);
    return done;
}

static void forget(struct stage *stage, struct stage_node *node)
{
    stage_node_forget(stage_nodes_of(stage), node, 1);
}

static bool take_entry(void *context, const struct stage_listed *listed)
{
    if (listed->entry.node)
        forget(context, listed->entry.node);
    return true;
}

/* NULL: no memory. */
static struct stage_node *find(struct stage *stage, struct stage_node *parent, const char *name)
{
    struct flow_error error = {0};
    struct stage_entry entry;
    return step(stage_lookup(stage, parent, name, &entry, &error), &error) ? entry.node : NULL;
}

static struct stage_node *make(struct stage *stage, struct stage_node *parent, const char *name)
{
    const struct stage_making making = {
        .mode = S_IFREG | 0600, .owner = geteuid(), .group = getegid()};
    struct flow_error error = {0};
    struct stage_entry entry;
    return step(stage_make(stage, parent, name, &making, &entry, &error), &error) ? entry.node
                                                                                  : NULL;
}

static void convert(struct stage *stage, struct stage_node *set)
{
    struct stage_node *control = find(stage, set, ".flowfs");
    struct stage_node *file = control ? find(stage, control, "flows.mitm") : NULL;
    if (file)
        forget(stage, file);
    if (control)
        forget(stage, control);
}

static void change(struct stage *stage, struct stage_node *set, struct stage_node *file)
{
    struct flow_error error = {0};
    struct stage_early early;
    struct stage_entry entry;
    struct stage_node *top = stage_nodes_top(stage_nodes_of(stage));
    step(stage_write(stage, file, "text", 4, 0, &early, &error) == 4, &error);
    stage_write_early(&early);
    error = (struct flow_error){0};
    if (step(stage_link(stage, file, top, "link", &entry, &error), &error))
        forget(stage, entry.node);
    error = (struct flow_error){0};
    step(stage_rename(stage, set, "file", top, "moved", 0, &error), &error);
    error = (struct flow_error){0};
    step(stage_write(stage, file, "more", 4, 4, &early, &error) == 4, &error);
    stage_write_early(&early);
    error = (struct flow_error){0};
    step(stage_remove(stage, top, "moved", false, &error), &error);
    error = (struct flow_error){0};
    step(stage_write(stage, file, "last", 4, 8, &early, &error) == 4, &error);
    stage_write_early(&early);
    error = (struct flow_error){0};
    step(stage_rename(stage, top, "set", top, "other", 0, &error), &error);
}

static void ignore_change(void *context)
{
    (void)context;
}

/* All that a stage does; each step goes as far as memory allows. */
static void work(const struct folder *folder)
{
    const struct stage_options options = {
        .folder = folder->descriptor, .format_version = 21, .changed = ignore_change};
    struct flow_error error = {0};
    struct stage *stage = stage_open(&options, &error);
    if (!step(stage != NULL, &error))
        return;
    struct stage_node *top = stage_nodes_top(stage_nodes_of(stage));
    struct stage_node *set = find(stage, top, "set");
    struct stage_node *pack = find(stage, top, "set.mitm");
    if (pack)
        forget(stage, pack);
    step(stage_list(stage, top, 0, true, take_entry, stage, &error), &error);
    if (set)
        convert(stage, set);
    struct stage_node *file = set ? make(stage, set, "file") : NULL;
    if (file) {
        change(stage, set, file);
        forget(stage, file);
    }
    if (set)
        forget(stage, set);
    error = (struct flow_error){0};
    step(stage_close(stage, &error), &error);
}

static void work_without(size_t number, bool all)
{
    struct folder folder;
    folder_open(&folder);
    staging_add(&folder, "set/1", &(struct test_flow){.id = "1"});
    int before = live;
    allocations = 0;
    fail_all = all;
    fail_at = number;
    is_tested = true;
    work(&folder);
    is_tested = false;
    if (live != before)
        fail_msg("allocation %zu fails: %d pieces of memory leak", number, live - before);
    folder_close(&folder);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    only_tested = true; /* the packer's allocations come when they come */
    work_without(0, false);
    size_t needed = allocations;
    print_message("# %zu allocations\n", needed);
    for (int all = 0; all < 2; all++)
        for (size_t number = 1; number <= needed; number++)
            work_without(number, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
