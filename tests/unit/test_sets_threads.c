/* Sets from many threads: who looks sees all that was written before, whoever else packs, commits,
 * converts, makes, renames and removes sets meanwhile. To be run under the thread sanitizer, too.
 */
#include "sets_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SETS 3
#define SECONDS 2

struct scene {
    struct folder staging;
    struct sets *sets;
    _Atomic unsigned written[SETS]; /* the last number that is in the set's flow */
    atomic_bool stop;
    _Atomic unsigned packs;
};

/* Writes growing numbers into a flow of the set, in place, as an editor that replaces the file, or
 * half before it is whole. */
static void write_number(struct scene *scene, unsigned set, unsigned number)
{
    char name[64], other[64], line[64];
    snprintf(name, sizeof name, "set%u/flow/request.headers", set);
    snprintf(other, sizeof other, "set%u/flow/.new", set);
    int length = snprintf(line, sizeof line, "GET http://a.test/%08u HTTP/1.1\n", number);
    bool replaces = number % 3 == 0;
    if (number % 3 == 1) {
        folder_write(&scene->staging, name, bytes_make(line, 10));
        sets_touch(scene->sets);
    }
    folder_write(&scene->staging, replaces ? other : name, bytes_make(line, (size_t)length));
    if (replaces)
        folder_rename(&scene->staging, other, name);
    sets_touch(scene->sets);
    atomic_store(&scene->written[set], number);
    if (number % 7 == 0)
        sets_hurry(scene->sets);
}

static void *write_numbers(void *context)
{
    struct scene *scene = context;
    for (unsigned number = 1; !atomic_load(&scene->stop); number++)
        for (unsigned set = 0; set < SETS; set++)
            write_number(scene, set, number);
    return NULL;
}

static unsigned number_in(int pack)
{
    char text[4096];
    ssize_t size = pread(pack, text, sizeof text, 0);
    const char *path = size > 0 ? memmem(text, (size_t)size, "9:/", 3) : NULL;
    return path ? (unsigned)strtoul(path + 3, NULL, 10) : 0;
}

static void look(struct scene *scene, unsigned set)
{
    char name[32];
    struct flow_error error = {0};
    uint64_t version;
    unsigned before = atomic_load(&scene->written[set]);
    snprintf(name, sizeof name, "set%u", set);
    int pack = sets_open_pack(scene->sets, name, &version, &error);
    if (pack < 0) {
        /* Half of the line was there, or it changed again and again. */
        assert_true(error.code == EBADMSG || error.code == EBUSY);
        return;
    }
    unsigned found = number_in(pack);
    close(pack);
    atomic_fetch_add(&scene->packs, 1);
    if (found < before)
        fail_msg("%u was written, %u is served", before, found);
    assert_true(version > 0);
}

static void *look_around(void *context)
{
    struct scene *scene = context;
    char set[NAME_MAX + 1];
    for (unsigned i = 0; !atomic_load(&scene->stop); i++) {
        struct flow_error error = {0};
        look(scene, i % SETS);
        sets_state_now(scene->sets, "set1");
        sets_version(scene->sets, "set2");
        sets_derived(scene->sets, "set0.mitm", set);
        if (i % 5 == 0)
            sets_update_all(scene->sets, &error);
        if (i % 11 == 0)
            sets_commit(scene->sets, i % 2 ? NULL : "set1", &error);
    }
    return NULL;
}

static void *convert(void *context)
{
    struct scene *scene = context;
    struct test_file out;
    test_file_open(&out, bytes_of(""));
    while (!atomic_load(&scene->stop)) {
        struct flow_error error = {0};
        bool done = sets_convert(scene->sets, "set0", CONTROL_FLOWS_JSONL, out.descriptor, &error);
        assert_true(done || error.code == EBADMSG || error.code == EBUSY);
    }
    test_file_close(&out);
    return NULL;
}

/* A set that comes, gets another name, and goes. */
static void *move(void *context)
{
    struct scene *scene = context;
    while (!atomic_load(&scene->stop)) {
        struct flow_error error = {0};
        struct sets_moved moved;
        const struct folder *staging = &scene->staging;
        staging_make(staging, "come");
        assert_true(sets_made(scene->sets, "come", &moved, &error));
        folder_write(staging, "come/request.headers", SPAN("GET http://a.test/ HTTP/1.1\n"));
        sets_touch(scene->sets);
        int pack = sets_open_pack(scene->sets, "come", NULL, &error);
        assert_true(pack >= 0);
        close(pack);
        folder_rename(staging, "come", "go");
        assert_true(sets_renamed(scene->sets, "come", "go", &moved, &error));
        assert_string_equal(moved.pack, "");
        assert_int_equal(sets_derived(scene->sets, "come.mitm", NULL), SETS_NONE);
        folder_remove(staging, "go/request.headers");
        assert_int_equal(unlinkat(staging->descriptor, "go", AT_REMOVEDIR), 0);
        sets_removed(scene->sets, "go");
        assert_false(folder_has(staging, "go.mitm"));
        assert_false(folder_has(staging, "come.mitm"));
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct scene scene;
    void *(*const works[])(void *) = {write_numbers, look_around, look_around, convert, move};
    pthread_t threads[sizeof works / sizeof *works];
    folder_open(&scene.staging);
    for (unsigned i = 0; i < SETS; i++) {
        char name[32];
        snprintf(name, sizeof name, "set%u/flow", i);
        staging_make(&scene.staging, name);
    }
    scene.sets = staging_open(&scene.staging);
    for (unsigned i = 0; i < SETS; i++)
        write_number(&scene, i, 0);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, works[i], &scene), 0);
    sleep(SECONDS);
    atomic_store(&scene.stop, true);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        pthread_join(threads[i], NULL);
    print_message("# %u packs, %u writes\n", scene.packs, scene.written[0] * SETS);
    assert_true(scene.packs > 10);
    for (unsigned i = 0; i < SETS; i++)
        look(&scene, i);
    staging_close(scene.sets);
    for (unsigned i = 0; i < SETS; i++) {
        char name[32];
        snprintf(name, sizeof name, "set%u.mitm", i);
        int pack = openat(scene.staging.descriptor, name, O_RDONLY);
        assert_int_equal(number_in(pack), scene.written[i]);
        close(pack);
    }
    assert_int_equal(staging_count(&scene.staging, ".flowfs"), 1);
    folder_close(&scene.staging);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
