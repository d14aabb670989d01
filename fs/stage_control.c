/* `.flowfs` of sets and of staged flows: their flows in other forms. A file is made when it is
 * looked up, into one without a name, and is the kernel's as long as it knows it; after a change
 * the same name leads to another one. */
#include "stage_inside.h"

#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Keys of nodes that are made: of the folder, and of the files in it. */
#define FOLDER_KEY 0u
#define FIRST_FILE_KEY 1u

static bool no_such_file(struct flow_error *error)
{
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "no such file or directory");
    return false;
}

static bool is_flow(struct stage *stage, struct stage_node *folder)
{
    static const char *const files[] = {"request.headers", "flow.json", "query.json"};
    struct flow_error ignored = {0};
    bool found = false;
    int descriptor = stage_node_hold(stage->nodes, folder, STAGE_PATH, &ignored);
    if (descriptor < 0)
        return false;
    for (size_t i = 0; i < sizeof files / sizeof *files && !found; i++)
        found = faccessat(descriptor, files[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    stage_node_release(folder);
    return found;
}

static bool has_control(struct stage *stage, struct stage_node *folder)
{
    char set[256];
    return stage_is_set(stage, folder, set) || is_flow(stage, folder);
}

/* A set has what shows flows; a flow, which may be a set's own folder, its exports, too. */
static bool belongs(struct stage *stage, struct stage_node *folder, enum control_file file)
{
    if (control_file_belongs(file, CONTROL_OF_VIEW))
        return has_control(stage, folder);
    return control_file_belongs(file, CONTROL_OF_FLOW) && is_flow(stage, folder);
}

bool stage_control_lookup(struct stage *stage, struct stage_node *folder, struct stage_entry *entry,
                          struct flow_error *error)
{
    if (stage_node_kind(folder) != STAGE_FILE || !has_control(stage, folder))
        return no_such_file(error);
    entry->fleeting = true;
    entry->node = stage_node_find_made(stage->nodes, folder, FOLDER_KEY, 0);
    if (!entry->node)
        entry->node =
            stage_node_make(stage->nodes, folder, STAGE_CONTROL, FOLDER_KEY, 0, -1, error);
    return entry->node && stage_control_attributes(stage, entry->node, &entry->status, error);
}

/* The version of what a file shows; made anew for another one. */
static bool find_version(struct stage *stage, const char *set, uint64_t *version,
                         struct flow_error *error)
{
    enum sets_state state;
    stage_look(stage);
    *version = atomic_load(&stage->generation);
    if (!set)
        return true;
    if (!sets_update(stage->sets, set, &state, error))
        return false;
    if (state == SETS_PACKED)
        *version = sets_version(stage->sets, set);
    return true;
}

static bool write_content(struct stage *stage, struct stage_node *folder, const char *set,
                          enum control_file file, int descriptor, struct flow_error *error)
{
    if (set)
        return sets_convert(stage->sets, set, file, descriptor, error);
    int directory = stage_node_hold(stage->nodes, folder, STAGE_READ, error);
    if (directory < 0)
        return false;
    bool done = sets_convert_flow(stage->sets, directory, file, descriptor, error);
    stage_node_release(folder);
    return done;
}

static struct stage_node *make_file(struct stage *stage, struct stage_node *control,
                                    const char *set, enum control_file file, uint64_t version,
                                    struct flow_error *error)
{
    struct stage_node *folder = stage_node_parent(stage->nodes, control);
    int descriptor = spool_open(control_file_name(file), error);
    if (descriptor < 0)
        return NULL;
    if (write_content(stage, folder, set, file, descriptor, error))
        return stage_node_make(stage->nodes, control, STAGE_CONTROL_FILE,
                               FIRST_FILE_KEY + (unsigned)file, version, descriptor, error);
    close(descriptor);
    return NULL;
}

bool stage_control_file_lookup(struct stage *stage, struct stage_node *control, const char *name,
                               struct stage_entry *entry, struct flow_error *error)
{
    char set_name[256];
    uint64_t version;
    struct stage_node *folder = stage_node_parent(stage->nodes, control);
    enum control_file file = control_file_of_name(bytes_of(name));
    if (file == CONTROL_FILES || !belongs(stage, folder, file))
        return no_such_file(error);
    bool of_set = file <= CONTROL_STATS_TXT && stage_is_set(stage, folder, set_name);
    const char *set = of_set ? set_name : NULL;
    if (!find_version(stage, set, &version, error))
        return false;
    entry->fleeting = true;
    entry->node =
        stage_node_find_made(stage->nodes, control, FIRST_FILE_KEY + (unsigned)file, version);
    if (!entry->node)
        entry->node = make_file(stage, control, set, file, version, error);
    return entry->node && stage_control_attributes(stage, entry->node, &entry->status, error);
}

bool stage_control_attributes(struct stage *stage, struct stage_node *node, struct stat *status,
                              struct flow_error *error)
{
    int64_t touched = atomic_load(&stage->touched);
    *status = (struct stat){0};
    if (stage_node_kind(node) == STAGE_CONTROL_FILE) {
        int descriptor = stage_node_hold(stage->nodes, node, STAGE_READ, error);
        if (descriptor < 0)
            return false;
        bool done = fstat(descriptor, status) == 0 || stage_fail(error, ".flowfs");
        stage_node_release(node);
        if (!done)
            return false;
    } else {
        status->st_mtim.tv_sec = (time_t)(touched / 1000000000);
        status->st_mtim.tv_nsec = (long)(touched % 1000000000);
        status->st_atim = status->st_ctim = status->st_mtim;
    }
    bool folder = stage_node_kind(node) == STAGE_CONTROL;
    status->st_ino = stage_node_number(node);
    status->st_mode = folder ? S_IFDIR | (0777 & ~stage->umask) : S_IFREG | (0444 & ~stage->umask);
    status->st_nlink = folder ? 2 : 1;
    status->st_uid = stage->owner;
    status->st_gid = stage->group;
    return true;
}

/* Names alone: to know their sizes, all files would have to be made. */
bool stage_control_list(struct stage *stage, struct stage_node *control, uint64_t from,
                        stage_emit *emit, void *context, struct flow_error *error)
{
    (void)error;
    struct stage_node *folder = stage_node_parent(stage->nodes, control);
    static const char *const dots[] = {".", ".."};
    for (uint64_t i = from; i < 2 + (uint64_t)CONTROL_FILES; i++) {
        enum control_file file = (enum control_file)(i < 2 ? 0 : i - 2);
        if (i >= 2 && !belongs(stage, folder, file))
            continue;
        struct stage_listed listed = {
            .name = i < 2 ? dots[i] : control_file_name(file),
            .entry.status.st_ino = stage_node_number(control) + i,
            .entry.status.st_mode = i < 2 ? S_IFDIR : S_IFREG,
            .next = i + 1,
        };
        if (!emit(context, &listed))
            break;
    }
    return true;
}
