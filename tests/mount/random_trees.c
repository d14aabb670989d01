/* What stands in a folder, told so that two of them can be compared. */
#include "random_operations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { INODE_CAPACITY = 4096 };

struct walk {
    FILE *text;
    /* Files with several names, in the order they were found: the same file has the same number on
     * both sides. */
    ino_t inodes[INODE_CAPACITY];
    size_t inode_count;
    uint8_t *room; /* DATA_CAPACITY */
};

void describe_status(FILE *text, const struct stat *status)
{
    bool is_pipe = S_ISFIFO(status->st_mode) || S_ISSOCK(status->st_mode);
    fprintf(text, "mode %o links %lu owner %u:%u", status->st_mode, (unsigned long)status->st_nlink,
            status->st_uid, status->st_gid);
    if (S_ISREG(status->st_mode) || S_ISLNK(status->st_mode))
        fprintf(text, " size %lld", (long long)status->st_size);
    /* Pipes' times are not told to a file system in user space. */
    if (is_pipe)
        return;
    if (status->st_mtim.tv_sec <= LATEST_SET_TIME)
        fprintf(text, " modified %lld.%09ld", (long long)status->st_mtim.tv_sec,
                status->st_mtim.tv_nsec);
    else
        fprintf(text, " modified lately");
}

static void describe_identity(struct walk *walk, const struct stat *status)
{
    size_t number = 0;
    if (status->st_nlink < 2 || S_ISDIR(status->st_mode))
        return;
    while (number < walk->inode_count && walk->inodes[number] != status->st_ino)
        number++;
    if (number == walk->inode_count && number < INODE_CAPACITY)
        walk->inodes[walk->inode_count++] = status->st_ino;
    fprintf(walk->text, " file %zu", number);
}

static void describe_attributes(struct walk *walk, int file)
{
    char names[4096];
    ssize_t size = flistxattr(file, names, sizeof names);
    /* Their order is the file system's own: each name is put into a sum. */
    uint64_t sum = 0;
    unsigned count = 0;
    for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        if (strncmp(name, "user.", 5) != 0)
            continue;
        ssize_t value_size = fgetxattr(file, name, walk->room, DATA_CAPACITY);
        uint64_t hash = (uint64_t)value_size;
        for (const char *letter = name; *letter; letter++)
            hash = hash * 1099511628211u + (unsigned char)*letter;
        for (ssize_t i = 0; i < value_size; i++)
            hash = hash * 1099511628211u + walk->room[i];
        sum += hash;
        count++;
    }
    if (count)
        fprintf(walk->text, " %u attributes %llx", count, (unsigned long long)sum);
}

static void describe_contents(struct walk *walk, int file)
{
    uint64_t hash = 0;
    ssize_t size;
    while ((size = read(file, walk->room, DATA_CAPACITY)) > 0)
        for (ssize_t i = 0; i < size; i++)
            hash = (hash ^ walk->room[i]) * 1099511628211u;
    fprintf(walk->text, " holds %llx", (unsigned long long)hash);
    if (size < 0)
        fprintf(walk->text, " and then %s", strerror(errno));
}

static void describe_link(struct walk *walk, int directory, const char *name)
{
    ssize_t size = readlinkat(directory, name, (char *)walk->room, PATH_CAPACITY);
    fprintf(walk->text, " to %.*s", size > 0 ? (int)size : 0, (const char *)walk->room);
}

static int order_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void describe_entry(struct walk *walk, int directory, const char *path, const char *name);

static void describe_directory(struct walk *walk, int directory, const char *path)
{
    struct dirent **entries = NULL;
    int count = scandirat(directory, ".", &entries, NULL, order_names);
    if (count < 0)
        fprintf(walk->text, "%s: cannot be listed: %s\n", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            describe_entry(walk, directory, path, name);
        free(entries[i]);
    }
    free(entries);
}

static void describe_entry(struct walk *walk, int directory, const char *path, const char *name)
{
    struct stat status;
    char inner_path[4096];
    snprintf(inner_path, sizeof inner_path, "%s/%s", path, name);
    fprintf(walk->text, "%s: ", inner_path);
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        fprintf(walk->text, "%s\n", strerror(errno));
        return;
    }
    describe_status(walk->text, &status);
    describe_identity(walk, &status);
    if (S_ISLNK(status.st_mode))
        describe_link(walk, directory, name);
    int file = -1;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
        file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (file < 0)
            fprintf(walk->text, " %s", strerror(errno));
    }
    if (file >= 0)
        describe_attributes(walk, file);
    if (file >= 0 && S_ISREG(status.st_mode))
        describe_contents(walk, file);
    fputc('\n', walk->text);
    if (file >= 0 && S_ISDIR(status.st_mode))
        describe_directory(walk, file, inner_path);
    if (file >= 0)
        close(file);
}

void describe_tree(FILE *text, const struct side *side)
{
    struct walk *walk = calloc(1, sizeof *walk);
    int around = openat(side->root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (walk)
        walk->room = malloc(DATA_CAPACITY);
    if (!walk || !walk->room || around < 0) {
        fprintf(text, "%s cannot be described: %s\n", side->name, strerror(errno));
    } else {
        walk->text = text;
        describe_directory(walk, around, "..");
    }
    if (around >= 0)
        close(around);
    free(walk ? walk->room : NULL);
    free(walk);
}
