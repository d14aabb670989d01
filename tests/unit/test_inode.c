/* Inode numbers: every node has its own, and it says which node it is. */
#include "support.h"

#include "inode.h"

#include <inttypes.h>

static void assert_is(uint64_t number, enum inode_kind kind, uint32_t of, enum flowdir_file file,
                      size_t message)
{
    struct inode inode = inode_parse(number);
    if (inode.kind != kind || (kind > INODE_ROOT && inode.number != of) ||
        (kind == INODE_FILE && inode.file != file) ||
        (kind == INODE_MESSAGE && inode.message != message))
        fail_msg("inode 0x%" PRIx64 " is kind %d, number %" PRIu32 ", file %d, message %zu", number,
                 inode.kind, inode.number, inode.file, inode.message);
}

/* The numbers that the header promises, by hand. */
static void test_documented_numbers(void **state)
{
    (void)state;
    assert_is(1, INODE_ROOT, 0, FLOWDIR_SUMMARY, 0);
    assert_int_equal(inode_of_host(0), 16);
    assert_int_equal(inode_of_host(5), 21);
    assert_int_equal(inode_of_flow(0), 0x100000000);
    assert_int_equal(inode_of_flow(41), 0x2A00000000);
    assert_int_equal(inode_of_file(0, FLOWDIR_SUMMARY), 0x100000001);
    assert_int_equal(inode_of_messages(1), 0x20000001F);
    assert_int_equal(inode_of_message(1, 1), 0x200000021);
}

static void test_there_and_back(void **state)
{
    (void)state;
    static const uint32_t numbers[] = {0,  1,   2,     15,    16,         17,        31,
                                       32, 255, 65535, 65536, 0x7FFFFFFF, 0x3FFFFFFE};
    static const size_t messages[] = {1, 2, 31, 32, 9999, 10000, 1u << 20, 0xFFFFFF00};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint32_t number = numbers[i];
        if (number < 1u << 24) /* the index has no more hosts */
            assert_is(inode_of_host(number), INODE_HOST, number, FLOWDIR_SUMMARY, 0);
        assert_is(inode_of_flow(number), INODE_FLOW, number, FLOWDIR_SUMMARY, 0);
        assert_is(inode_of_messages(number), INODE_MESSAGES, number, FLOWDIR_SUMMARY, 0);
        for (int file = 0; file < FLOWDIR_FILES; file++)
            assert_is(inode_of_file(number, (enum flowdir_file)file), INODE_FILE, number,
                      (enum flowdir_file)file, 0);
        for (size_t m = 0; m < sizeof messages / sizeof *messages; m++)
            assert_is(inode_of_message(number, messages[m]), INODE_MESSAGE, number, FLOWDIR_SUMMARY,
                      messages[m]);
    }
}

static void assert_control(uint64_t number, enum control_owner owner, uint32_t of,
                           enum control_file file)
{
    struct inode inode = inode_parse(number);
    assert_int_equal(inode.kind, file == CONTROL_FILES ? INODE_CONTROL : INODE_CONTROL_FILE);
    assert_int_equal(inode.owner, owner);
    assert_int_equal(inode.number, of);
    if (file != CONTROL_FILES)
        assert_int_equal(inode.control, file);
}

static uint64_t control_file(enum control_owner owner, uint32_t number, enum control_file file)
{
    struct inode inode = {
        .kind = INODE_CONTROL_FILE, .owner = owner, .number = number, .control = file};
    return inode_of_control(&inode);
}

static void test_views(void **state)
{
    (void)state;
    static const uint32_t groups[] = {0, 1, 255, 256, 0x7FFFFFFF, 0xFFFFFFFF};
    assert_int_equal(inode_of_view((struct view_place){VIEW_STATUS, 5}), 0x4300000000000500);
    for (int view = 0; view < VIEWS; view++)
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
            struct view_place place = {(enum view)view, groups[i]};
            struct inode inode = inode_parse(inode_of_view(place));
            assert_int_equal(inode.kind, INODE_VIEW);
            assert_int_equal(inode.view, view);
            assert_int_equal(inode.number, groups[i]);
            inode = (struct inode){.kind = INODE_CONTROL_FILE,
                                   .owner = CONTROL_OF_VIEW,
                                   .view = place.view,
                                   .number = place.group,
                                   .control = CONTROL_STATS_TXT};
            struct inode back = inode_parse(inode_of_control(&inode));
            assert_int_equal(back.kind, INODE_CONTROL_FILE);
            assert_int_equal(back.owner, CONTROL_OF_VIEW);
            assert_int_equal(back.view, view);
            assert_int_equal(back.number, groups[i]);
            assert_int_equal(back.control, CONTROL_STATS_TXT);
        }
    for (int link = 0; link < LINKS; link++) {
        struct inode inode = inode_parse(inode_of_link(41, (enum inode_link)link));
        assert_int_equal(inode.kind, INODE_LINK);
        assert_int_equal(inode.number, 41);
        assert_int_equal(inode.link, link);
    }
    assert_int_equal(inode_parse(0x4800000000000000).kind, INODE_NONE);
    assert_int_equal(inode_parse(0x4000000000000003).kind, INODE_NONE);
}

static void test_control(void **state)
{
    (void)state;
    static const uint32_t hosts[] = {0, 1, 17, 0xFFFFFF};
    static const uint32_t flows[] = {0, 1, 0x3FFFFFFD, 0x3FFFFFFE};
    assert_control(2, CONTROL_OF_ROOT, 0, CONTROL_FILES);
    assert_control(0x40000050, CONTROL_OF_HOST, 5, CONTROL_FILES);
    assert_control(0x50000011, CONTROL_OF_ROOT, 1, CONTROL_FLOWS_MITM);
    assert_control(0x2A0000000E, CONTROL_OF_FLOW, 41, CONTROL_FILES);
    for (int i = 0; i < CONTROL_FILES; i++) {
        enum control_file file = (enum control_file)i;
        for (uint32_t version = 0; version < 3 && control_file_belongs(file, CONTROL_OF_ROOT);
             version++)
            assert_control(control_file(CONTROL_OF_ROOT, version, file), CONTROL_OF_ROOT, version,
                           file);
        for (size_t j = 0; j < 4 && control_file_belongs(file, CONTROL_OF_HOST); j++)
            assert_control(control_file(CONTROL_OF_HOST, hosts[j], file), CONTROL_OF_HOST, hosts[j],
                           file);
        for (size_t j = 0; j < 4 && control_file_belongs(file, CONTROL_OF_FLOW); j++)
            assert_control(control_file(CONTROL_OF_FLOW, flows[j], file), CONTROL_OF_FLOW, flows[j],
                           file);
    }
}

static void test_no_node(void **state)
{
    (void)state;
    assert_is(0, INODE_NONE, 0, FLOWDIR_SUMMARY, 0);
    for (uint64_t number = 3; number < 16; number++)
        assert_is(number, INODE_NONE, 0, FLOWDIR_SUMMARY, 0);
    assert_is(0x50000001E, INODE_NONE, 0, FLOWDIR_SUMMARY, 0);
    assert_is(0x500000020, INODE_NONE, 0, FLOWDIR_SUMMARY, 0); /* message 0 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_numbers),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_no_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
