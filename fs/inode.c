#include "inode.h"

#define FIRST_HOST 16u
#define MESSAGES_SLOT 31u
#define FIRST_MESSAGE_SLOT 32u

_Static_assert(1 + FLOWDIR_FILES <= MESSAGES_SLOT, "a flow's files have slots of their own");

static uint64_t in_flow(uint32_t flow, uint64_t slot)
{
    return ((uint64_t)flow + 1) << 32 | slot;
}

uint64_t inode_of_host(uint32_t host)
{
    return (uint64_t)FIRST_HOST + host;
}

uint64_t inode_of_flow(uint32_t flow)
{
    return in_flow(flow, 0);
}

uint64_t inode_of_file(uint32_t flow, enum flowdir_file file)
{
    return in_flow(flow, 1 + (uint64_t)file);
}

uint64_t inode_of_messages(uint32_t flow)
{
    return in_flow(flow, MESSAGES_SLOT);
}

uint64_t inode_of_message(uint32_t flow, size_t message)
{
    return in_flow(flow, FIRST_MESSAGE_SLOT + (uint64_t)message);
}

static struct inode parse_slot(uint32_t flow, uint32_t slot)
{
    struct inode inode = {.number = flow};
    if (slot == 0) {
        inode.kind = INODE_FLOW;
    } else if (slot <= FLOWDIR_FILES) {
        inode.kind = INODE_FILE;
        inode.file = (enum flowdir_file)(slot - 1);
    } else if (slot == MESSAGES_SLOT) {
        inode.kind = INODE_MESSAGES;
    } else if (slot > FIRST_MESSAGE_SLOT) {
        inode.kind = INODE_MESSAGE;
        inode.message = slot - FIRST_MESSAGE_SLOT;
    }
    return inode;
}

struct inode inode_parse(uint64_t number)
{
    uint32_t high = (uint32_t)(number >> 32);
    uint32_t low = (uint32_t)number;
    if (high)
        return parse_slot(high - 1, low);
    if (low == INODE_ROOT_NUMBER)
        return (struct inode){.kind = INODE_ROOT};
    if (low >= FIRST_HOST)
        return (struct inode){.kind = INODE_HOST, .number = low - FIRST_HOST};
    return (struct inode){0};
}
