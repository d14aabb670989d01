/* What is given to the kernel before it asks: only where a second file of a flow was read. */
#include "support.h"

#include "foresight.h"
#include "inode.h"

#include <pthread.h>

static void read_file(struct foresight *foresight, uint32_t flow, enum flowdir_file file)
{
    foresight_note_read(foresight, inode_of_file(flow, file));
}

static unsigned takes(struct foresight *foresight)
{
    unsigned count = 0;
    while (foresight_take(foresight))
        count++;
    return count;
}

static void test_one_file_of_each_flow(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    for (int again = 0; again < 2; again++)
        for (uint32_t flow = 0; flow < 1000; flow++)
            read_file(&foresight, flow, FLOWDIR_SUMMARY);
    assert_false(foresight_take(&foresight));
}

static void test_the_same_file_again(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    for (int again = 0; again < 10; again++)
        read_file(&foresight, 7, FLOWDIR_SUMMARY);
    assert_false(foresight_take(&foresight));
}

static void test_two_files_of_a_flow(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    read_file(&foresight, 7, FLOWDIR_SUMMARY);
    assert_false(foresight_take(&foresight));
    read_file(&foresight, 7, FLOWDIR_FLOW);
    assert_int_equal(takes(&foresight), FORESIGHT_DIRECTORIES);
    /* Then we look again. */
    read_file(&foresight, 8, FLOWDIR_SUMMARY);
    assert_false(foresight_take(&foresight));
    read_file(&foresight, 8, FLOWDIR_FLOW);
    assert_true(foresight_take(&foresight));
}

static void test_messages(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    foresight_note_read(&foresight, inode_of_message(3, 1));
    foresight_note_read(&foresight, inode_of_message(4, 2));
    assert_false(foresight_take(&foresight));
    foresight_note_read(&foresight, inode_of_message(4, 3));
    assert_true(foresight_take(&foresight));
}

/* Several readers, each on a flow of its own: one's reads do not hide another's. */
static void test_readers_in_turns(void **state)
{
    struct foresight foresight = {0};
    (void)state;
    for (uint32_t flow = 100; flow < 108; flow++)
        read_file(&foresight, flow, FLOWDIR_SUMMARY);
    assert_false(foresight_take(&foresight));
    read_file(&foresight, 103, FLOWDIR_FLOW);
    assert_true(foresight_take(&foresight));
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
        foresight_take(foresight);
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
    assert_true(takes(&foresight) <= FORESIGHT_DIRECTORIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file_of_each_flow),
        cmocka_unit_test(test_the_same_file_again),
        cmocka_unit_test(test_two_files_of_a_flow),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_readers_in_turns),
        cmocka_unit_test(test_hosts_are_told_once),
        cmocka_unit_test(test_large_hosts),
        cmocka_unit_test(test_hosts_share_slots),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
