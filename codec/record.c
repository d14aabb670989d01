#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A block is what one record_need reads at least. */
#define BLOCK_SIZE ((size_t)64 * 1024)

static bool read_exactly(const struct record *record, size_t from, size_t size,
                         struct flow_error *error)
{
    size_t got;
    /* The bytes are the record's own: it only lends them as const. */
    uint8_t *data = (uint8_t *)(uintptr_t)record->text.data + from;
    if (!source_read(record->source, record->offset + from, data, size, &got, error))
        return false;
    if (got < size) {
        flow_error_set(error, EIO, record->offset + from + got,
                       "%s ends here, expected %zu bytes more: it was cut short",
                       source_path(record->source), size - got);
        return false;
    }
    return true;
}

static bool open_long(struct record *record, struct flow_error *error)
{
    size_t blocks = (record->text.size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    record->filled = calloc(blocks / 64 + 1, sizeof *record->filled);
    if (!record->filled)
        return flow_error_memory(error);
    /* Address space only: pages that are never read into take no memory. */
    void *memory = mmap(NULL, record->text.size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free(record->filled);
        record->filled = NULL;
        return flow_error_memory(error);
    }
    record->text.data = memory;
    return true;
}

bool record_open(struct record *record, const struct source *source, uint64_t offset, size_t size,
                 struct flow_error *error)
{
    *record = (struct record){{NULL, size}, offset, source, NULL, true};
    if (size > RECORD_WHOLE_LIMIT)
        return open_long(record, error);
    record->text.data = malloc(size ? size : 1);
    if (!record->text.data)
        return flow_error_memory(error);
    if (read_exactly(record, 0, size, error))
        return true;
    record_close(record);
    return false;
}

void record_borrow(struct record *record, struct bytes text, uint64_t offset)
{
    *record = (struct record){text, offset, NULL, NULL, false};
}

bool record_need(struct record *record, size_t from, size_t size, struct flow_error *error)
{
    if (!record->filled || size == 0)
        return true;
    size_t last = (from + size - 1) / BLOCK_SIZE;
    for (size_t block = from / BLOCK_SIZE; block <= last; block++) {
        uint64_t bit = (uint64_t)1 << block % 64;
        if (record->filled[block / 64] & bit)
            continue;
        size_t at = block * BLOCK_SIZE;
        size_t left = record->text.size - at;
        if (!read_exactly(record, at, left < BLOCK_SIZE ? left : BLOCK_SIZE, error))
            return false;
        record->filled[block / 64] |= bit;
    }
    return true;
}

static bool need(void *context, size_t from, size_t size, struct flow_error *error)
{
    return record_need(context, from, size, error);
}

const struct tnet_need *record_tnet_need(struct record *record, struct tnet_need *tnet_need)
{
    *tnet_need = (struct tnet_need){need, record, RECORD_LONG_STRING};
    return record->filled ? tnet_need : NULL;
}

struct value *record_read(struct record *record, struct arena *arena, struct flow_error *error)
{
    struct tnet_need tnet_need;
    return tnet_read(record->text, record->offset, record_tnet_need(record, &tnet_need), arena,
                     error);
}

size_t record_bytes_read(const struct record *record)
{
    size_t blocks = 0;
    if (!record->filled)
        return record->text.size;
    for (size_t i = 0; i <= record->text.size / BLOCK_SIZE / 64; i++)
        blocks += (size_t)__builtin_popcountll(record->filled[i]);
    return blocks * BLOCK_SIZE;
}

void record_close(struct record *record)
{
    /* The bytes are the record's own: it only lends them as const. */
    void *memory = (void *)(uintptr_t)record->text.data;
    if (record->filled)
        munmap(memory, record->text.size);
    else if (record->owned)
        free(memory);
    free(record->filled);
    *record = (struct record){0};
}
