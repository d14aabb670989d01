#include "work_folder.h"

#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS 4

static char root[256];
static char names[FOLDERS][16];
static int folders[FOLDERS];
static int count;

static void empty(int folder)
{
    int descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fdopendir(descriptor);
    const struct dirent *entry;
    HOLDS(listing);
    while ((entry = readdir(listing))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(folder, entry->d_name, 0) == 0)
            continue;
        int inner = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        HOLDS(inner >= 0);
        empty(inner);
        close(inner);
        HOLDS(unlinkat(folder, entry->d_name, AT_REMOVEDIR) == 0);
    }
    closedir(listing);
}

static void remove_all(void)
{
    char path[sizeof root + sizeof *names + 1];
    for (int i = 0; i < count; i++) {
        empty(folders[i]);
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        rmdir(path);
    }
    rmdir(root);
}

static int make_folder(const char *name)
{
    char path[sizeof root + sizeof *names + 1];
    const char *parent = getenv("TMPDIR");
    if (!count) {
        if (!parent)
            parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(root, sizeof root, "%s/flowfs-fuzz-XXXXXX", parent);
        HOLDS(mkdtemp(root));
        atexit(remove_all);
    }
    HOLDS(count < FOLDERS && strlen(name) < sizeof *names);
    snprintf(path, sizeof path, "%s/%s", root, name);
    HOLDS(mkdir(path, 0700) == 0);
    strcpy(names[count], name);
    folders[count] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HOLDS(folders[count] >= 0);
    return folders[count++];
}

int work_folder(const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            empty(folders[i]);
            return folders[i];
        }
    return make_folder(name);
}

bool work_folder_write(int folder, const char *name, struct bytes content)
{
    static const struct timespec times[2] = {{1700000000, 250000000}, {1700000000, 250000000}};
    const char *slash = strchr(name, '/');
    char inner[256];
    if (slash) {
        snprintf(inner, sizeof inner, "%.*s", (int)(slash - name), name);
        if (mkdirat(folder, inner, 0700) != 0 && errno != EEXIST)
            return false;
    }
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    HOLDS(content.size == 0 || write(file, content.data, content.size) == (ssize_t)content.size);
    HOLDS(futimens(file, times) == 0);
    close(file);
    return true;
}
