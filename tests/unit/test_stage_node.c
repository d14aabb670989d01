/* Nodes of staged files, in a folder of their own below $TMPDIR. */
#include "stage_node.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char path[64];
    int folder;
    struct stage_nodes *nodes;
    struct stage_node *top;
};

#define MOST_OPEN 12

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct flow_error error = {0};
    snprintf(fixture->path, sizeof fixture->path, "/var/tmp/test_stage_node-XXXXXX");
    assert_non_null(mkdtemp(fixture->path));
    fixture->folder = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->nodes = stage_nodes_open(fixture->folder, MOST_OPEN, &error);
    assert_non_null(fixture->nodes);
    fixture->top = stage_nodes_top(fixture->nodes);
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    stage_nodes_close(fixture->nodes);
    close(fixture->folder);
    snprintf(command, sizeof command, "rm -r %s", fixture->path);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static void put_file(const struct fixture *fixture, const char *name, const char *content)
{
    int descriptor = openat(fixture->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, content, strlen(content)), (ssize_t)strlen(content));
    close(descriptor);
}

static struct stage_node *find_in(struct fixture *fixture, struct stage_node *parent,
                                  const char *name)
{
    struct flow_error error = {0};
    struct stat status;
    struct stage_node *node = stage_node_find(fixture->nodes, parent, name, &status, &error);
    assert_non_null(node);
    assert_int_equal(error.code, 0);
    return node;
}

static struct stage_node *find(struct fixture *fixture, const char *name)
{
    return find_in(fixture, fixture->top, name);
}

/* What is read by the node's own descriptor. */
static void assert_content(struct fixture *fixture, struct stage_node *node, const char *content)
{
    char text[64] = "";
    struct flow_error error = {0};
    int descriptor = stage_node_hold(fixture->nodes, node, STAGE_READ, &error);
    assert_true(descriptor >= 0);
    assert_true(pread(descriptor, text, sizeof text - 1, 0) >= 0);
    assert_string_equal(text, content);
    stage_node_release(node);
}

static int count_descriptors(void)
{
    int count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++)
        count += fcntl(descriptor, F_GETFD) >= 0;
    return count;
}

static void a_number_leads_back_to_its_node(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a", "1");
    struct stage_node *node = find(fixture, "a");
    assert_true(stage_is_node(stage_node_number(node)));
    assert_ptr_equal(stage_node_of(fixture->nodes, stage_node_number(node)), node);
    assert_ptr_equal(stage_node_of(fixture->nodes, STAGE_TOP_NUMBER), fixture->top);
    assert_int_equal(stage_node_number(fixture->top), STAGE_TOP_NUMBER);
    assert_false(stage_is_node(1));
    assert_ptr_equal(stage_node_parent(fixture->nodes, node), fixture->top);
    stage_node_forget(fixture->nodes, node, 1);
}

static void hard_links_are_one_node(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a", "1");
    assert_int_equal(linkat(fixture->folder, "a", fixture->folder, "b", 0), 0);
    struct stage_node *node = find(fixture, "a");
    assert_ptr_equal(find(fixture, "b"), node);
    stage_node_forget(fixture->nodes, node, 2);
}

static void what_is_missing_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct flow_error error = {0};
    struct stat status;
    assert_null(stage_node_find(fixture->nodes, fixture->top, "none", &status, &error));
    assert_int_equal(error.code, ENOENT);
}

static void more_nodes_than_descriptors(void **state)
{
    struct fixture *fixture = *state;
    enum { FILES = 100 };
    struct stage_node *nodes[FILES];
    char name[32], content[32];
    int before = count_descriptors();
    assert_int_equal(mkdirat(fixture->folder, "d", 0700), 0);
    struct stage_node *folder = find(fixture, "d");
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "d/%d", i);
        snprintf(content, sizeof content, "content %d", i);
        put_file(fixture, name, content);
        nodes[i] = find_in(fixture, folder, name + 2);
        assert_content(fixture, nodes[i], content);
    }
    assert_true(count_descriptors() - before <= MOST_OPEN + 4);
    for (int i = 0; i < FILES; i++) {
        snprintf(content, sizeof content, "content %d", i);
        assert_content(fixture, nodes[i], content);
    }
    for (int i = 0; i < FILES; i++)
        stage_node_forget(fixture->nodes, nodes[i], 1);
    stage_node_forget(fixture->nodes, folder, 1);
}

/* Takes all descriptors that may be taken from nodes. */
static void press(struct fixture *fixture)
{
    char name[32];
    for (int i = 0; i < 2 * MOST_OPEN; i++) {
        snprintf(name, sizeof name, "press%d", i);
        put_file(fixture, name, "");
        struct stage_node *node = find(fixture, name);
        assert_content(fixture, node, "");
        /* Stays known: a node that is forgotten gives its descriptors back itself. */
    }
}

static void a_renamed_file_is_found_again(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a", "1");
    find(fixture, "a");
    struct flow_error error = {0};
    struct stage_node *node;
    assert_true(stage_node_hold_named(fixture->nodes, fixture->top, "a", &node, &error));
    assert_int_equal(renameat(fixture->folder, "a", fixture->folder, "b"), 0);
    stage_node_renamed(fixture->nodes, node, fixture->top, "b");
    stage_node_drop(fixture->nodes, node);
    press(fixture);
    assert_content(fixture, node, "1");
}

static void a_removed_file_stays_readable(void **state)
{
    struct fixture *fixture = *state;
    put_file(fixture, "a", "1");
    find(fixture, "a");
    struct flow_error error = {0};
    struct stage_node *node;
    assert_true(stage_node_hold_named(fixture->nodes, fixture->top, "a", &node, &error));
    assert_int_equal(unlinkat(fixture->folder, "a", 0), 0);
    stage_node_unlinked(fixture->nodes, node, fixture->top, "a");
    stage_node_drop(fixture->nodes, node);
    press(fixture);
    assert_content(fixture, node, "1");
    stage_node_forget(fixture->nodes, node, 1);
}

static void what_was_replaced_behind_us_is_stale(void **state)
{
    struct fixture *fixture = *state;
    struct flow_error error = {0};
    put_file(fixture, "a", "1");
    struct stage_node *node = find(fixture, "a");
    put_file(fixture, "b", "2");
    assert_int_equal(renameat(fixture->folder, "b", fixture->folder, "a"), 0);
    assert_int_equal(stage_node_hold(fixture->nodes, node, STAGE_READ, &error), -1);
    assert_int_equal(error.code, ESTALE);
    assert_ptr_not_equal(find(fixture, "a"), node);
}

static void forgotten_folders_go_with_their_last_file(void **state)
{
    struct fixture *fixture = *state;
    int before = count_descriptors();
    assert_int_equal(mkdirat(fixture->folder, "d", 0700), 0);
    put_file(fixture, "d/a", "1");
    struct stage_node *folder = find(fixture, "d");
    struct stage_node *node = find_in(fixture, folder, "a");
    stage_node_forget(fixture->nodes, folder, 1);
    assert_content(fixture, node, "1");
    assert_true(count_descriptors() > before);
    stage_node_forget(fixture->nodes, node, 1);
    assert_int_equal(count_descriptors(), before);
}

static void made_nodes_are_found_by_key_and_version(void **state)
{
    struct fixture *fixture = *state;
    struct flow_error error = {0};
    assert_null(stage_node_find_made(fixture->nodes, fixture->top, 3, 1));
    struct stage_node *node =
        stage_node_make(fixture->nodes, fixture->top, STAGE_CONTROL_FILE, 3, 1, -1, &error);
    assert_non_null(node);
    assert_int_equal(stage_node_key(node), 3);
    assert_true(stage_node_is_derived(node));
    assert_ptr_equal(stage_node_find_made(fixture->nodes, fixture->top, 3, 1), node);
    assert_null(stage_node_find_made(fixture->nodes, fixture->top, 3, 2));
    assert_null(stage_node_find_made(fixture->nodes, fixture->top, 3, 1));
    stage_node_forget(fixture->nodes, node, 2);
}

/* A folder is found in one that was below it when last seen: its way up stays one. */
static void folders_that_change_places_make_no_circle(void **state)
{
    struct fixture *fixture = *state;
    struct flow_error error = {0};
    assert_int_equal(mkdirat(fixture->folder, "a", 0700), 0);
    assert_int_equal(mkdirat(fixture->folder, "a/b", 0700), 0);
    struct stage_node *above = find(fixture, "a");
    struct stage_node *below = find_in(fixture, above, "b");
    assert_true(stage_node_hold(fixture->nodes, below, STAGE_PATH, &error) >= 0);
    stage_node_release(below);
    assert_int_equal(renameat(fixture->folder, "a/b", fixture->folder, "b"), 0);
    assert_int_equal(renameat(fixture->folder, "a", fixture->folder, "b/a"), 0);
    assert_ptr_equal(find_in(fixture, below, "a"), above);
    assert_ptr_equal(stage_node_parent(fixture->nodes, above), fixture->top);
    find(fixture, "b");
    find_in(fixture, below, "a");
    assert_ptr_equal(stage_node_parent(fixture->nodes, above), below);
    press(fixture);
    assert_true(stage_node_hold(fixture->nodes, above, STAGE_READ, &error) >= 0);
    stage_node_release(above);
}

/* Files that their maker made read-only keep their descriptors, but not all that there are. */
static void read_only_files_do_not_take_all_descriptors(void **state)
{
    struct fixture *fixture = *state;
    char name[32];
    int before = count_descriptors();
    for (int i = 0; i < 3 * MOST_OPEN; i++) {
        snprintf(name, sizeof name, "press%d", i);
        put_file(fixture, name, "1");
        struct stage_node *node = find(fixture, name);
        int descriptor = openat(fixture->folder, name, O_RDWR | O_CLOEXEC);
        stage_node_keep_open(fixture->nodes, node, descriptor);
        stage_node_set_shut(fixture->nodes, node);
        assert_content(fixture, node, "1");
    }
    assert_true(count_descriptors() - before <= MOST_OPEN + 1);
    press(fixture);
}

/* Threads that read the same few files while their descriptors come and go. */
static void *read_all_the_time(void *argument)
{
    struct fixture *fixture = argument;
    char name[32];
    for (int round = 0; round < 300; round++)
        for (int i = 0; i < 2 * MOST_OPEN; i++) {
            snprintf(name, sizeof name, "press%d", i);
            struct stage_node *node = find(fixture, name);
            assert_content(fixture, node, "");
            stage_node_forget(fixture->nodes, node, 1);
        }
    return NULL;
}

static void many_threads_use_few_descriptors(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];
    press(fixture);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, fixture), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_number_leads_back_to_its_node),
        WITH_FOLDER(hard_links_are_one_node),
        WITH_FOLDER(what_is_missing_is_told),
        WITH_FOLDER(more_nodes_than_descriptors),
        WITH_FOLDER(a_renamed_file_is_found_again),
        WITH_FOLDER(a_removed_file_stays_readable),
        WITH_FOLDER(what_was_replaced_behind_us_is_stale),
        WITH_FOLDER(forgotten_folders_go_with_their_last_file),
        WITH_FOLDER(made_nodes_are_found_by_key_and_version),
        WITH_FOLDER(folders_that_change_places_make_no_circle),
        WITH_FOLDER(read_only_files_do_not_take_all_descriptors),
        WITH_FOLDER(many_threads_use_few_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
