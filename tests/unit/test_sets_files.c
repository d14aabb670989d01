/* The files beside a set: given their names, kept apart from the user's, taken along; what is left
 * behind; the thread that commits; other forms of the flows. */
#include "sets_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct test_flow flow = {.id = "one"};

static void open_one(struct folder *staging, struct sets **sets)
{
    folder_open(staging);
    staging_add(staging, "fix/1", &flow);
    staging_settle();
    *sets = staging_open(staging);
}

static struct buffer one_flow(void)
{
    struct buffer text = BUFFER_INIT;
    put_flow(&text, &flow);
    return text;
}

static uint64_t inode_of_file(const struct folder *staging, const char *name)
{
    struct stat status;
    if (fstatat(staging->descriptor, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return status.st_ino;
}

static void assert_derived(struct sets *sets, const char *name, enum sets_derived expected,
                           const char *set)
{
    char found[NAME_MAX + 1] = "";
    assert_int_equal(sets_derived(sets, name, found), expected);
    assert_string_equal(found, set);
}

static void test_names(void **state)
{
    (void)state;
    char longest[NAME_MAX + 1], name[NAME_MAX + 20];
    struct folder staging;
    struct sets *sets;
    open_one(&staging, &sets);
    assert_derived(sets, "fix.mitm", SETS_PACK, "fix");
    assert_derived(sets, "fix.errors", SETS_ERRORS, "fix");
    assert_derived(sets, "fix", SETS_NONE, "");
    assert_derived(sets, "fix.mitm~", SETS_NONE, "");
    assert_derived(sets, "other.mitm", SETS_NONE, "");
    assert_derived(sets, ".mitm", SETS_NONE, "");
    assert_derived(sets, ".errors", SETS_NONE, "");
    assert_derived(sets, ".flowfs-sets", SETS_HIDDEN, "");
    assert_derived(sets, ".flowfs", SETS_HIDDEN, "");
    staging_make(&staging, ".git");
    assert_derived(sets, ".git.mitm", SETS_NONE, "");
    memset(longest, 'n', 248);
    longest[248] = '\0';
    staging_make(&staging, longest);
    sets_touch(sets);
    snprintf(name, sizeof name, "%s.errors", longest);
    assert_derived(sets, name, SETS_ERRORS, longest);
    assert_int_equal(staging_state(sets, longest), SETS_EMPTY);
    assert_true(sets_is_name(longest));
    strcat(longest, "n");
    assert_false(sets_is_name(longest));
    assert_false(sets_is_name(""));
    staging_make(&staging, longest);
    snprintf(name, sizeof name, "%s.mitm", longest);
    assert_derived(sets, name, SETS_NONE, "");
    assert_int_equal(staging_state(sets, longest), SETS_MISSING);
    staging_close(sets);
    folder_close(&staging);
}

static void test_in_the_way(void **state)
{
    (void)state;
    struct folder staging;
    struct flow_error error = {0};
    struct sets_moved moved;
    folder_open(&staging);
    struct sets *sets = staging_open(&staging);
    folder_write(&staging, "new.mitm", SPAN("mine"));
    folder_write(&staging, "new.mitm~", SPAN("older"));
    folder_write(&staging, "new.mitm~2~", SPAN("old"));
    staging_add(&staging, "new.errors/x", &flow);
    assert_int_equal(staging_state(sets, "new.errors"), SETS_PACKED);
    assert_true(folder_has(&staging, "new.errors.mitm"));
    staging_make(&staging, "new");
    assert_true(sets_made(sets, "new", &moved, &error));
    assert_string_equal(moved.pack, "new.mitm~3~");
    assert_string_equal(moved.errors, "new.errors~");
    assert_file(&staging, "new.mitm~3~", "mine");
    assert_file(&staging, "new.mitm~", "older");
    assert_true(folder_has(&staging, "new.errors~/x"));
    /* It was a set itself. */
    assert_true(folder_has(&staging, "new.errors~.mitm"));
    assert_false(folder_has(&staging, "new.errors.mitm"));
    assert_int_equal(staging_state(sets, "new"), SETS_EMPTY);
    assert_false(folder_has(&staging, "new.mitm"));
    /* Put there by somebody who does not go through the mount: kept all the same. */
    folder_write(&staging, "new.mitm", SPAN("yours"));
    folder_write(&staging, "new/request.headers", SPAN("GET http://a.test/ HTTP/1.1\n"));
    sets_touch(sets);
    assert_true(sets_commit(sets, "new", &error));
    assert_file(&staging, "new.mitm~4~", "yours");
    assert_int_equal(inode_of_file(&staging, "new.mitm"), staging_inode(sets, "new"));
    staging_close(sets);
    folder_close(&staging);
}

/* What is committed is removed by somebody: the next commit makes it again. */
static void test_removed_from_outside(void **state)
{
    (void)state;
    struct folder staging;
    struct flow_error error = {0};
    struct sets *sets;
    open_one(&staging, &sets);
    struct buffer text = one_flow();
    assert_pack(sets, "fix", buffer_bytes(&text));
    folder_remove(&staging, "fix.mitm");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(inode_of_file(&staging, "fix.mitm"), staging_inode(sets, "fix"));
    assert_pack(sets, "fix", buffer_bytes(&text));
    folder_remove(&staging, "fix.mitm");
    assert_true(sets_commit(sets, NULL, &error));
    assert_int_equal(inode_of_file(&staging, "fix.mitm"), staging_inode(sets, "fix"));
    buffer_free(&text);
    staging_close(sets);
    folder_close(&staging);
}

static void test_reopen(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    struct flow_error error = {0};
    open_one(&staging, &sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    /* Another mount is refused as long as this one is there. */
    assert_null(sets_open(staging.descriptor, 21, NULL, NULL, &error));
    assert_int_equal(error.code, EBUSY);
    staging_close(sets);
    uint64_t inode = inode_of_file(&staging, "fix.mitm");
    /* It is ours, and what we would make: it stays. */
    sets = staging_open(&staging);
    assert_int_equal(staging_inode(sets, "fix"), inode);
    staging_close(sets);
    assert_int_equal(inode_of_file(&staging, "fix.mitm"), inode);
    /* Ours, but of before: replaced. */
    folder_write(&staging, "fix/1/response.body", SPAN("edited"));
    sets = staging_open(&staging);
    assert_true(staging_inode(sets, "fix") != inode);
    staging_close(sets);
    assert_true(inode_of_file(&staging, "fix.mitm") != inode);
    assert_false(folder_has(&staging, "fix.mitm~"));
    /* Somebody's work. */
    folder_write(&staging, "fix.mitm", SPAN("precious"));
    sets = staging_open(&staging);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    staging_close(sets);
    assert_file(&staging, "fix.mitm~", "precious");
    folder_close(&staging);
}

static void test_state_file(void **state)
{
    (void)state;
    struct folder staging;
    folder_open(&staging);
    staging_add(&staging, "two\nlines %0A/1", &flow);
    folder_write(&staging, ".flowfs-sets", SPAN("no such line\n1 2 3 torn"));
    struct sets *sets = staging_open(&staging);
    assert_int_equal(staging_state(sets, "two\nlines %0A"), SETS_PACKED);
    staging_close(sets);
    uint64_t inode = inode_of_file(&staging, "two\nlines %0A.mitm");
    assert_true(inode != 0);
    for (int i = 0; i < 3; i++) {
        sets = staging_open(&staging);
        assert_int_equal(staging_inode(sets, "two\nlines %0A"), inode);
        staging_close(sets);
    }
    assert_false(folder_has(&staging, "two\nlines %0A.mitm~"));
    /* Lost: then the file may be anybody's. */
    folder_remove(&staging, ".flowfs-sets");
    sets = staging_open(&staging);
    assert_int_equal(staging_state(sets, "two\nlines %0A"), SETS_PACKED);
    staging_close(sets);
    assert_true(folder_has(&staging, "two\nlines %0A.mitm~"));
    folder_close(&staging);
}

static void test_leftovers(void **state)
{
    (void)state;
    struct folder staging;
    folder_open(&staging);
    folder_write(&staging, ".flowfs-pack-0", SPAN("half"));
    folder_write(&staging, ".flowfs-sets-new", SPAN("half"));
    folder_write(&staging, ".flowfsx", SPAN("?"));
    struct sets *sets = staging_open(&staging);
    assert_false(folder_has(&staging, ".flowfs-pack-0"));
    assert_false(folder_has(&staging, ".flowfs-sets-new"));
    assert_true(folder_has(&staging, ".flowfsx"));
    staging_close(sets);
    folder_close(&staging);
}

static void test_removed(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_one(&staging, &sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    folder_write(&staging, "fix/1/request.headers", SPAN("?"));
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    assert_true(folder_has(&staging, "fix.errors"));
    staging_remove(&staging, "fix");
    sets_removed(sets, "fix");
    assert_false(folder_has(&staging, "fix.errors"));
    assert_false(folder_has(&staging, "fix.mitm"));
    assert_int_equal(staging_state(sets, "fix"), SETS_MISSING);
    assert_int_equal(sets_state_now(sets, "fix"), SETS_MISSING);
    assert_int_equal(sets_version(sets, "fix"), 0);
    /* A pack that was never committed. */
    staging_add(&staging, "fix/1", &flow);
    struct flow_error error = {0};
    assert_true(sets_made(sets, "fix", NULL, &error));
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    folder_write(&staging, "fix/1/response.body", SPAN("edited"));
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(staging_count(&staging, ".flowfs"), 2);
    staging_remove(&staging, "fix");
    sets_removed(sets, "fix");
    assert_int_equal(staging_count(&staging, ".flowfs"), 1);
    assert_int_equal(staging_count(&staging, "fix"), 0);
    staging_close(sets);
    folder_close(&staging);
}

static void test_renamed(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    struct sets_moved moved;
    struct flow_error error = {0};
    open_one(&staging, &sets);
    staging_make(&staging, "empty");
    assert_true(sets_update_all(sets, &error));
    uint64_t inode = staging_inode(sets, "fix"), version = sets_version(sets, "fix");
    folder_write(&staging, "new.mitm", SPAN("mine"));
    folder_rename(&staging, "fix", "new");
    assert_true(sets_renamed(sets, "fix", "new", &moved, &error));
    assert_string_equal(moved.pack, "new.mitm~");
    assert_string_equal(moved.errors, "");
    assert_int_equal(staging_inode(sets, "new"), inode);
    assert_int_equal(sets_version(sets, "new"), version);
    assert_int_equal(inode_of_file(&staging, "new.mitm"), inode);
    assert_false(folder_has(&staging, "fix.mitm"));
    assert_int_equal(staging_state(sets, "fix"), SETS_MISSING);
    /* Over a set that is empty, with a pack that waits to be committed. */
    folder_write(&staging, "new/1/response.body", SPAN("edited"));
    sets_touch(sets);
    inode = staging_inode(sets, "new");
    folder_rename(&staging, "new", "empty");
    assert_true(sets_renamed(sets, "new", "empty", &moved, &error));
    assert_string_equal(moved.pack, "");
    assert_int_equal(staging_inode(sets, "empty"), inode);
    assert_true(sets_commit(sets, "empty", &error));
    assert_int_equal(inode_of_file(&staging, "empty.mitm"), inode);
    assert_int_equal(staging_count(&staging, "new"), 1);
    /* A broken one takes its errors along. */
    folder_write(&staging, "empty/1/request.headers", SPAN("?"));
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "empty"), SETS_BROKEN);
    folder_rename(&staging, "empty", "fix");
    assert_true(sets_renamed(sets, "empty", "fix", &moved, &error));
    assert_true(folder_has(&staging, "fix.errors"));
    assert_false(folder_has(&staging, "empty.errors"));
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    /* To a name that is none of a set, and back. */
    folder_rename(&staging, "fix", ".fix");
    assert_true(sets_renamed(sets, "fix", ".fix", &moved, &error));
    assert_int_equal(staging_count(&staging, "fix"), 0);
    folder_rename(&staging, ".fix", "fix");
    assert_true(sets_renamed(sets, ".fix", "fix", &moved, &error));
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    staging_close(sets);
    folder_close(&staging);
}

static void test_exchanged(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    struct sets_moved moved[2];
    struct flow_error error = {0};
    open_one(&staging, &sets);
    staging_make(&staging, "empty");
    struct buffer text = one_flow();
    assert_true(sets_update_all(sets, &error));
    assert_int_equal(
        renameat2(staging.descriptor, "fix", staging.descriptor, "empty", RENAME_EXCHANGE), 0);
    assert_true(sets_exchanged(sets, "fix", "empty", moved, &error));
    assert_pack(sets, "fix", bytes_of(""));
    assert_pack(sets, "empty", buffer_bytes(&text));
    assert_true(sets_commit(sets, NULL, &error));
    assert_file(&staging, "fix.mitm", "");
    folder_write(&staging, "plain", SPAN("file"));
    assert_int_equal(
        renameat2(staging.descriptor, "plain", staging.descriptor, "empty", RENAME_EXCHANGE), 0);
    assert_true(sets_exchanged(sets, "plain", "empty", moved, &error));
    assert_pack(sets, "plain", buffer_bytes(&text));
    assert_false(folder_has(&staging, "empty.mitm"));
    assert_int_equal(staging_state(sets, "empty"), SETS_MISSING);
    buffer_free(&text);
    staging_close(sets);
    folder_close(&staging);
}

/* The pack is not more open than the set's folder. */
static void test_mode(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    struct stat status;
    open_one(&staging, &sets);
    assert_int_equal(fchmodat(staging.descriptor, "fix", 0750, 0), 0);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(fstatat(staging.descriptor, "fix.mitm", &status, 0), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(fchmodat(staging.descriptor, "fix", 0700, 0), 0);
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(fstatat(staging.descriptor, "fix.mitm", &status, 0), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    staging_close(sets);
    folder_close(&staging);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Waits until the file on disk has another inode; true if that took less than so many seconds. */
static bool wait_for_commit(const struct folder *staging, uint64_t inode, double seconds)
{
    const struct timespec step = {.tv_nsec = 10000000};
    double end = seconds_now() + seconds;
    do {
        if (inode_of_file(staging, "fix.mitm") != inode)
            return true;
        nanosleep(&step, NULL);
    } while (seconds_now() < end);
    return false;
}

/* Goes on touching the set, so that no pause comes, until it is committed, for so many seconds. */
static bool touch_until_commit(struct sets *sets, const struct folder *staging, uint64_t inode,
                               double seconds)
{
    double end = seconds_now() + seconds;
    do {
        sets_touch(sets);
        if (wait_for_commit(staging, inode, 0.1))
            return true;
    } while (seconds_now() < end);
    return false;
}

/* Whether a commit comes only when writing has paused. One that the edit falls into takes it along
 * at once, which is no matter: so a few edits are tried, of which a packer that does not wait would
 * have every one on disk too soon. */
static bool waits_for_a_pause(struct sets *sets, const struct folder *staging)
{
    bool waits = false;
    for (int i = 0; !waits && i < 5; i++) {
        char text[16];
        uint64_t inode = inode_of_file(staging, "fix.mitm");
        snprintf(text, sizeof text, "edit %d", i);
        folder_write(staging, "fix/1/response.body", bytes_of(text));
        sets_touch(sets);
        double written = seconds_now();
        assert_true(wait_for_commit(staging, inode, 20));
        waits = seconds_now() - written > 0.5;
    }
    return waits;
}

static void test_packer(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_one(&staging, &sets);
    /* Nobody looks, and yet it comes. */
    assert_true(wait_for_commit(&staging, 0, 20));
    assert_true(waits_for_a_pause(sets, &staging));
    uint64_t inode = inode_of_file(&staging, "fix.mitm");
    /* It does not wait for a pause that does not come. */
    folder_write(&staging, "fix/1/response.body", SPAN("edited again"));
    sets_touch(sets);
    assert_true(touch_until_commit(sets, &staging, inode, 30));
    struct buffer file = folder_read(&staging, "fix.mitm");
    assert_non_null(memmem(file.data, file.size, "edited again", 12));
    buffer_free(&file);
    /* In a hurry it waits for neither: without, it would take ten seconds. */
    sleep(1);
    inode = inode_of_file(&staging, "fix.mitm");
    folder_write(&staging, "fix/1/response.body", SPAN("in a hurry"));
    sets_touch(sets);
    sets_hurry(sets);
    assert_true(touch_until_commit(sets, &staging, inode, 6));
    /* The last moment counts. */
    folder_write(&staging, "fix/1/response.body", SPAN("closing time"));
    sets_touch(sets);
    staging_close(sets);
    file = folder_read(&staging, "fix.mitm");
    assert_non_null(memmem(file.data, file.size, "closing time", 12));
    buffer_free(&file);
    folder_close(&staging);
}

static struct buffer convert(struct sets *sets, const char *set, int directory,
                             enum control_file file, struct flow_error *error)
{
    struct test_file out;
    struct buffer content = BUFFER_INIT;
    test_file_open(&out, bytes_of(""));
    bool done = set ? sets_convert(sets, set, file, out.descriptor, error)
                    : sets_convert_flow(sets, directory, file, out.descriptor, error);
    if (done)
        content = test_read_file(out.path);
    test_file_close(&out);
    return content;
}

static void test_convert(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    struct flow_error error = {0};
    struct test_flow bare = {.id = "bare", .no_response = true, .start = "1600000000.5"};
    open_one(&staging, &sets);
    staging_add(&staging, "fix/2", &bare);
    sets_touch(sets);
    struct buffer pack = staging_pack(sets, "fix");
    struct buffer mitm = convert(sets, "fix", -1, CONTROL_FLOWS_MITM, &error);
    assert_spans(buffer_bytes(&mitm), buffer_bytes(&pack));
    struct buffer jsonl = convert(sets, "fix", -1, CONTROL_FLOWS_JSONL, &error);
    assert_non_null(memmem(jsonl.data, jsonl.size, "\"fix.mitm\"", 10));
    const uint8_t *first = memmem(jsonl.data, jsonl.size, "\"bare\"", 6);
    const uint8_t *second = memmem(jsonl.data, jsonl.size, "\"one\"", 5);
    assert_true(first && second && first < second);
    int directory = openat(staging.descriptor, "fix/2", O_RDONLY | O_DIRECTORY);
    struct buffer curl = convert(sets, NULL, directory, CONTROL_CURL, &error);
    assert_bytes(buffer_bytes(&curl), "curl http://example.com/\n");
    struct buffer record = convert(sets, NULL, directory, CONTROL_FLOWS_MITM, &error),
                  text = BUFFER_INIT;
    put_flow(&text, &bare);
    assert_spans(buffer_bytes(&record), buffer_bytes(&text));
    struct buffer none = convert(sets, NULL, directory, CONTROL_RAW_RESPONSE, &error);
    assert_int_equal(error.code, ENOENT);
    folder_write(&staging, "fix/2/request.headers", SPAN("GET"));
    error = (struct flow_error){0};
    buffer_free(&none);
    none = convert(sets, NULL, directory, CONTROL_CURL, &error);
    assert_int_equal(error.code, EBADMSG);
    assert_non_null(strstr(error.message, "request.headers:1: found"));
    sets_touch(sets);
    error = (struct flow_error){0};
    none = convert(sets, "fix", -1, CONTROL_FLOWS_CSV, &error);
    assert_int_equal(error.code, EBADMSG);
    error = (struct flow_error){0};
    none = convert(sets, "none", -1, CONTROL_FLOWS_CSV, &error);
    assert_int_equal(error.code, ENOENT);
    struct buffer *all[] = {&pack, &mitm, &jsonl, &curl, &record, &text, &none};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
    close(directory);
    staging_close(sets);
    folder_close(&staging);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_in_the_way),
        cmocka_unit_test(test_removed_from_outside),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_state_file),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_exchanged),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_packer),
        cmocka_unit_test(test_convert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
