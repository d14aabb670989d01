/* Any bytes as a HAR file: items follow each other without overlap, the window's size changes
 * nothing, and each entry is read or refused. The first byte picks the window. */
#include "har_read.h"
#include "har_scan.h"
#include "harness.h"

#include <errno.h>

static void read_entry(struct bytes content, const struct har_item *item)
{
    struct flow_error error = {0};
    struct arena *arena = arena_new();
    HOLDS(arena);
    struct bytes json = bytes_make(content.data + item->offset, (size_t)item->size);
    struct value *state = har_read_entry(json, item->offset, arena, &error);
    HOLDS(state || error.code == EBADMSG);
    arena_free(arena);
}

/* Returns how many items there were; `sum` is over all of their places. */
static size_t scan(struct bytes content, size_t window, bool read, uint64_t *sum)
{
    struct flow_error error = {0};
    struct har_item item = {.kind = HAR_ITEM_GAP};
    struct source *source = source_open_memory(content, &error);
    HOLDS(source);
    struct har_scanner *scanner = har_scan_open(source, window, &error);
    HOLDS(scanner);
    uint64_t reached = 0;
    size_t count = 0;
    *sum = 0;
    while (item.kind != HAR_ITEM_END) {
        error = (struct flow_error){0};
        if (!har_scan_next(scanner, &item, &error)) {
            HOLDS(error.code == EBADMSG);
            item.kind = HAR_ITEM_GAP;
            count++;
            continue;
        }
        HOLDS(item.offset >= reached && item.offset <= content.size);
        HOLDS(item.size <= content.size - item.offset);
        reached = item.offset + item.size;
        *sum = *sum * 31 + item.offset * 7 + item.size + (uint64_t)item.kind;
        if (item.kind == HAR_ITEM_ENTRY && read)
            read_entry(content, &item);
        HOLDS(++count < content.size + 10);
    }
    har_scan_close(scanner);
    source_close(source);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t sum, small_sum;
    if (!size)
        return 0;
    struct bytes content = guarded(data + 1, size - 1);
    size_t count = scan(content, HAR_SCAN_WINDOW, true, &sum);
    HOLDS(scan(content, 1 + data[0] % 100, false, &small_sum) == count);
    HOLDS(sum == small_sum);
    return 0;
}
