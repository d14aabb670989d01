/* The stage without FUSE: files, folders and their names, listings, and what the kernel is told. */
#include "stage_support.h"

#include "stage_inside.h"
#include "stage_node_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void files_are_made_written_and_read(void **state)
{
    struct staged *staged = *state;
    struct stage_node *folder = staged_folder(staged, NULL, "set");
    struct stage_node *file = staged_make(staged, folder, "file", S_IFREG | 0640);
    staged_write(staged, file, "content");
    assert_staged(staged, file, "content");
    assert_file(&staged->folder, "set/file", "content");
    struct stat status = staged_status(staged, file), below;
    assert_int_equal(fstatat(staged->folder.descriptor, "set/file", &below, 0), 0);
    assert_int_equal(status.st_ino, below.st_ino | UINT64_C(1) << 63);
    assert_int_equal(status.st_mode, S_IFREG | 0640);
    assert_int_equal(status.st_size, 7);
    assert_ptr_equal(staged_find(staged, folder, "file"), file);
    assert_int_equal(staged_status(staged, staged->top).st_ino, STAGE_TOP_NUMBER);
}

static void the_mode_is_what_was_asked_for(void **state)
{
    struct staged *staged = *state;
    mode_t before = umask(077); /* of this process: the kernel has applied the asker's */
    staged->stage->umask = 077;
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0666);
    struct stage_node *folder = staged_make(staged, NULL, "folder", S_IFDIR | 01777);
    umask(before);
    assert_int_equal(staged_status(staged, file).st_mode, S_IFREG | 0666);
    assert_int_equal(staged_status(staged, folder).st_mode, S_IFDIR | 01777);
}

static void a_folder_hands_its_group_down(void **state)
{
    struct staged *staged = *state;
    if (geteuid() != 0)
        skip();
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    assert_int_equal(fchownat(staged->folder.descriptor, "folder", 0, 17, 0), 0);
    assert_int_equal(fchmodat(staged->folder.descriptor, "folder", 02777, 0), 0);
    staged->stage->umask = 0755; /* so that modes are set again behind */
    const struct stage_making file = {.mode = S_IFREG | 0644, .owner = 1000, .group = 1000};
    const struct stage_making inner = {.mode = S_IFDIR | 0755, .owner = 1000, .group = 1000};
    const struct stage_making *const makings[] = {&file, &inner};
    const char *const names[] = {"file", "inner"};
    for (int i = 0; i < 2; i++) {
        struct stage_entry entry;
        struct flow_error error = {0};
        assert_true(stage_make(staged->stage, folder, names[i], makings[i], &entry, &error));
        staged_know(staged, entry.node);
        assert_int_equal(entry.status.st_uid, 1000);
        assert_int_equal(entry.status.st_gid, 17);
        assert_int_equal(staged_status(staged, entry.node).st_mode & S_ISGID, i ? S_ISGID : 0);
    }
}

static void other_kinds_of_files(void **state)
{
    struct staged *staged = *state;
    struct stage_making making = {
        .mode = S_IFLNK | 0777, .target = "some/where", .owner = geteuid(), .group = getegid()};
    struct flow_error error = {0};
    struct stage_entry entry;
    char target[4096];
    assert_true(stage_make(staged->stage, staged->top, "link", &making, &entry, &error));
    staged_know(staged, entry.node);
    assert_true(S_ISLNK(entry.status.st_mode));
    assert_true(stage_link_target(staged->stage, entry.node, target, &error));
    assert_string_equal(target, "some/where");
    struct stage_node *fifo = staged_make(staged, NULL, "fifo", S_IFIFO | 0600);
    assert_true(S_ISFIFO(staged_status(staged, fifo).st_mode));
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0600);
    assert_false(stage_link_target(staged->stage, file, target, &error));
    assert_int_equal(error.code, ENOENT); /* what readlinkat says of it; the kernel never asks */
}

static void errors_are_those_of_the_folder(void **state)
{
    struct staged *staged = *state;
    char name[300];
    const struct stage_making making = {.mode = S_IFREG | 0600};
    struct stage_entry entry;
    struct flow_error error = {0};
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    staged_make(staged, folder, "file", S_IFREG | 0600);
    assert_int_equal(staged_look(staged, NULL, "none"), ENOENT);
    assert_false(stage_make(staged->stage, folder, "file", &making, &entry, &error));
    assert_int_equal(error.code, EEXIST);
    assert_int_equal(staged_remove(staged, NULL, "folder", true), ENOTEMPTY);
    assert_int_equal(staged_remove(staged, NULL, "folder", false), EISDIR);
    assert_int_equal(staged_remove(staged, folder, "file", true), ENOTDIR);
    assert_int_equal(staged_remove(staged, folder, "none", false), ENOENT);
    assert_int_equal(staged_rename(staged, folder, "none", NULL, "new", 0), ENOENT);
    assert_int_equal(staged_rename(staged, folder, "file", NULL, "folder", RENAME_NOREPLACE),
                     EEXIST);
    assert_int_equal(staged_rename(staged, NULL, "folder", folder, "inner", 0), EINVAL);
    /* A kernel may send names longer than the folder's file system has. */
    memset(name, 'a', sizeof name - 1);
    strcpy(name + sizeof name - 6, ".mitm");
    assert_int_equal(staged_look(staged, NULL, name), ENAMETOOLONG);
    assert_int_equal(staged_rename(staged, folder, "file", NULL, name, 0), ENAMETOOLONG);
}

static void links_are_one_file(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    struct stage_entry entry;
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    struct stage_node *file = staged_make(staged, folder, "one", S_IFREG | 0600);
    assert_true(stage_link(staged->stage, file, folder, "other", &entry, &error));
    assert_ptr_equal(staged_know(staged, entry.node), file);
    assert_int_equal(entry.status.st_nlink, 2);
    assert_int_equal(staged_remove(staged, folder, "one", false), 0);
    assert_int_equal(staged_status(staged, file).st_nlink, 1);
    assert_false(stage_link(staged->stage, file, folder, "other", &entry, &error));
    assert_int_equal(error.code, EEXIST);
}

/* Where the node would be looked for. */
static void assert_place(struct staged *staged, const struct stage_node *node,
                         const struct stage_node *parent, const char *expected)
{
    char name[256];
    stage_node_name(stage_nodes_of(staged->stage), node, name);
    assert_string_equal(name, expected);
    assert_ptr_equal(stage_node_parent(stage_nodes_of(staged->stage), node), parent);
}

static void removed_and_replaced_files_stay_in_use(void **state)
{
    struct staged *staged = *state;
    struct stage_node *removed = staged_make(staged, NULL, "removed", S_IFREG | 0600);
    struct stage_node *replaced = staged_make(staged, NULL, "replaced", S_IFREG | 0600);
    struct stage_node *other = staged_make(staged, NULL, "other", S_IFREG | 0600);
    staged_write(staged, removed, "1");
    staged_write(staged, replaced, "2");
    staged_write(staged, other, "3");
    assert_int_equal(staged_remove(staged, NULL, "removed", false), 0);
    assert_int_equal(staged_rename(staged, NULL, "other", NULL, "replaced", 0), 0);
    assert_place(staged, removed, NULL, "");
    assert_place(staged, replaced, NULL, "");
    assert_place(staged, other, staged->top, "replaced");
    staged_write(staged, removed, "still 1");
    staged_write(staged, replaced, "still 2");
    assert_staged(staged, removed, "still 1");
    assert_staged(staged, replaced, "still 2");
    assert_int_equal(staged_status(staged, replaced).st_nlink, 0);
    assert_ptr_equal(staged_find(staged, NULL, "replaced"), other);
    assert_file(&staged->folder, "replaced", "3");
    assert_ptr_not_equal(staged_make(staged, NULL, "removed", S_IFREG | 0600), removed);
}

static void exchanged_files_keep_their_content(void **state)
{
    struct staged *staged = *state;
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    struct stage_node *one = staged_make(staged, NULL, "one", S_IFREG | 0600);
    struct stage_node *other = staged_make(staged, folder, "other", S_IFREG | 0600);
    staged_write(staged, one, "1");
    assert_int_equal(staged_rename(staged, NULL, "one", folder, "other", RENAME_EXCHANGE), 0);
    assert_place(staged, one, folder, "other");
    assert_place(staged, other, staged->top, "one");
    assert_ptr_equal(staged_find(staged, NULL, "one"), other);
    assert_ptr_equal(staged_find(staged, folder, "other"), one);
    assert_file(&staged->folder, "folder/other", "1");
}

/* Another thread may be told to forget it as soon as the answer is there. */
static void what_is_read_outlives_being_forgotten(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    char text[8] = "";
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0600);
    staged_write(staged, file, "content");
    int descriptor = stage_read(staged->stage, file, &error);
    staged_forget(staged, file);
    assert_int_equal(staged_count(staged), 2);
    assert_int_equal(pread(descriptor, text, 7, 0), 7);
    assert_string_equal(text, "content");
    stage_read_done(staged->stage, file);
    assert_int_equal(staged_count(staged), 1);
}

static void attributes_are_set(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    char value[8] = "";
    const struct timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_nsec = UTIME_OMIT}};
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0600);
    struct stat before = staged_status(staged, file);
    assert_true(stage_set_mode(staged->stage, file, 0754, &error));
    assert_true(stage_set_times(staged->stage, file, times, &error));
    assert_true(stage_set_size(staged->stage, file, 100, &error));
    assert_true(stage_allocate(staged->stage, file, FALLOC_FL_KEEP_SIZE, 0, 5000, &error));
    struct stat status = staged_status(staged, file);
    assert_int_equal(status.st_mode, S_IFREG | 0754);
    assert_int_equal(status.st_atim.tv_sec, 5);
    assert_int_equal(status.st_atim.tv_nsec, 6);
    assert_true(status.st_mtim.tv_sec >= before.st_mtim.tv_sec);
    assert_int_equal(status.st_size, 100);
    assert_true(stage_set_extended(staged->stage, file, "user.a", "value", 5, 0, &error));
    assert_int_equal(stage_get_extended(staged->stage, file, "user.a", value, 7, &error), 5);
    assert_string_equal(value, "value");
    assert_int_equal(stage_get_extended(staged->stage, file, "user.a", value, 2, &error), -1);
    assert_int_equal(error.code, ERANGE);
    assert_true(stage_remove_extended(staged->stage, file, "user.a", &error));
    error = (struct flow_error){0};
    assert_int_equal(stage_get_extended(staged->stage, file, "user.a", value, 7, &error), -1);
    assert_int_equal(error.code, ENODATA);
}

static void large_writes_and_copies(void **state)
{
    struct staged *staged = *state;
    struct flow_error error = {0};
    struct stage_early early;
    enum { PIECE = 1 << 20, PIECES = 17 };
    char *data = malloc(PIECE);
    struct stage_node *file = staged_make(staged, NULL, "file", S_IFREG | 0600);
    struct stage_node *copy = staged_make(staged, NULL, "copy", S_IFREG | 0600);
    int early_parts = 0;
    atomic_store(&staged->stage->keeps_pages, true); /* as on a file system that has no other way */
    for (int i = 0; i < PIECES; i++) {
        memset(data, 'a' + i, PIECE);
        assert_int_equal(
            stage_write(staged->stage, file, data, PIECE, (uint64_t)i * PIECE, &early, &error),
            PIECE);
        early_parts += early.descriptor >= 0;
        stage_write_early(&early);
    }
    assert_int_equal(early_parts, 2); /* at 8 and 16 MiB */
    for (uint64_t done = 0; done < (uint64_t)PIECES * PIECE;) {
        int64_t copied = stage_copy(staged->stage, file, done, copy, done, PIECE, &error);
        assert_true(copied > 0);
        done += (uint64_t)copied;
    }
    struct buffer one = staged_read(staged, file), other = staged_read(staged, copy);
    assert_int_equal(one.size, PIECES * PIECE);
    assert_true(bytes_equal(buffer_bytes(&one), buffer_bytes(&other)));
    assert_int_equal(one.data[PIECE], 'b');
    buffer_free(&one);
    buffer_free(&other);
    free(data);
}

static void reserved_names_are_nobodys(void **state)
{
    static const char *const names[] = {".flowfs", ".flowfs-sets", ".flowfsx"};
    struct staged *staged = *state;
    staged_make(staged, NULL, "file", S_IFREG | 0600);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct stage_making making = {.mode = S_IFREG | 0600};
        struct stage_entry entry;
        struct flow_error error = {0};
        assert_false(stage_make(staged->stage, staged->top, names[i], &making, &entry, &error));
        assert_int_equal(error.code, EPERM);
        assert_int_equal(staged_rename(staged, NULL, "file", NULL, names[i], 0), EPERM);
        assert_int_equal(staged_rename(staged, NULL, names[i], NULL, "new", 0), EPERM);
        assert_int_equal(staged_remove(staged, NULL, names[i], false), EPERM);
        assert_int_equal(staged_look(staged, NULL, names[i]), ENOENT);
    }
    folder_write(&staged->folder, ".flowfs-x", SPAN("ours"));
    assert_string_equal(staged_names(staged, NULL), "file");
    /* Below the top only the one that is shown there is taken. */
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    staged_make(staged, folder, ".flowfsx", S_IFREG | 0600);
    assert_string_equal(staged_names(staged, folder), ".flowfsx");
}

/* A kernel that lists piece by piece. */
struct pieces {
    struct staged *staged;
    size_t room, left;
    uint64_t next;
    size_t counts[64];
    size_t total, nodes;
};

static bool take_entry(void *context, const struct stage_listed *listed)
{
    struct pieces *pieces = context;
    if (!pieces->left)
        return false;
    pieces->left--;
    pieces->next = listed->next;
    pieces->total++;
    if (listed->name[0] == 'f')
        pieces->counts[atoi(listed->name + 1)]++;
    if (listed->entry.node) {
        pieces->nodes++;
        staged_know(pieces->staged, listed->entry.node);
        assert_true(listed->entry.status.st_size == atoi(listed->name + 1));
    }
    return true;
}

static void list_in_pieces(struct staged *staged, struct stage_node *folder, size_t room, bool plus)
{
    enum { FILES = 40 };
    struct flow_error error = {0};
    struct pieces pieces = {.staged = staged, .room = room};
    size_t before;
    do {
        before = pieces.total;
        pieces.left = room;
        assert_true(
            stage_list(staged->stage, folder, pieces.next, plus, take_entry, &pieces, &error));
    } while (pieces.total > before);
    assert_int_equal(pieces.total, FILES + 2);
    assert_int_equal(pieces.nodes, plus ? FILES : 0);
    for (int i = 0; i < FILES; i++)
        assert_int_equal(pieces.counts[i], 1);
    if (!plus)
        assert_int_equal(staged->known_count, 1);
    while (staged->known_count > 1)
        staged_forget(staged, staged->known[1]);
    assert_int_equal(staged_count(staged), 2);
}

static void listings_go_on_where_they_ended(void **state)
{
    struct staged *staged = *state;
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "folder/f%d", i);
        folder_write(&staged->folder, name,
                     bytes_make("........................................", (size_t)i));
    }
    for (size_t room = 1; room < 50; room += room < 5 ? 1 : 11) {
        list_in_pieces(staged, folder, room, false);
        list_in_pieces(staged, folder, room, true);
    }
}

/* What happened, and how often the kernel was told by then. */
static void the_kernel_is_told_once_after_each_look(void **state)
{
    struct staged *staged = *state;
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    struct stage_node *file = staged_make(staged, folder, "file", S_IFREG | 0600);
    assert_int_equal(staged->changes, 0); /* nobody has looked yet */
    struct stat before = staged_status(staged, staged->top);
    staged_status(staged, file);
    staged_names(staged, folder);
    assert_int_equal(staged->changes, 0);
    staged_write(staged, file, "1");
    assert_int_equal(staged->changes, 1);
    staged_write(staged, file, "2");
    assert_int_equal(staged->changes, 1);
    struct stat after = staged_status(staged, staged->top);
    assert_true(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
                (after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
                 after.st_mtim.tv_nsec > before.st_mtim.tv_nsec));
    staged_write(staged, file, "3");
    assert_int_equal(staged->changes, 2);
    staged_names(staged, NULL);
    staged_write(staged, file, "4");
    assert_int_equal(staged->changes, 3);
    staged_names(staged, NULL);
    assert_int_equal(staged_remove(staged, folder, "file", false), 0);
    assert_int_equal(staged->changes, 4);
}

/* --staging DIR: others change it without a word. */
static void a_shared_folder_is_looked_at_again(void **state)
{
    struct staged *staged = *state;
    struct stage_node *folder = staged_folder(staged, NULL, "folder");
    assert_int_equal(staged_look(staged, folder, "file"), ENOENT);
    folder_write(&staged->folder, "folder/file", SPAN("1"));
    struct stage_node *file = staged_find(staged, folder, "file");
    folder_write(&staged->folder, "folder/new", SPAN("22"));
    folder_rename(&staged->folder, "folder/new", "folder/file");
    struct stage_node *other = staged_find(staged, folder, "file");
    assert_ptr_not_equal(other, file);
    assert_staged(staged, other, "22");
    assert_true(stage_is_fleeting(staged->stage, folder, "file"));
    assert_true(stage_is_shared(staged->stage));
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, staged_open, staged_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGED(files_are_made_written_and_read),
        STAGED(the_mode_is_what_was_asked_for),
        STAGED(a_folder_hands_its_group_down),
        STAGED(other_kinds_of_files),
        STAGED(errors_are_those_of_the_folder),
        STAGED(links_are_one_file),
        STAGED(removed_and_replaced_files_stay_in_use),
        STAGED(exchanged_files_keep_their_content),
        STAGED(what_is_read_outlives_being_forgotten),
        STAGED(attributes_are_set),
        STAGED(large_writes_and_copies),
        STAGED(reserved_names_are_nobodys),
        STAGED(listings_go_on_where_they_ended),
        STAGED(the_kernel_is_told_once_after_each_look),
        cmocka_unit_test_setup_teardown(a_shared_folder_is_looked_at_again, staged_open_shared,
                                        staged_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
