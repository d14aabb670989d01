/* Feeds files, and all files in folders, to a fuzz target: seeds and inputs that once broke
 * something, with any compiler. Exits with 2 if there was none. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static size_t replayed;

static void fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path)
{
    struct buffer content = BUFFER_INIT;
    uint8_t piece[65536];
    size_t got;
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(&content, piece, got);
    if (ferror(file) || content.failed)
        fail(path);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(content.data, content.size);
    buffer_free(&content);
    replayed++;
}

static void replay(const char *path)
{
    struct stat status;
    struct dirent **entries;
    char inner[4096];
    if (stat(path, &status) < 0)
        fail(path);
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path);
        return;
    }
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        fail(path);
    for (int i = 0; i < count; i++) {
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay(inner);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu inputs\n", replayed);
    return replayed ? 0 : 2;
}
