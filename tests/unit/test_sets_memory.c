/* No memory: each allocation of opening sets, packing an edit, converting and closing fails in
 * turn, alone or with all that follow. Nothing crashes or leaks, NAME.mitm on disk is the old file
 * or the new one, and with memory again all is as it should be. */
#include "failing_memory.h"
#include "sets_support.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const struct test_flow first = {.id = "first", .start = "1700000200.5"};
static const struct test_flow second = {.id = "second", .start = "1700000100.5"};

/* What has happened to the set since its file was written. */
enum kind { UNCHANGED, ADDED, BROKEN };

static struct buffer expected_text(bool both)
{
    struct buffer text = BUFFER_INIT;
    if (both)
        put_flow(&text, &second);
    put_flow(&text, &first);
    return text;
}

static bool step(bool done, const struct flow_error *error)
{
    if (!done && error->code != ENOMEM)
        fail_msg("%d, %s", error->code, error->message);
    return done;
}

/* All that sets do; each step goes as far as memory allows. */
static void work(const struct folder *staging, int out)
{
    struct flow_error error = {0};
    enum sets_state state;
    struct sets *sets = sets_open(staging->descriptor, 21, NULL, NULL, &error);
    if (!step(sets != NULL, &error))
        return;
    error = (struct flow_error){0};
    if (step(sets_update(sets, "fix", &state, &error), &error))
        assert_true(state == SETS_PACKED || state == SETS_BROKEN);
    error = (struct flow_error){0};
    step(sets_convert(sets, "fix", CONTROL_FLOWS_JSONL, out, &error) || error.code == EBADMSG,
         &error);
    error = (struct flow_error){0};
    step(sets_renamed(sets, "fix", "fix", NULL, &error), &error);
    error = (struct flow_error){0};
    step(sets_update_all(sets, &error), &error);
    error = (struct flow_error){0};
    step(sets_close(sets, &error), &error);
}

static void prepare(struct folder *staging, enum kind kind)
{
    folder_open(staging);
    staging_add(staging, "fix/1", &first);
    staging_close(staging_open(staging));
    if (kind != UNCHANGED)
        staging_add(staging, "fix/2", &second);
    if (kind == BROKEN)
        folder_write(staging, "fix/2/request.headers", SPAN("GET"));
}

static void check(const struct folder *staging, enum kind kind)
{
    assert_true(staging_count(staging, ".flowfs") == 1);
    struct sets *sets = staging_open(staging);
    assert_int_equal(staging_state(sets, "fix"), kind == BROKEN ? SETS_BROKEN : SETS_PACKED);
    struct buffer expected = expected_text(kind == ADDED);
    if (kind != BROKEN)
        assert_pack(sets, "fix", buffer_bytes(&expected));
    staging_close(sets);
    buffer_free(&expected);
    assert_int_equal(staging_count(staging, "fix"), kind == BROKEN ? 3 : 2);
}

static void work_without(size_t number, bool all, enum kind kind)
{
    struct folder staging;
    struct test_file out;
    prepare(&staging, kind);
    test_file_open(&out, bytes_of(""));
    int before = live;
    allocations = 0;
    fail_all = all;
    fail_at = number;
    work(&staging, out.descriptor);
    fail_at = 0;
    if (live != before)
        fail_msg("allocation %zu fails: %d pieces of memory leak", number, live - before);
    test_file_close(&out);
    if (all)
        check(&staging, kind);
    folder_close(&staging);
}

static void work_with_failures(enum kind kind)
{
    work_without(0, false, kind);
    size_t needed = allocations;
    print_message("# %zu allocations\n", needed);
    for (int all = 0; all < 2; all++)
        for (size_t number = 1; number <= needed; number++)
            work_without(number, all, kind);
}

static void test_unchanged(void **state)
{
    (void)state;
    work_with_failures(UNCHANGED);
}

static void test_added(void **state)
{
    (void)state;
    work_with_failures(ADDED);
}

static void test_broken(void **state)
{
    (void)state;
    work_with_failures(BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_added),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
