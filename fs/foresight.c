#include "foresight.h"

/* Files and messages of one flow have the upper half of their inode number in common (inode.h). */
static uint32_t flow_of(uint64_t inode)
{
    return (uint32_t)(inode >> 32);
}

void foresight_note_read(struct foresight *foresight, uint64_t inode)
{
    _Atomic uint64_t *slot = &foresight->read[flow_of(inode) % FORESIGHT_SLOTS];
    uint64_t before = atomic_exchange_explicit(slot, inode, memory_order_relaxed);
    if (flow_of(before) != flow_of(inode) || before == inode)
        return;
    /* Written only now and then: many threads come by here. */
    if (atomic_load_explicit(&foresight->directories, memory_order_relaxed) <
        FORESIGHT_DIRECTORIES / 2)
        atomic_store_explicit(&foresight->directories, FORESIGHT_DIRECTORIES, memory_order_relaxed);
}

bool foresight_take(struct foresight *foresight)
{
    if (atomic_load_explicit(&foresight->directories, memory_order_relaxed) <= 0)
        return false;
    atomic_fetch_sub_explicit(&foresight->directories, 1, memory_order_relaxed);
    return true;
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
