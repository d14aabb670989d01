/* random_operations [OPTIONS] FOLDER FOLDER: draws operations, does each in both folders and
 * compares what came of it; exit code 1 if they differ, with the last operations and how to do them
 * again. The folders must be empty; what is next to them counts as theirs. */
#include "random_operations.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HISTORY = 25, KNOWN = 40, LINE_CAPACITY = 3 * PATH_CAPACITY };

struct settings {
    uint64_t seed;
    unsigned long operations;
    unsigned long check_every; /* operations, for the whole trees */
    unsigned long drop_every;  /* operations, for what the kernel knows of names; 0: never */
    unsigned long spoil;       /* the operation whose data is made wrong on one side; 0: none */
    uid_t user;
    bool gentle; /* modes that leave the owner all rights, and give none by executing */
    bool trace;
};

struct tally {
    unsigned long done, succeeded;
};

struct run {
    struct settings settings;
    struct side sides[SIDES];
    struct outcome outcomes[SIDES];
    struct operation operation;
    uint64_t random;
    unsigned long number; /* of the operation, from 1 */
    unsigned total_weight;
    char known[KNOWN][PATH_CAPACITY]; /* paths that something was lately done at */
    char (*history)[LINE_CAPACITY];
    struct tally tallies[64]; /* of the kinds on names, then of those on files */
};

int64_t call_result(int64_t value)
{
    return value < 0 ? -errno : value;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

void fill_data(uint8_t *data, size_t size, uint64_t fill)
{
    uint64_t state = fill;
    for (size_t i = 0; i < size; i += sizeof state) {
        uint64_t word = random_next(&state);
        memcpy(data + i, &word, size - i < sizeof word ? size - i : sizeof word);
    }
}

static size_t below(struct run *run, size_t limit)
{
    return (size_t)(random_next(&run->random) % limit);
}

/* Few names, so that operations meet; those of flows among them, so that what is done to them is
 * also read by whoever reads flows; and a few that no file can have. */
static void draw_name(struct run *run, char *path)
{
    static const char *const names[] = {"a",
                                        "b",
                                        "c",
                                        "d",
                                        "a",
                                        "b",
                                        "request.headers",
                                        "request.body",
                                        "response.headers",
                                        "flow.json",
                                        "messages",
                                        ".hidden",
                                        "two words",
                                        "\xc3\xbc",
                                        "\xff\xfe",
                                        "a~"};
    static const char *const odd[] = {".", "", "c/", "./a", "no\nline"};
    size_t drawn = below(run, 200);
    size_t end = strlen(path);
    if (drawn < 5 && end > 0) {
        strcpy(path + end, odd[drawn]);
    } else if (drawn == 5) {
        size_t size = 253 + below(run, 5);
        memset(path + end, 'n', size);
        path[end + size] = '\0';
    } else {
        strcpy(path + end, names[below(run, sizeof names / sizeof *names)]);
    }
}

static void draw_path(struct run *run, char *path)
{
    size_t depth = 1 + below(run, 3);
    path[0] = '\0';
    const char *known = run->known[below(run, KNOWN)];
    if (known[0] && below(run, 2)) {
        strcpy(path, known);
        if (below(run, 4))
            return;
        depth = strlen(path) < PATH_CAPACITY / 2;
        strcat(path, "/");
    }
    for (size_t i = 0; i < depth; i++) {
        if (i > 0)
            strcat(path, "/");
        draw_name(run, path);
    }
}

/* Mostly small, near the ends of pages, and now and then large or impossible. */
static off_t draw_offset(struct run *run)
{
    switch (below(run, 16)) {
    case 0:
        return 0;
    case 1:
        return (off_t)below(run, 1 << 19);
    case 2:
    case 3:
        return (off_t)(below(run, 16) * 4096 + below(run, 3)) - 1;
    default:
        return (off_t)below(run, 1 << 15);
    }
}

static size_t draw_size(struct run *run)
{
    switch (below(run, 16)) {
    case 0:
        return 0;
    case 1:
        return below(run, 192 << 10);
    case 2:
    case 3:
        return below(run, 4) * 4096;
    default:
        return below(run, 6000);
    }
}

static const struct operation_kind *draw_kind(struct run *run, size_t *number)
{
    size_t drawn = below(run, run->total_weight);
    *number = 0;
    for (const struct operation_kind *kind = name_kinds; kind->name; kind++, ++*number) {
        if (drawn < kind->weight)
            return kind;
        drawn -= kind->weight;
    }
    for (const struct operation_kind *kind = file_kinds; kind->name; kind++, ++*number) {
        if (drawn < kind->weight)
            return kind;
        drawn -= kind->weight;
    }
    abort();
}

/* Mostly one that is open. */
static int draw_handle(struct run *run)
{
    int handle = (int)below(run, HANDLES);
    for (int i = 0; i < 4 && run->sides[0].handles[handle] < 0; i++)
        handle = (int)below(run, HANDLES);
    return handle;
}

static void remember_path(struct run *run)
{
    const struct operation *operation = &run->operation;
    bool has_other = operation->kind->shows & SHOWS_OTHER_PATH;
    if (run->outcomes[0].result >= 0 && operation->kind->shows & SHOWS_PATH)
        strcpy(run->known[below(run, KNOWN)], has_other ? operation->other_path : operation->path);
}

static size_t draw_operation(struct run *run)
{
    static const mode_t modes[] = {0644, 0600, 0755, 0444, 0, 0777, 02755, 04755, 01777, 06711};
    struct operation *operation = &run->operation;
    size_t number;
    operation->kind = draw_kind(run, &number);
    operation->choice = NULL;
    if (operation->kind->choices) {
        size_t count = 0;
        while (operation->kind->choices[count].text)
            count++;
        operation->choice = &operation->kind->choices[below(run, count)];
    }
    draw_path(run, operation->path);
    draw_path(run, operation->other_path);
    operation->handle = draw_handle(run);
    operation->other_handle = draw_handle(run);
    operation->offset = draw_offset(run);
    operation->other_offset = draw_offset(run);
    operation->size = draw_size(run);
    operation->mode = modes[below(run, below(run, 4) ? 3 : sizeof modes / sizeof *modes)];
    if (run->settings.gentle)
        operation->mode = (operation->mode & 0777) | S_IRWXU;
    operation->fill = random_next(&run->random);
    return number;
}

static void print_name(FILE *text, const char *name)
{
    size_t size = strlen(name);
    fputs(" '", text);
    for (; *name; name++) {
        if ((unsigned char)*name < ' ' || (unsigned char)*name >= 0x7f)
            fprintf(text, "\\x%02x", (unsigned char)*name);
        else
            fputc(*name, text);
    }
    fprintf(text, size > 100 ? "' (%zu bytes)" : "'", size);
}

static void print_operation(const struct run *run, FILE *text)
{
    const struct operation *operation = &run->operation;
    unsigned shows = operation->kind->shows;
    fprintf(text, "%lu: %s", run->number, operation->kind->name);
    if (operation->choice)
        fprintf(text, " %s", operation->choice->text);
    if (shows & SHOWS_HANDLE)
        fprintf(text, " #%d", operation->handle);
    if (shows & SHOWS_PATH)
        print_name(text, operation->path);
    if (shows & SHOWS_OTHER_PATH)
        print_name(text, operation->other_path);
    if (shows & SHOWS_MODE)
        fprintf(text, " mode %04o", operation->mode);
    if (shows & SHOWS_RANGE)
        fprintf(text, " at %lld size %zu", (long long)operation->offset, operation->size);
    if (shows & SHOWS_OTHER_HANDLE)
        fprintf(text, " to #%d", operation->other_handle);
    if (shows & SHOWS_OTHER_OFFSET)
        fprintf(text, " at %lld", (long long)operation->other_offset);
    if (shows & SHOWS_FILL)
        fprintf(text, " fill %" PRIx64, operation->fill);
    int64_t result = run->outcomes[0].result;
    if (result < 0)
        fprintf(text, " = %s", strerrorname_np((int)-result));
    else
        fprintf(text, " = %" PRId64, result);
}

static void note_operation(struct run *run)
{
    char *line = run->history[run->number % HISTORY];
    FILE *text = fmemopen(line, LINE_CAPACITY, "w");
    if (!text)
        abort();
    print_operation(run, text);
    fclose(text);
    if (run->settings.trace)
        printf("%s\n", line);
}

static void print_failure(const struct run *run, const char *what)
{
    const struct settings *settings = &run->settings;
    printf("\nDifferent after operation %lu: %s\n\nThe last operations (with what the first folder "
           "gave):\n",
           run->number, what);
    unsigned long first = run->number > HISTORY ? run->number - HISTORY + 1 : 1;
    for (unsigned long number = first; number <= run->number; number++)
        printf("  %s\n", run->history[number % HISTORY]);
    printf("\nTo do it again, in empty folders (with --check-every 1 the first difference in the "
           "trees):\n  random_operations --seed %" PRIu64
           " --operations %lu --check-every %lu --drop-every %lu --spoil %lu --user %u%s '%s' "
           "'%s'\n",
           settings->seed, run->number, settings->check_every, settings->drop_every,
           settings->spoil, settings->user, settings->gentle ? " --gentle" : "", run->sides[0].name,
           run->sides[1].name);
}

/* The status of whatever an operation was about; empty if it is not there. */
static char *describe_touched(const struct run *run, const struct side *side)
{
    const struct operation *operation = &run->operation;
    char *description = NULL;
    size_t size;
    struct stat status;
    FILE *text = open_memstream(&description, &size);
    if (!text)
        abort();
    unsigned shows = operation->kind->shows;
    if (shows & SHOWS_PATH &&
        fstatat(side->root, operation->path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        describe_status(text, &status);
    if (shows & SHOWS_OTHER_PATH &&
        fstatat(side->root, operation->other_path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        describe_status(text, &status);
    if (shows & SHOWS_HANDLE && fstat(side->handles[operation->handle], &status) == 0)
        describe_status(text, &status);
    if (shows & SHOWS_OTHER_HANDLE && fstat(side->handles[operation->other_handle], &status) == 0)
        describe_status(text, &status);
    fclose(text);
    return description;
}

static bool same_outcome(const struct run *run)
{
    const struct outcome *a = &run->outcomes[0];
    const struct outcome *b = &run->outcomes[1];
    char what[200];
    if (a->result != b->result) {
        snprintf(what, sizeof what, "the second folder gave %s%" PRId64,
                 b->result < 0 ? strerrorname_np((int)-b->result) : "",
                 b->result < 0 ? 0 : b->result);
        print_failure(run, what);
        return false;
    }
    size_t same = 0;
    while (same < a->size && same < b->size && a->data[same] == b->data[same])
        same++;
    if (a->size == b->size && same == a->size)
        return true;
    snprintf(what, sizeof what, "%zu and %zu bytes were read, and they differ from byte %zu on",
             a->size, b->size, same);
    print_failure(run, what);
    return false;
}

static bool same_touched(const struct run *run)
{
    char *a = describe_touched(run, &run->sides[0]);
    char *b = describe_touched(run, &run->sides[1]);
    bool same = strcmp(a, b) == 0;
    if (!same) {
        print_failure(run, "what it was done to is");
        printf("    %s\n  in the first folder, and in the second\n    %s\n", a, b);
    }
    free(a);
    free(b);
    return same;
}

static char *tree_text(const struct side *side)
{
    char *description = NULL;
    size_t size;
    FILE *text = open_memstream(&description, &size);
    if (!text)
        abort();
    describe_tree(text, side);
    fclose(text);
    return description;
}

static bool same_trees(const struct run *run)
{
    char *a = tree_text(&run->sides[0]);
    char *b = tree_text(&run->sides[1]);
    bool same = strcmp(a, b) == 0;
    if (!same) {
        print_failure(run, "the trees");
        const char *x = a;
        const char *y = b;
        while (strcspn(x, "\n") == strcspn(y, "\n") && strncmp(x, y, strcspn(x, "\n")) == 0) {
            x += strcspn(x, "\n") + 1;
            y += strcspn(y, "\n") + 1;
        }
        printf("The first difference:\n  %.*s\n  %.*s\n", (int)strcspn(x, "\n"), x,
               (int)strcspn(y, "\n"), y);
    }
    free(a);
    free(b);
    return same;
}

/* Has the kernel forget names and inodes that nobody uses; what is written stays. */
static void drop_names(void)
{
    int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (write(file, "2", 1) < 0)
        perror("drop_caches");
    close(file);
}

static bool do_operation(struct run *run)
{
    struct tally *tally = &run->tallies[draw_operation(run)];
    for (int i = 0; i < SIDES; i++) {
        run->outcomes[i].result = 0;
        run->outcomes[i].size = 0;
        if (fchdir(run->sides[i].root) < 0) {
            perror(run->sides[i].name);
            return false;
        }
        run->operation.kind->run(&run->operation, &run->sides[i], &run->outcomes[i]);
    }
    if (run->number == run->settings.spoil)
        run->outcomes[1].result ^= 1;
    tally->done++;
    tally->succeeded += run->outcomes[0].result >= 0;
    note_operation(run);
    remember_path(run);
    if (!same_outcome(run) || !same_touched(run))
        return false;
    if (run->settings.drop_every && run->number % run->settings.drop_every == 0)
        drop_names();
    return run->number % run->settings.check_every != 0 || same_trees(run);
}

/* Whether all of these kinds went well now and then: what never did was not tested. */
static bool print_tallies(const struct run *run, const struct operation_kind *kinds,
                          const struct tally *tallies)
{
    bool enough = true;
    for (size_t i = 0; kinds[i].name; i++) {
        printf("%-24s %7lu, %7lu succeeded\n", kinds[i].name, tallies[i].done,
               tallies[i].succeeded);
        enough = enough && (tallies[i].succeeded >= 3 || run->settings.operations < 20000);
    }
    return enough;
}

static const char usage[] =
    "usage: random_operations [--seed N] [--operations N] [--check-every N] [--drop-every N]\n"
    "                         [--user UID] [--gentle] [--trace] [--spoil N] FOLDER FOLDER\n";

static unsigned long number_argument(const char *text)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end || end == text) {
        fprintf(stderr, "random_operations: expected a number, found %s\n%s", text, usage);
        exit(2);
    }
    return number;
}

static void read_arguments(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"operations", required_argument, NULL, 'n'},
                                            {"check-every", required_argument, NULL, 'c'},
                                            {"drop-every", required_argument, NULL, 'd'},
                                            {"user", required_argument, NULL, 'u'},
                                            {"spoil", required_argument, NULL, 'x'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"gentle", no_argument, NULL, 'g'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            settings->seed = number_argument(optarg);
            break;
        case 'n':
            settings->operations = number_argument(optarg);
            break;
        case 'c':
            settings->check_every = number_argument(optarg);
            break;
        case 'd':
            settings->drop_every = number_argument(optarg);
            break;
        case 'u':
            settings->user = (uid_t)number_argument(optarg);
            break;
        case 'x':
            settings->spoil = number_argument(optarg);
            break;
        case 'g':
            settings->gentle = true;
            break;
        case 't':
            settings->trace = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
}

static bool open_side(struct side *side, const char *name)
{
    side->name = name;
    side->root = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < HANDLES; i++)
        side->handles[i] = -1;
    if (side->root < 0)
        perror(name);
    return side->root >= 0;
}

static void start(struct run *run)
{
    const struct operation_kind *kind;
    for (kind = name_kinds; kind->name; kind++)
        run->total_weight += kind->weight;
    for (kind = file_kinds; kind->name; kind++)
        run->total_weight += kind->weight;
    run->random = run->settings.seed;
    run->history = calloc(HISTORY, sizeof *run->history);
    for (int i = 0; i < SIDES; i++)
        run->outcomes[i].data = malloc(DATA_CAPACITY);
    if (!run->history || !run->outcomes[0].data || !run->outcomes[1].data)
        abort();
    signal(SIGPIPE, SIG_IGN);
    umask(022);
}

int main(int argc, char **argv)
{
    static struct run run = {
        .settings = {.operations = 1000, .check_every = 1000, .seed = 1},
    };
    read_arguments(&run.settings, argc, argv);
    if (argc - optind != SIDES) {
        fputs(usage, stderr);
        return 2;
    }
    for (int i = 0; i < SIDES; i++)
        if (!open_side(&run.sides[i], argv[optind + i]))
            return 2;
    uid_t user = run.settings.user;
    if (user && (setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0)) {
        perror("random_operations: cannot become the user");
        return 2;
    }
    start(&run);
    bool same = true;
    for (run.number = 1; same && run.number <= run.settings.operations; run.number++)
        same = do_operation(&run);
    run.number--;
    if (!same || !same_trees(&run))
        return 1;
    size_t name_kind_count = 0;
    while (name_kinds[name_kind_count].name)
        name_kind_count++;
    bool enough = print_tallies(&run, name_kinds, run.tallies);
    enough = print_tallies(&run, file_kinds, run.tallies + name_kind_count) && enough;
    if (!enough)
        printf("Some kinds of operations hardly ever succeeded\n");
    return enough ? 0 : 1;
}
