#include "capture_folder.h"

#include "capture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Folders in folders, deeper than which nobody keeps captures; it ends loops of links. */
#define FOLDER_DEPTH 16

struct walk {
    size_t shown; /* how much of a path is not part of a capture's name */
    capture_folder_visit *visit;
    void *context;
};

/* A capture by its look: what an editor or a backup leaves in a folder must not end a mount. */
static bool looks_like_capture(const char *path)
{
    struct flow_error ignored = {0};
    struct capture_item item = {0};
    struct capture *capture = capture_open(path, &ignored);
    struct capture_scan *scan = capture ? capture_scan_open(capture, 0, &ignored) : NULL;
    bool is_capture =
        scan && capture_scan_next(scan, &item, &ignored) &&
        (item.kind == CAPTURE_FLOW || (item.kind == CAPTURE_PARTIAL && item.extent.size > 16));
    capture_scan_close(scan);
    capture_close(capture);
    return is_capture;
}

static bool walk_folder(const struct walk *walk, const char *path, unsigned depth,
                        struct flow_error *error);

static bool walk_entry(const struct walk *walk, const char *folder, const struct dirent *entry,
                       unsigned depth, struct flow_error *error)
{
    char *path;
    struct stat status;
    bool added = true;
    if (entry->d_name[0] == '.')
        return true;
    if (asprintf(&path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                 entry->d_name) < 0)
        return flow_error_memory(error);
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            added = walk_folder(walk, path, depth + 1, error);
        else if (S_ISREG(status.st_mode) && looks_like_capture(path))
            added = walk->visit(walk->context, path, path + walk->shown, error);
    }
    free(path);
    return added;
}

static bool walk_folder(const struct walk *walk, const char *path, unsigned depth,
                        struct flow_error *error)
{
    struct dirent **entries;
    bool added = true;
    if (depth == FOLDER_DEPTH)
        return true;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "cannot list %s: %s", path,
                       strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (added)
            added = walk_entry(walk, path, entries[i], depth, error);
        free(entries[i]);
    }
    free(entries);
    return added;
}

bool capture_folder_is(const char *path)
{
    struct stat status;
    return strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool capture_folder_walk(const char *path, capture_folder_visit *visit, void *context,
                         struct flow_error *error)
{
    size_t length = strlen(path);
    struct walk walk = {length + (path[length - 1] != '/'), visit, context};
    return walk_folder(&walk, path, 0, error);
}
