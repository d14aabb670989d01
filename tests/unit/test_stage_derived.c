/* What the stage derives of sets: which names there are, what they hold, and that nobody else
 * writes them. */
#include "stage_support.h"

#include "stage_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* All that one may try to do to a file, and to what is called `name` in `parent`. */
static void assert_read_only(struct staged *staged, struct stage_node *parent, const char *name,
                             struct stage_node *node)
{
    struct stage *stage = staged->stage;
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    const struct stage_making making = {.mode = S_IFREG | 0600};
    struct stage_node *other = staged_make(staged, NULL, "other", S_IFREG | 0600);
    struct stage_early early;
    struct stage_entry entry;
    struct flow_error error;
    struct stat before = staged_status(staged, node);
    staged_write(staged, other, "other");
#define assert_refused(call)                                                                       \
    do {                                                                                           \
        error = (struct flow_error){0};                                                            \
        assert_true((int64_t)(call) <= 0);                                                         \
        assert_int_equal(error.code, EROFS);                                                       \
    } while (0)
    assert_refused(stage_is_writable(node, &error));
    assert_refused(stage_set_mode(stage, node, 0777, &error));
    assert_refused(stage_set_owner(stage, node, 1, 1, &error));
    assert_refused(stage_set_size(stage, node, 0, &error));
    assert_refused(stage_set_times(stage, node, times, &error));
    assert_refused(stage_write(stage, node, "x", 1, 0, &early, &error));
    assert_int_equal(early.descriptor, -1);
    assert_refused(stage_allocate(stage, node, 0, 0, 100000, &error));
    assert_refused(stage_copy(stage, other, 0, node, 0, 5, &error));
    assert_refused(stage_set_extended(stage, node, "user.a", "b", 1, 0, &error));
    assert_refused(stage_remove_extended(stage, node, "user.a", &error));
    assert_refused(stage_link(stage, node, staged->top, "link", &entry, &error));
    assert_refused(stage_link(stage, other, parent, name, &entry, &error));
    assert_refused(stage_make(stage, parent, name, &making, &entry, &error));
    assert_int_equal(staged_remove(staged, parent, name, false), EROFS);
    assert_int_equal(staged_remove(staged, parent, name, true), EROFS);
    assert_int_equal(staged_rename(staged, parent, name, NULL, "new", 0), EROFS);
    assert_int_equal(staged_rename(staged, NULL, "other", parent, name, 0), EROFS);
    assert_int_equal(staged_rename(staged, NULL, "other", parent, name, RENAME_EXCHANGE), EROFS);
#undef assert_refused
    struct stat after = staged_status(staged, node);
    if (S_ISREG(after.st_mode)) {
        assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof after.st_mtim);
        assert_int_equal(after.st_mode & 0222, 0);
    }
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(staged_remove(staged, NULL, "other", false), 0);
}

static struct buffer packed(const char *id)
{
    struct buffer text = BUFFER_INIT;
    put_flow(&text, &(struct test_flow){.id = id});
    return text;
}

static void assert_packed(struct staged *staged, struct stage_node *pack, const char *id)
{
    struct buffer expected = packed(id), content = staged_read(staged, pack);
    assert_spans(buffer_bytes(&content), buffer_bytes(&expected));
    buffer_free(&expected);
    buffer_free(&content);
}

static void what_is_derived_is_read_only(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    assert_read_only(staged, staged->top, "set.mitm", staged_find(staged, NULL, "set.mitm"));
    struct stage_node *set = staged_find(staged, NULL, "set");
    struct stage_node *control = staged_find(staged, set, ".flowfs");
    assert_read_only(staged, set, ".flowfs", control);
    assert_read_only(staged, control, "flows.har", staged_find(staged, control, "flows.har"));
    staged_edit_flow(staged, "set", "1", "broken");
    assert_read_only(staged, staged->top, "set.errors", staged_find(staged, NULL, "set.errors"));
    /* Where it is not there its name is taken all the same. */
    const struct stage_making making = {.mode = S_IFREG | 0600};
    struct stage_entry entry;
    struct flow_error error = {0};
    assert_false(stage_make(staged->stage, staged->top, "set.mitm", &making, &entry, &error));
    assert_int_equal(error.code, EROFS);
}

static void a_pack_is_always_current(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    struct stage_node *first = staged_find(staged, NULL, "set.mitm");
    assert_packed(staged, first, "1");
    assert_ptr_equal(staged_find(staged, NULL, "set.mitm"), first);
    assert_true(stage_is_fleeting(staged->stage, staged->top, "set.mitm"));
    staging_remove(&staged->folder, "set/1");
    staged_add_flow(staged, "set", "2");
    struct stage_node *second = staged_find(staged, NULL, "set.mitm");
    assert_ptr_not_equal(second, first);
    assert_packed(staged, second, "2");
    assert_packed(staged, first, "1"); /* who has it open keeps it */
    assert_string_equal(staged_names(staged, NULL), "set set.mitm");
}

static void a_mistake_is_told_beside_the_set(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    struct buffer good = folder_read(&staged->folder, "set/1/request.headers");
    buffer_append_byte(&good, '\0');
    staged_find(staged, NULL, "set.mitm"); /* is on disk, then, and stays there */
    staged_edit_flow(staged, "set", "1", "broken");
    assert_int_equal(staged_look(staged, NULL, "set.mitm"), EBADMSG);
    assert_string_equal(staged_names(staged, NULL), "set set.errors");
    struct buffer text = staged_read(staged, staged_find(staged, NULL, "set.errors"));
    assert_non_null(memmem(text.data, text.size, "1/request.headers:1:", 20));
    buffer_free(&text);
    staged_edit_flow(staged, "set", "1", (const char *)good.data);
    assert_int_equal(staged_look(staged, NULL, "set.errors"), ENOENT);
    assert_packed(staged, staged_find(staged, NULL, "set.mitm"), "1");
    assert_string_equal(staged_names(staged, NULL), "set set.mitm");
    buffer_free(&good);
}

/* The kernel knows NAME.errors when it goes: as long as it does the inode number must not come back
 * as a file of the user's, which would be taken for the derived one. */
static void a_derived_file_that_is_gone_keeps_its_number(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    struct buffer good = folder_read(&staged->folder, "set/1/request.headers");
    buffer_append_byte(&good, '\0');
    staged_edit_flow(staged, "set", "1", "broken");
    struct stage_node *errors = staged_find(staged, NULL, "set.errors");
    staged_edit_flow(staged, "set", "1", (const char *)good.data);
    buffer_free(&good);
    assert_int_equal(staged_look(staged, NULL, "set.errors"), ENOENT);
    assert_int_equal(staged_status(staged, errors).st_nlink, 0);
    staged_edit_flow(staged, "set", "1", "broken");
    assert_ptr_not_equal(staged_find(staged, NULL, "set.errors"), errors);
}

static void derived_files_follow_their_set(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "a", "1");
    staged_add_flow(staged, "b", "2");
    struct stage_node *pack = staged_find(staged, NULL, "a.mitm");
    assert_int_equal(staged_rename(staged, NULL, "a", NULL, "c", 0), 0);
    assert_string_equal(staged_names(staged, NULL), "b b.mitm c c.mitm");
    assert_packed(staged, staged_find(staged, NULL, "c.mitm"), "1");
    assert_packed(staged, pack, "1");
    assert_int_equal(staged_look(staged, NULL, "a.mitm"), ENOENT);
    assert_int_equal(staged_rename(staged, NULL, "b", NULL, "c", RENAME_EXCHANGE), 0);
    assert_packed(staged, staged_find(staged, NULL, "b.mitm"), "1");
    assert_packed(staged, staged_find(staged, NULL, "c.mitm"), "2");
    /* Out of the top it is no set, and back in it is one. */
    struct stage_node *above = staged_folder(staged, NULL, "above");
    assert_int_equal(staged_rename(staged, NULL, "b", above, "b", 0), 0);
    assert_int_equal(staged_look(staged, NULL, "b.mitm"), ENOENT);
    assert_packed(staged, staged_find(staged, NULL, "above.mitm"), "1");
    assert_int_equal(staged_rename(staged, above, "b", NULL, "d", 0), 0);
    assert_packed(staged, staged_find(staged, NULL, "d.mitm"), "1");
    assert_int_equal(staged_remove(staged, NULL, "above", true), 0);
    assert_string_equal(staged_names(staged, NULL), "c c.mitm d d.mitm");
}

static void a_set_is_exchanged_with_a_file(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    staged_write(staged, staged_make(staged, NULL, "file", S_IFREG | 0600), "text");
    assert_int_equal(staged_rename(staged, NULL, "file", NULL, "set", RENAME_EXCHANGE), 0);
    assert_string_equal(staged_names(staged, NULL), "file file.mitm set");
    assert_packed(staged, staged_find(staged, NULL, "file.mitm"), "1");
    assert_int_equal(staged_rename(staged, NULL, "file", NULL, "set", RENAME_EXCHANGE), 0);
    assert_string_equal(staged_names(staged, NULL), "file set set.mitm");
    assert_staged(staged, staged_find(staged, NULL, "file"), "text");
}

/* A user's file may be open when a set needs its name. */
static void what_is_in_the_way_is_known_by_its_new_name(void **state)
{
    struct staged *staged = *state;
    char name[256];
    struct stage_nodes *nodes = stage_nodes_of(staged->stage);
    struct stage_node *file = staged_make(staged, NULL, "set.mitm", S_IFREG | 0600);
    struct stage_node *notes = staged_make(staged, NULL, "set.errors", S_IFREG | 0600);
    struct stage_node *other = staged_make(staged, NULL, "other.mitm", S_IFREG | 0600);
    staged_write(staged, file, "mine");
    staged_folder(staged, NULL, "set");
    assert_string_equal(staged_names(staged, NULL), "other.mitm set set.errors~ set.mitm~");
    stage_node_name(nodes, file, name);
    assert_string_equal(name, "set.mitm~");
    stage_node_name(nodes, notes, name);
    assert_string_equal(name, "set.errors~");
    staged_write(staged, file, "still mine");
    assert_file(&staged->folder, "set.mitm~", "still mine");
    assert_false(folder_has(&staged->folder, "set.mitm"));
    assert_int_equal(staged_rename(staged, NULL, "set", NULL, "other", 0), 0);
    stage_node_name(nodes, other, name);
    assert_string_equal(name, "other.mitm~");
    assert_ptr_equal(staged_find(staged, NULL, "other.mitm~"), other);
    struct stage_node *inner = staged_make(staged, NULL, "inner.mitm", S_IFREG | 0600);
    struct stage_node *set = staged_find(staged, NULL, "other");
    staged_folder(staged, set, "inner");
    assert_int_equal(staged_rename(staged, set, "inner", NULL, "inner", 0), 0);
    stage_node_name(nodes, inner, name);
    assert_string_equal(name, "inner.mitm~");
}

static void conversions_are_made_anew_after_a_change(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    struct stage_node *set = staged_find(staged, NULL, "set");
    struct stage_node *control = staged_find(staged, set, ".flowfs");
    struct stage_node *first = staged_find(staged, control, "flows.mitm");
    assert_packed(staged, first, "1");
    assert_ptr_equal(staged_find(staged, control, "flows.mitm"), first);
    staging_remove(&staged->folder, "set/1");
    staged_add_flow(staged, "set", "2");
    struct stage_node *second = staged_find(staged, control, "flows.mitm");
    assert_ptr_not_equal(second, first);
    assert_packed(staged, second, "2");
    assert_packed(staged, first, "1");
    struct stage_node *flow = staged_find(staged, set, "2");
    struct stage_node *inner = staged_find(staged, flow, ".flowfs");
    assert_staged(staged, staged_find(staged, inner, "raw_request"),
                  "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_packed(staged, staged_find(staged, inner, "flows.mitm"), "2");
    staged_edit_flow(staged, "set", "2", "GET http://example.com/new HTTP/1.1\nA: b\n");
    assert_staged(staged, staged_find(staged, inner, "raw_request"),
                  "GET /new HTTP/1.1\r\nA: b\r\n\r\n");
}

static void control_is_where_flows_are(void **state)
{
    struct staged *staged = *state;
    staged_add_flow(staged, "set", "1");
    struct stage_node *set = staged_find(staged, NULL, "set");
    struct stage_node *empty = staged_folder(staged, set, "empty");
    assert_int_equal(staged_look(staged, empty, ".flowfs"), ENOENT);
    assert_int_equal(staged_look(staged, NULL, ".flowfs"), ENOENT);
    struct stage_node *control = staged_find(staged, set, ".flowfs");
    assert_int_equal(staged_look(staged, control, "curl"), ENOENT);
    assert_int_equal(staged_look(staged, control, "none"), ENOENT);
    assert_string_equal(staged_names(staged, set), "1 empty");
    assert_string_equal(
        staged_names(staged, control),
        "flows.csv flows.har flows.jsonl flows.mitm flows.mitm.gz stats.json stats.txt");
    staged_edit_flow(staged, "set", "1", "broken");
    assert_int_equal(staged_look(staged, control, "flows.har"), EBADMSG);
    struct stat status = staged_status(staged, control);
    assert_true(S_ISDIR(status.st_mode) && status.st_nlink == 2);
}

static void syncing_a_set_commits_it(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    staged_add_flow(staged, "set", "1");
    struct stage_node *set = staged_find(staged, NULL, "set");
    struct buffer expected = packed("1");
    assert_true(stage_sync(staged->stage, set, false, &error));
    struct buffer content = folder_read(&staged->folder, "set.mitm");
    assert_spans(buffer_bytes(&content), buffer_bytes(&expected));
    buffer_free(&content);
    buffer_free(&expected);
    /* What is no set's is synced, too. */
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0600);
    assert_true(stage_sync(staged->stage, file, true, &error));
    assert_true(stage_sync(staged->stage, staged->top, false, &error));
    assert_true(stage_sync(staged->stage, staged_find(staged, NULL, "set.mitm"), false, &error));
    assert_true(stage_sync(staged->stage, staged_find(staged, set, ".flowfs"), false, &error));
}

static void which_names_may_come_and_go(void **state)
{
    struct staged *staged = *state;
    struct stage_node *set = staged_folder(staged, NULL, "set");
    struct stage_node *control = staged_find(staged, set, ".flowfs");
    assert_true(stage_is_fleeting(staged->stage, staged->top, "any.mitm"));
    assert_true(stage_is_fleeting(staged->stage, staged->top, "any.errors"));
    assert_true(stage_is_fleeting(staged->stage, set, ".flowfs"));
    assert_true(stage_is_fleeting(staged->stage, control, "flows.har"));
    assert_false(stage_is_fleeting(staged->stage, staged->top, "any.mitm~"));
    assert_false(stage_is_fleeting(staged->stage, staged->top, "set"));
    assert_false(stage_is_fleeting(staged->stage, set, "any.mitm"));
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, staged_open, staged_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGED(what_is_derived_is_read_only),
        STAGED(a_pack_is_always_current),
        STAGED(a_mistake_is_told_beside_the_set),
        STAGED(a_derived_file_that_is_gone_keeps_its_number),
        STAGED(derived_files_follow_their_set),
        STAGED(a_set_is_exchanged_with_a_file),
        STAGED(what_is_in_the_way_is_known_by_its_new_name),
        STAGED(conversions_are_made_anew_after_a_change),
        STAGED(control_is_where_flows_are),
        STAGED(syncing_a_set_commits_it),
        STAGED(which_names_may_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
