/* No memory: each allocation of opening sets, packing an edit, converting and closing fails in
 * turn, alone or with all that follow. Nothing crashes or leaks, NAME.mitm on disk is the old file
 * or the new one, and with memory again all is as it should be. */
#include "sets_support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Allocation number `fail_at` fails (0: none), as --wrap at linking makes possible; if `fail_all`
 * those that follow, too. */
static _Atomic size_t allocations, fail_at;
static atomic_bool fail_all;
static _Atomic int live;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void __wrap_free(void *memory);

static bool fails(void)
{
    size_t number = ++allocations;
    bool failing = fail_at && (fail_all ? number >= fail_at : number == fail_at);
    if (failing)
        errno = ENOMEM;
    return failing;
}

void *__wrap_malloc(size_t size)
{
    void *memory = fails() ? NULL : __real_malloc(size);
    live += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = fails() ? NULL : __real_calloc(count, size);
    live += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails())
        return NULL;
    live += memory == NULL;
    return __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    if (fails())
        return NULL;
    live += memory == NULL;
    return __real_reallocarray(memory, count, size);
}

void __wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}

static const struct test_flow first = {.id = "first", .start = "1700000200.5"};
static const struct test_flow second = {.id = "second", .start = "1700000100.5"};

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
    struct sets *sets = sets_open(staging->descriptor, 17, NULL, NULL, &error);
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

static void prepare(struct folder *staging, bool broken)
{
    folder_open(staging);
    staging_add(staging, "fix/1", &first);
    staging_close(staging_open(staging));
    staging_add(staging, "fix/2", &second);
    if (broken)
        folder_write(staging, "fix/2/request.headers", SPAN("GET"));
    staging_settle();
}

static void check(const struct folder *staging, bool broken)
{
    assert_true(staging_count(staging, ".flowfs") == 1);
    struct sets *sets = staging_open(staging);
    assert_int_equal(staging_state(sets, "fix"), broken ? SETS_BROKEN : SETS_PACKED);
    struct buffer expected = expected_text(!broken);
    if (!broken)
        assert_pack(sets, "fix", buffer_bytes(&expected));
    staging_close(sets);
    buffer_free(&expected);
    assert_int_equal(staging_count(staging, "fix"), broken ? 3 : 2);
}

static void work_without(size_t number, bool all, bool broken)
{
    struct folder staging;
    struct test_file out;
    prepare(&staging, broken);
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
    check(&staging, broken);
    folder_close(&staging);
}

static void work_with_failures(bool broken)
{
    work_without(0, false, broken);
    size_t needed = allocations;
    print_message("# %zu allocations\n", needed);
    for (int all = 0; all < 2; all++)
        for (size_t number = 1; number <= needed; number++)
            work_without(number, all, broken);
}

static void test_good(void **state)
{
    (void)state;
    work_with_failures(false);
}

static void test_broken(void **state)
{
    (void)state;
    work_with_failures(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
