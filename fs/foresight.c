#include "foresight.h"

#include "inode.h"

#define MESSAGES FLOWDIR_FILES
#define NOTHING (-1)

static int place_of(uint64_t number)
{
    struct inode inode = inode_parse(number);
    return inode.kind == INODE_FILE      ? (int)inode.file
           : inode.kind == INODE_MESSAGE ? MESSAGES
                                         : NOTHING;
}

void foresight_note_read(struct foresight *foresight, uint64_t inode)
{
    int place = place_of(inode);
    /* Written only now and then: many threads come by here. */
    if (place != NOTHING && atomic_load_explicit(&foresight->wanted[place], memory_order_relaxed) <
                                FORESIGHT_DIRECTORIES / 2)
        atomic_store_explicit(&foresight->wanted[place], FORESIGHT_DIRECTORIES,
                              memory_order_relaxed);
}

static bool is_wanted(const _Atomic int *wanted)
{
    return atomic_load_explicit(wanted, memory_order_relaxed) > 0;
}

bool foresight_wants(const struct foresight *foresight, uint64_t inode)
{
    int place = place_of(inode);
    return place != NOTHING && is_wanted(&foresight->wanted[place]);
}

bool foresight_wants_any(const struct foresight *foresight)
{
    for (int i = 0; i <= MESSAGES; i++)
        if (is_wanted(&foresight->wanted[i]))
            return true;
    return false;
}

static void lower(_Atomic int *wanted)
{
    if (is_wanted(wanted))
        atomic_fetch_sub_explicit(wanted, 1, memory_order_relaxed);
}

void foresight_note_given(struct foresight *foresight, uint64_t directory)
{
    enum inode_kind kind = inode_parse(directory).kind;
    if (kind == INODE_MESSAGES)
        lower(&foresight->wanted[MESSAGES]);
    for (int i = 0; kind == INODE_FLOW && i < FLOWDIR_FILES; i++)
        lower(&foresight->wanted[i]);
}

/* In place of a number of flows: enough, and the kernel has been told. */
#define TOLD UINT32_MAX

/* A slot that nobody has used stands for host 0 with no flow listed, which is right. */
static _Atomic uint64_t *slot_of_host(struct foresight *foresight, uint32_t host)
{
    return &foresight->hosts[host % FORESIGHT_SLOTS];
}

/* To list a host takes two requests, and for each flow a fraction of the time of one. */
static uint32_t flows_that_pay(uint32_t flows)
{
    return 4 + flows / 16;
}

bool foresight_note_flow(struct foresight *foresight, uint32_t host, uint32_t flows)
{
    _Atomic uint64_t *slot = slot_of_host(foresight, host);
    uint64_t none = (uint64_t)host << 32;
    uint64_t before = atomic_load_explicit(slot, memory_order_relaxed);
    uint32_t listed = before >> 32 == host ? (uint32_t)before : 0;
    if (listed == TOLD)
        return false;
    listed++;
    bool pays = listed >= flows_that_pay(flows);
    atomic_store_explicit(slot, none | (pays ? TOLD : listed), memory_order_relaxed);
    return pays;
}

void foresight_note_host(struct foresight *foresight, uint32_t host)
{
    _Atomic uint64_t *slot = slot_of_host(foresight, host);
    if (atomic_load_explicit(slot, memory_order_relaxed) >> 32 == host)
        atomic_store_explicit(slot, (uint64_t)host << 32, memory_order_relaxed);
}
