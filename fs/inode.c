#include "inode.h"

#define FIRST_HOST 16u
#define MESSAGES_SLOT 31u
#define FIRST_MESSAGE_SLOT 32u
#define CONTROL_SLOT 14u
#define FIRST_LINK_SLOT 27u
#define VIEW_BIT ((uint64_t)1 << 62) /* of flows there are at most 2^30 */
#define ROOT_CONTROL 2u
#define HOST_CONTROL 0x40000000u /* 16 numbers a host, of which there are at most 2^24 */
#define ROOT_CONTROL_FILES 0x50000000u

_Static_assert(1 + FLOWDIR_FILES <= CONTROL_SLOT, "a flow's files have slots of their own");
_Static_assert(1 + CONTROL_FILES <= 16, "a control file has a number of 4 bits in its directory");
_Static_assert(CONTROL_SLOT + 1 + CONTROL_CAPTURES <= FIRST_LINK_SLOT, "so have its control files");
_Static_assert(FIRST_LINK_SLOT + LINKS <= MESSAGES_SLOT, "and the links to it");

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

uint64_t inode_of_view(struct view_place place)
{
    return VIEW_BIT | (uint64_t)place.view << 56 | (uint64_t)place.group << 8;
}

uint64_t inode_of_link(uint32_t flow, enum inode_link link)
{
    return in_flow(flow, FIRST_LINK_SLOT + (uint64_t)link);
}

static uint64_t control_directory(const struct inode *control)
{
    switch (control->owner) {
    case CONTROL_OF_FLOW:
        return in_flow(control->number, CONTROL_SLOT);
    case CONTROL_OF_HOST:
        return HOST_CONTROL | control->number << 4;
    case CONTROL_OF_VIEW:
        return inode_of_view(inode_place(control)) + CONTROL_SLOT;
    case CONTROL_OF_ROOT:
        break;
    }
    return control->kind == INODE_CONTROL
               ? ROOT_CONTROL
               : ROOT_CONTROL_FILES | (uint64_t)(control->number & 0xFFFFFF) << 4;
}

uint64_t inode_of_control(const struct inode *control)
{
    uint64_t directory = control_directory(control);
    return control->kind == INODE_CONTROL ? directory : directory + 1 + (uint64_t)control->control;
}

static struct inode control_in(enum control_owner owner, uint32_t number, uint32_t slot)
{
    struct inode inode = {.kind = INODE_CONTROL, .number = number, .owner = owner};
    if (slot == 0)
        return inode;
    if (slot > CONTROL_FILES || !control_file_belongs((enum control_file)(slot - 1), owner))
        return (struct inode){0};
    inode.kind = INODE_CONTROL_FILE;
    inode.control = (enum control_file)(slot - 1);
    return inode;
}

static struct inode parse_slot(uint32_t flow, uint32_t slot)
{
    struct inode inode = {.number = flow};
    if (slot == 0) {
        inode.kind = INODE_FLOW;
    } else if (slot <= FLOWDIR_FILES) {
        inode.kind = INODE_FILE;
        inode.file = (enum flowdir_file)(slot - 1);
    } else if (slot >= CONTROL_SLOT && slot < FIRST_LINK_SLOT) {
        return control_in(CONTROL_OF_FLOW, flow, slot - CONTROL_SLOT);
    } else if (slot >= FIRST_LINK_SLOT && slot < FIRST_LINK_SLOT + LINKS) {
        inode.kind = INODE_LINK;
        inode.link = (enum inode_link)(slot - FIRST_LINK_SLOT);
    } else if (slot == MESSAGES_SLOT) {
        inode.kind = INODE_MESSAGES;
    } else if (slot > FIRST_MESSAGE_SLOT) {
        inode.kind = INODE_MESSAGE;
        inode.message = slot - FIRST_MESSAGE_SLOT;
    }
    return inode;
}

static struct inode parse_view(uint64_t number)
{
    uint32_t view = (uint32_t)(number >> 56) & 63;
    uint32_t group = (uint32_t)(number >> 8);
    uint32_t slot = (uint32_t)number & 255;
    struct inode inode = {.kind = INODE_VIEW, .number = group, .view = (enum view)view};
    if (view >= VIEWS || (number >> 40 & 0xFFFF) || (slot && slot < CONTROL_SLOT))
        return (struct inode){0};
    if (slot == 0)
        return inode;
    inode = control_in(CONTROL_OF_VIEW, group, slot - CONTROL_SLOT);
    inode.view = (enum view)view;
    return inode;
}

struct inode inode_parse(uint64_t number)
{
    uint32_t high = (uint32_t)(number >> 32);
    uint32_t low = (uint32_t)number;
    if (number & VIEW_BIT && !(number >> 63))
        return parse_view(number);
    if (high)
        return parse_slot(high - 1, low);
    if (low == INODE_ROOT_NUMBER)
        return (struct inode){.kind = INODE_ROOT};
    if (low == ROOT_CONTROL)
        return control_in(CONTROL_OF_ROOT, 0, 0);
    if (low > ROOT_CONTROL_FILES && low < ROOT_CONTROL_FILES + (1u << 28))
        return control_in(CONTROL_OF_ROOT, (low - ROOT_CONTROL_FILES) >> 4, low & 15);
    if (low >= HOST_CONTROL && low < ROOT_CONTROL_FILES)
        return control_in(CONTROL_OF_HOST, (low - HOST_CONTROL) >> 4, low & 15);
    if (low >= FIRST_HOST && low < HOST_CONTROL)
        return (struct inode){.kind = INODE_HOST, .number = low - FIRST_HOST};
    return (struct inode){0};
}
