#include "flowcat_dirs.h"

#include "flowdir_pack.h"
#include "flowdir_unpack.h"
#include "flowdir_walk.h"
#include "name.h"
#include "spool.h"
#include "tally.h"
#include "tnet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct packing_run {
    struct sink *sink;
    flowcat_mistake *tell;
    void *context;
    const char *folder;
    uint64_t packed, mistakes;
};

static bool fail(struct flow_error *error, const char *what, const char *path)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s %s: %s", what, path, strerror(code));
    return false;
}

static void tell_mistake(struct packing_run *run, const char *path, const struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    size_t length = strlen(run->folder);
    bool slash = length && run->folder[length - 1] == '/';
    buffer_printf(&text, "%s%s%s%s%s", run->folder, slash ? "" : "/", path, *path ? "/" : "",
                  error->message);
    buffer_append_byte(&text, '\0');
    run->tell(run->context, text.failed ? error->message : (const char *)text.data);
    buffer_free(&text);
    run->mistakes++;
}

static bool pack_flow(void *context, const struct flowdir_walk_flow *flow, struct flow_error *error)
{
    struct packing_run *run = context;
    struct flow_error problem = {0};
    struct buffer text = BUFFER_INIT;
    struct value *state;
    struct arena *arena = arena_new();
    bool done = arena && flowdir_pack(flow->directory, arena, &state, &problem) &&
                tnet_write(state, &text, &problem);
    if (!arena)
        flow_error_memory(&problem);
    if (done)
        done = sink_write(run->sink, buffer_bytes(&text), error);
    else if (problem.code == ENOMEM)
        *error = problem;
    else
        tell_mistake(run, flow->path, &problem);
    run->packed++;
    buffer_free(&text);
    arena_free(arena);
    return !error->code;
}

static bool pack_folder(struct packing_run *run, const char *folder, struct flow_error *error)
{
    struct flow_error problem = {0};
    uint64_t before = run->packed;
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return fail(error, "cannot read", folder);
    run->folder = folder;
    bool done = flowdir_walk(descriptor, pack_flow, run, &problem);
    close(descriptor);
    if (!done)
        flow_error_set(error, problem.code, problem.offset, "%s: %s", folder, problem.message);
    if (!done || run->packed > before)
        return done;
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET,
                   "there is no flow in %s: a flow is a folder with request.headers, flow.json or "
                   "query.json",
                   folder);
    return false;
}

int flowcat_pack(char *const *folders, int count, flowcat_mistake *tell, void *context,
                 uint64_t *mistakes, struct flow_error *error)
{
    struct packing_run run = {.tell = tell, .context = context};
    int spool = spool_open("the packed flows", error);
    if (spool < 0)
        return -1;
    run.sink = sink_open_descriptor(spool, false, error);
    bool done = run.sink != NULL;
    for (int i = 0; i < count && done; i++)
        done = pack_folder(&run, folders[i], error);
    done = done && sink_finish(run.sink, error);
    sink_close(run.sink);
    *mistakes = run.mistakes;
    if (done)
        return spool;
    close(spool);
    return -1;
}

struct unpacking {
    const struct selection *selection;
    int folder;
    struct arena *arena; /* of the names */
    struct tally names;  /* host/id: how many there are so far */
};

static bool make_directory(int parent, const char *name, bool must_be_new, struct flow_error *error)
{
    if (mkdirat(parent, name, 0777) == 0 || (errno == EEXIST && !must_be_new))
        return true;
    return fail(error, "cannot make the folder", name);
}

/* The number of flows of that name in that host so far, this one included. */
static bool count_name(struct unpacking *unpacking, const struct name *host, struct bytes id,
                       uint32_t *copy, struct flow_error *error)
{
    struct name plain;
    struct buffer path = BUFFER_INIT;
    name_make(&plain, id, 1);
    buffer_append_bytes(&path, name_bytes(host));
    buffer_append_byte(&path, '/');
    buffer_append_bytes(&path, name_bytes(&plain));
    const struct tally_entry *entry =
        path.failed ? NULL : tally_add(&unpacking->names, unpacking->arena, buffer_bytes(&path), 0);
    buffer_free(&path);
    if (!entry)
        return flow_error_memory(error);
    *copy = (uint32_t)entry->count;
    return true;
}

static bool write_directory(struct unpacking *unpacking, struct flowdir *directory,
                            const struct name *host, const struct name *name,
                            struct flow_error *error)
{
    char path[2 * (NAME_LONGEST + 1)];
    snprintf(path, sizeof path, "%s/%s", host->text, name->text);
    if (!make_directory(unpacking->folder, host->text, false, error) ||
        !make_directory(unpacking->folder, path, true, error))
        return false;
    int descriptor =
        openat(unpacking->folder, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return fail(error, "cannot open", path);
    bool done = flowdir_unpack(directory, descriptor, error);
    close(descriptor);
    return done;
}

static bool unpack_flow(struct unpacking *unpacking, struct flowdir *directory,
                        struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct flow_glance glance = {0};
    struct buffer site = BUFFER_INIT;
    struct name host, name;
    uint32_t copy = 1;
    flow_glance_of_flow(flow, &glance);
    flow_glance_site(&glance, &site);
    name_make(&host, site.size ? buffer_bytes(&site) : bytes_make("", 0), 1);
    bool done = (!site.failed || flow_error_memory(error)) &&
                count_name(unpacking, &host, flow->id, &copy, error);
    buffer_free(&site);
    if (!done)
        return false;
    name_make(&name, flow->id, copy);
    return write_directory(unpacking, directory, &host, &name, error);
}

static bool unpack_number(struct unpacking *unpacking, size_t number, struct flow_error *error)
{
    struct flowdir directory = {0};
    bool done = selection_load(unpacking->selection, number, &directory, error) &&
                unpack_flow(unpacking, &directory, error);
    flowdir_close(&directory);
    return done;
}

bool flowcat_unpack(const struct selection *selection, const char *folder, struct flow_error *error)
{
    struct unpacking unpacking = {.selection = selection, .folder = -1, .arena = arena_new()};
    bool done = unpacking.arena || flow_error_memory(error);
    if (done && mkdir(folder, 0777) != 0 && errno != EEXIST)
        done = fail(error, "cannot make the folder", folder);
    if (done) {
        unpacking.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        done = unpacking.folder >= 0 || fail(error, "cannot open", folder);
    }
    for (size_t i = 0; done && i < selection_count(selection); i++)
        done = unpack_number(&unpacking, i, error);
    if (unpacking.folder >= 0)
        close(unpacking.folder);
    tally_close(&unpacking.names);
    arena_free(unpacking.arena);
    return done;
}
