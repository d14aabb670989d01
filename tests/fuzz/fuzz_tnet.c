/* Any bytes: what is read as a tnetstring is written as it was, and again. */
#include "harness.h"
#include "json_text.h"
#include "tnet.h"

#include <errno.h>

/* Zeros in front of a length are read, and not written. */
static size_t written_size(struct bytes text, struct bytes written)
{
    return written.size == text.size ? text.size : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = guarded(data, size);
    struct flow_error error = {0};
    struct arena *arena = arena_new();
    struct value *value = arena ? tnet_read(text, 1000, NULL, arena, &error) : NULL;
    HOLDS(arena);
    if (!value) {
        HOLDS(error.code == EBADMSG || error.code == EFBIG);
        HOLDS(error.offset >= 1000 && error.offset <= 1000 + size);
        HOLDS(error.message[0] && !strchr(error.message, '\n'));
        arena_free(arena);
        return 0;
    }
    struct buffer first = BUFFER_INIT;
    struct buffer second = BUFFER_INIT;
    struct buffer json = BUFFER_INIT;
    HOLDS(tnet_write(value, &first, &error));
    HOLDS(first.size <= text.size);
    HOLDS(memcmp(first.data, text.data, written_size(text, buffer_bytes(&first))) == 0);
    value = tnet_read(buffer_bytes(&first), 0, NULL, arena, &error);
    HOLDS(value);
    HOLDS(tnet_write(value_copy(arena, value), &second, &error));
    HOLDS(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
    json_append_value(&json, value, 0);
    buffer_free(&first);
    buffer_free(&second);
    buffer_free(&json);
    arena_free(arena);
    return 0;
}
