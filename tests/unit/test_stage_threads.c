/* Threads that make, find, list, rename, link, remove and forget the same few files and sets, while
 * descriptors are scarce. Every error is one that another thread explains; at the end nothing is
 * left over. Meant for ThreadSanitizer, too. */
#include "stage_support.h"

#include "stage_inside.h"
#include "stage_node_inside.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, NAMES = 6, MOST_OPEN = 24 };

/* Rounds go on for so long, in seconds. */
#define DURATION 4

struct thread {
    pthread_t thread;
    struct staged *staged;
    struct stage_node *folders[2]; /* a set, and a flow in it */
    uint64_t random;
    time_t end;
    uint64_t done;
    int unexpected;
    char message[200];
};

/* A kernel asks so that no two threads change one folder at once, or find in it what is just being
 * changed. */
static pthread_rwlock_t folder_lock = PTHREAD_RWLOCK_INITIALIZER;

static bool is_expected(int code)
{
    return code == ENOENT || code == EEXIST || code == ENOTEMPTY || code == EISDIR ||
           code == ENOTDIR || code == EBADMSG || code == EROFS || code == EPERM || code == EMFILE;
}

static void note(struct thread *thread, bool done, const struct flow_error *error)
{
    thread->done += done;
    if (done || is_expected(error->code) || thread->unexpected)
        return;
    thread->unexpected = error->code ? error->code : -1;
    snprintf(thread->message, sizeof thread->message, "%.199s", error->message);
}

static struct stage_node *some_folder(struct thread *thread)
{
    size_t choice = test_random(&thread->random) % 3;
    return choice == 2 ? thread->staged->top : thread->folders[choice];
}

static void some_name(struct thread *thread, char name[32])
{
    static const char *const derived[] = {"set.mitm", "set.errors", ".flowfs", "n1.mitm"};
    size_t choice = test_random(&thread->random) % (NAMES + 4);
    if (choice < NAMES)
        snprintf(name, 32, "n%zu", choice);
    else
        snprintf(name, 32, "%s", derived[choice - NAMES]);
}

static void use(struct thread *thread, struct stage_node *node, mode_t mode)
{
    struct stage *stage = thread->staged->stage;
    struct flow_error error = {0};
    struct stage_early early;
    struct stat status;
    char byte;
    note(thread, stage_attributes(stage, node, &status, &error), &error);
    if (!S_ISREG(mode))
        return;
    error = (struct flow_error){0};
    note(thread, stage_write(stage, node, "text", 4, 0, &early, &error) == 4, &error);
    stage_write_early(&early);
    error = (struct flow_error){0};
    int descriptor = stage_read(stage, node, &error);
    note(thread, descriptor >= 0, &error);
    if (descriptor < 0)
        return;
    if (pread(descriptor, &byte, 1, 0) < 0)
        thread->unexpected = errno;
    stage_read_done(stage, node);
}

static void find(struct thread *thread, struct stage_node *folder, const char *name)
{
    struct stage *stage = thread->staged->stage;
    struct flow_error error = {0};
    struct stage_entry entry;
    pthread_rwlock_rdlock(&folder_lock);
    bool done = stage_lookup(stage, folder, name, &entry, &error);
    pthread_rwlock_unlock(&folder_lock);
    note(thread, done, &error);
    if (!done)
        return;
    use(thread, entry.node, entry.status.st_mode);
    stage_node_forget(stage_nodes_of(stage), entry.node, 1);
}

static void make(struct thread *thread, struct stage_node *folder, const char *name)
{
    struct stage *stage = thread->staged->stage;
    struct flow_error error = {0};
    struct stage_entry entry;
    struct stage_making making = {.owner = geteuid(), .group = getegid()};
    making.mode = test_random(&thread->random) % 3 ? S_IFREG | 0600 : S_IFDIR | 0700;
    pthread_rwlock_wrlock(&folder_lock);
    bool done = stage_make(stage, folder, name, &making, &entry, &error);
    pthread_rwlock_unlock(&folder_lock);
    note(thread, done, &error);
    if (!done)
        return;
    use(thread, entry.node, making.mode);
    stage_node_forget(stage_nodes_of(stage), entry.node, 1);
}

static void put_away(struct thread *thread, struct stage_node *folder, const char *name)
{
    struct stage *stage = thread->staged->stage;
    char other[32];
    struct flow_error error = {0};
    struct stage_node *target = some_folder(thread);
    unsigned choice = test_random(&thread->random) % 4;
    some_name(thread, other);
    pthread_rwlock_wrlock(&folder_lock);
    bool done = choice == 0   ? stage_remove(stage, folder, name, false, &error)
                : choice == 1 ? stage_remove(stage, folder, name, true, &error)
                : choice == 2
                    ? stage_rename(stage, folder, name, target, other, 0, &error)
                    : stage_rename(stage, folder, name, target, other, RENAME_EXCHANGE, &error);
    pthread_rwlock_unlock(&folder_lock);
    note(thread, done, &error);
}

static bool take_entry(void *context, const struct stage_listed *listed)
{
    struct thread *thread = context;
    if (test_random(&thread->random) % 20 == 0)
        return false;
    if (listed->entry.node)
        stage_node_forget(stage_nodes_of(thread->staged->stage), listed->entry.node, 1);
    return true;
}

static void list(struct thread *thread, struct stage_node *folder)
{
    struct flow_error error = {0};
    pthread_rwlock_rdlock(&folder_lock);
    bool done = stage_list(thread->staged->stage, folder, 0, true, take_entry, thread, &error);
    pthread_rwlock_unlock(&folder_lock);
    note(thread, done, &error);
}

static void *work(void *argument)
{
    struct thread *thread = argument;
    char name[32];
    while (time(NULL) < thread->end && !thread->unexpected) {
        struct stage_node *folder = some_folder(thread);
        some_name(thread, name);
        switch (test_random(&thread->random) % 8) {
        case 0:
            list(thread, folder);
            break;
        case 1:
        case 2:
            make(thread, folder, name);
            break;
        case 3:
            put_away(thread, folder, name);
            break;
        default:
            find(thread, folder, name);
            break;
        }
    }
    return NULL;
}

static void many_threads_leave_nothing_behind(void **state)
{
    struct staged *staged = *state;
    struct thread threads[THREADS] = {0};
    uint64_t done = 0;
    stage_nodes_of(staged->stage)->most_open = MOST_OPEN;
    staged_add_flow(staged, "set", "flow");
    struct stage_node *set = staged_find(staged, NULL, "set");
    struct stage_node *flow = staged_find(staged, set, "flow");
    for (int i = 0; i < THREADS; i++) {
        threads[i].staged = staged;
        threads[i].folders[0] = set;
        threads[i].folders[1] = flow;
        threads[i].random = (uint64_t)i + 1;
        threads[i].end = time(NULL) + DURATION;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, work, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        done += threads[i].done;
    }
    for (int i = 0; i < THREADS; i++)
        if (threads[i].unexpected)
            fail_msg("thread %d: %d, %s", i, threads[i].unexpected, threads[i].message);
    print_message("# %llu calls\n", (unsigned long long)done);
    assert_true(done > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_threads_leave_nothing_behind, staged_open,
                                        staged_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
