/* What the kernel is given before it asks. When: foresight.h. Why that hangs nowhere: ll_gate in
 * ll.h. */
#include "ll.h"

#include <stdlib.h>
#include <time.h>

/* The files of one directory that are given at most: messages can be thousands. */
#define MOST_FILES 128

void ll_gate_open(struct ll_gate *gate, int places)
{
    gate->places = places;
    atomic_store(&gate->free, places);
}

static bool enter(struct ll_gate *gate)
{
    int free = atomic_load(&gate->free);
    while (free > 0)
        if (atomic_compare_exchange_weak(&gate->free, &free, free - 1))
            return true;
    return false;
}

static void leave(struct ll_gate *gate)
{
    atomic_fetch_add(&gate->free, 1);
}

void ll_gate_close(struct ll_gate *gate)
{
    for (int taken = 0; taken < gate->places;) {
        if (enter(gate))
            taken++;
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* The files of a directory on their way. */
struct giving {
    struct ll_mount *mount;
    void *scratch;
    int files;
};

/* Stops at the first file that the kernel does not know, or has no memory for. */
static bool give(void *context, const struct tree_entry *entry)
{
    struct giving *giving = context;
    const struct stat *status = &entry->status;
    struct flow_error ignored = {0};
    struct tree_piece piece;
    int result = 0;
    if (!entry->complete || status->st_size == 0 || status->st_size > LL_STORE_LARGEST ||
        !foresight_wants(&giving->mount->foresight, status->st_ino))
        return true;
    if (!tree_read(&giving->mount->tree, status->st_ino, 0, LL_STORE_LARGEST, giving->scratch,
                   &piece, &ignored))
        return true;
    /* Of another size than the kernel was told it would be a change of the file. */
    if (piece.piece.descriptor < 0 && piece.piece.size == (size_t)status->st_size) {
        struct fuse_bufvec buffers = FUSE_BUFVEC_INIT(piece.piece.size);
        buffers.buf[0].mem = (void *)(uintptr_t)piece.piece.bytes.data;
        result = fuse_lowlevel_notify_store(giving->mount->session, status->st_ino, 0, &buffers,
                                            FUSE_BUF_NO_SPLICE);
    }
    tree_read_done(&giving->mount->tree, &piece);
    return result == 0 && ++giving->files < MOST_FILES;
}

void ll_store_files(struct ll_mount *mount, fuse_ino_t directory)
{
    enum inode_kind kind = inode_parse(directory).kind;
    struct giving giving = {.mount = mount};
    struct flow_error ignored = {0};
    if ((kind != INODE_FLOW && kind != INODE_MESSAGES) || !foresight_wants_any(&mount->foresight) ||
        !enter(&mount->gate))
        return;
    giving.scratch = malloc(LL_STORE_LARGEST);
    if (giving.scratch)
        tree_list(&mount->tree, directory, 0, true, give, &giving, &ignored);
    foresight_note_given(&mount->foresight, directory);
    free(giving.scratch);
    leave(&mount->gate);
}

void ll_store_note_listing(struct ll_mount *mount, fuse_ino_t directory)
{
    struct inode inode = inode_parse(directory);
    const struct index *index = collection_index(mount->tree.collection);
    if (inode.kind == INODE_HOST) {
        foresight_note_host(&mount->foresight, inode.number);
    } else if (inode.kind == INODE_FLOW && inode.number < index_flow_count(index)) {
        uint32_t host = index_flow(index, inode.number)->host;
        uint32_t flows = atomic_load(&index_host(index, host)->count);
        if (!mount->read_only && foresight_note_flow(&mount->foresight, host, flows) &&
            enter(&mount->gate)) {
            fuse_lowlevel_notify_inval_inode(mount->session, inode_of_host(host), 0, 0);
            leave(&mount->gate);
        }
    }
}
