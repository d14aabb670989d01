/* What the kernel is given before it asks: files of the names that were read. */
#include "support.h"

#include "foresight.h"
#include "inode.h"

#include <pthread.h>

static void read_file(struct foresight *foresight, uint32_t flow, enum flowdir_file file)
{
    foresight_note_read(foresight, inode_of_file(flow, file));
}

static bool wants(const struct foresight *foresight, enum flowdir_file file)
{
    return foresight_wants(foresight, inode_of_file(1000, file));
}

/* How many directories are given files of that name. */
static int given(struct foresight *foresight, uint64_t directory, uint64_t file)
{
    int count = 0;
    for (; foresight_wants(foresight, file); count++)
        foresight_note_given(foresight, directory);
    return count;
}

static void test_files_of_one_name(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    for (int i = 0; i < FLOWDIR_FILES; i++)
        assert_false(wants(&foresight, (enum flowdir_file)i));
    assert_false(foresight_wants_any(&foresight));
    read_file(&foresight, 7, FLOWDIR_SUMMARY);
    assert_true(foresight_wants_any(&foresight));
    for (int i = 0; i < FLOWDIR_FILES; i++)
        assert_int_equal(wants(&foresight, (enum flowdir_file)i), i == FLOWDIR_SUMMARY);
    assert_false(foresight_wants(&foresight, inode_of_message(1000, 1)));
}

static void test_looks_again(void **state)
{
    struct foresight foresight = {0};
    uint64_t file = inode_of_file(1, FLOWDIR_FLOW);
    (void)state;
    for (uint32_t flow = 0; flow < 3; flow++) {
        read_file(&foresight, flow, FLOWDIR_FLOW);
        assert_int_equal(given(&foresight, inode_of_flow(flow), file), FORESIGHT_DIRECTORIES);
    }
}

/* A name that is read again while it is given stays; the others go. */
static void test_names_go_alone(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    read_file(&foresight, 7, FLOWDIR_SUMMARY);
    read_file(&foresight, 7, FLOWDIR_FLOW);
    for (int i = 0; i < FORESIGHT_DIRECTORIES; i++) {
        foresight_note_given(&foresight, inode_of_flow(8));
        read_file(&foresight, 8, FLOWDIR_FLOW);
    }
    assert_false(wants(&foresight, FLOWDIR_SUMMARY));
    assert_true(wants(&foresight, FLOWDIR_FLOW));
}

static void test_messages(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    foresight_note_read(&foresight, inode_of_message(3, 1));
    assert_true(foresight_wants_any(&foresight));
    assert_true(foresight_wants(&foresight, inode_of_message(4, 9)));
    assert_false(wants(&foresight, FLOWDIR_SUMMARY));
    /* Flows without messages say nothing about them. */
    foresight_note_given(&foresight, inode_of_flow(4));
    assert_int_equal(given(&foresight, inode_of_messages(4), inode_of_message(5, 1)),
                     FORESIGHT_DIRECTORIES);
}

static void test_other_files(void **state)
{
    struct foresight foresight = {0};
    struct inode control = {.kind = INODE_CONTROL_FILE, .owner = CONTROL_OF_FLOW, .number = 7};
    (void)state;
    foresight_note_read(&foresight, inode_of_control(&control));
    foresight_note_read(&foresight, inode_of_flow(7));
    foresight_note_read(&foresight, INODE_ROOT_NUMBER);
    for (int i = 0; i < FLOWDIR_FILES; i++)
        assert_false(wants(&foresight, (enum flowdir_file)i));
    assert_false(foresight_wants(&foresight, inode_of_flow(7)));
    assert_false(foresight_wants(&foresight, inode_of_messages(7)));
}

/* Lists so many flows of a host that has `flows`; returns when the kernel is told, from 1, or 0. */
static unsigned list_flows(struct foresight *foresight, uint32_t host, uint32_t flows,
                           unsigned count)
{
    unsigned told = 0;
    for (unsigned i = 1; i <= count; i++) {
        if (!foresight_note_flow(foresight, host, flows))
            continue;
        assert_int_equal(told, 0);
        told = i;
    }
    return told;
}

static void test_hosts_are_told_once(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    for (uint32_t host = 0; host < 3; host++) {
        foresight_note_host(&foresight, host);
        assert_int_equal(list_flows(&foresight, host, 20, 20), 5);
        assert_int_equal(list_flows(&foresight, host, 20, 1000), 0);
    }
    /* The kernel has listed it anew. */
    foresight_note_host(&foresight, 1);
    assert_int_equal(list_flows(&foresight, 1, 20, 20), 5);
    assert_int_equal(list_flows(&foresight, 2, 20, 20), 0);
}

/* A look at a few flows has no large host listed anew. */
static void test_large_hosts(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    assert_int_equal(list_flows(&foresight, 9, 100000, 1000), 0);
    assert_int_equal(list_flows(&foresight, 9, 100000, 99000), 100000 / 16 + 4 - 1000);
    assert_int_equal(list_flows(&foresight, 10, 1, 3), 0);
}

/* Two hosts in one slot begin anew in turns, and forget nothing of others. */
static void test_hosts_share_slots(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    assert_int_equal(list_flows(&foresight, 5, 20, 4), 0);
    assert_int_equal(list_flows(&foresight, 5 + FORESIGHT_SLOTS, 20, 5), 5);
    foresight_note_host(&foresight, 5);
    assert_int_equal(list_flows(&foresight, 5 + FORESIGHT_SLOTS, 20, 5), 0);
    assert_int_equal(list_flows(&foresight, 5, 20, 5), 5);
}

static void *use(void *context)
{
    struct foresight *foresight = context;
    for (uint32_t flow = 0; flow < 20000; flow++) {
        read_file(foresight, flow, FLOWDIR_SUMMARY);
        read_file(foresight, flow, FLOWDIR_FLOW);
        foresight_note_given(foresight, inode_of_flow(flow));
        foresight_note_flow(foresight, flow / 100, 100);
        foresight_note_host(foresight, flow / 100 + 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct foresight foresight = {0};
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, &foresight), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(given(&foresight, inode_of_flow(1), inode_of_file(1, FLOWDIR_FLOW)) <=
                FORESIGHT_DIRECTORIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_one_name), cmocka_unit_test(test_looks_again),
        cmocka_unit_test(test_names_go_alone),    cmocka_unit_test(test_messages),
        cmocka_unit_test(test_other_files),       cmocka_unit_test(test_hosts_are_told_once),
        cmocka_unit_test(test_large_hosts),       cmocka_unit_test(test_hosts_share_slots),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
