#include "glance_keys.h"

/* The names by length: most of a record's members are told apart by that alone. */
static enum glance_key key_of(const uint8_t *name, size_t size)
{
#define KEY(text, value)                                                                           \
    if (memcmp(name, text, sizeof(text) - 1) == 0)                                                 \
        return value;
    switch (size) {
    case 2:
        KEY("id", KEY_ID)
        break;
    case 4:
        KEY("host", KEY_HOST)
        KEY("path", KEY_PATH)
        KEY("port", KEY_PORT)
        KEY("type", KEY_TYPE)
        KEY("name", KEY_NAME)
        break;
    case 5:
        KEY("error", KEY_ERROR)
        break;
    case 6:
        KEY("method", KEY_METHOD)
        KEY("scheme", KEY_SCHEME)
        break;
    case 7:
        KEY("headers", KEY_HEADERS)
        KEY("request", KEY_REQUEST)
        KEY("version", KEY_VERSION)
        KEY("address", KEY_ADDRESS)
        KEY("content", KEY_CONTENT)
        break;
    case 8:
        KEY("response", KEY_RESPONSE)
        KEY("peername", KEY_PEERNAME)
        KEY("trailers", KEY_TRAILERS)
        KEY("messages", KEY_MESSAGES)
        break;
    case 9:
        KEY("authority", KEY_AUTHORITY)
        KEY("websocket", KEY_WEBSOCKET)
        KEY("questions", KEY_QUESTIONS)
        KEY("timestamp", KEY_TIMESTAMP)
        break;
    case 11:
        KEY("client_conn", KEY_CLIENT_CONNECTION)
        KEY("server_conn", KEY_SERVER_CONNECTION)
        KEY("status_code", KEY_STATUS_CODE)
        break;
    case 12:
        KEY("http_version", KEY_HTTP_VERSION)
        break;
    case 15:
        KEY("timestamp_start", KEY_TIMESTAMP_START)
        break;
    case 17:
        KEY("timestamp_created", KEY_TIMESTAMP_CREATED)
        break;
    default:
        break;
    }
#undef KEY
    return KEY_OTHER;
}

#define TEXT_SIZE (GLANCE_WORDS * sizeof(uint64_t))

static void remember(struct glance_seen *seen, enum glance_key key, struct bytes text, bool whole)
{
    uint8_t mask[TEXT_SIZE] = {0};
    memset(mask, 0xFF, text.size);
    memset(seen->text, 0, sizeof seen->text);
    memcpy(seen->text, text.data, text.size);
    memcpy(seen->mask, mask, sizeof mask);
    seen->size = (unsigned)text.size;
    seen->key = key;
    seen->whole = whole;
}

struct glance_piece glance_member_anew(struct glance_walk *walk, struct glance_seen *seen,
                                       size_t from, size_t end, enum glance_key *key)
{
    struct glance_piece name = glance_step(walk, from, end);
    *key = KEY_OTHER;
    if (!name.next)
        return name;
    if ((name.type == ',' || name.type == ';') && name.size <= 20) {
        struct bytes text = glance_string(walk, &name);
        *key = key_of(text.data, text.size);
    }
    struct glance_piece value = glance_step(walk, name.next, end);
    size_t size = value.next - from;
    bool whole = *key == KEY_OTHER && size <= TEXT_SIZE && (value.size == 0 || value.type == '!');
    if (seen && value.next && name.next - from <= TEXT_SIZE)
        remember(seen, *key, bytes_make(walk->text + from, whole ? size : name.next - from), whole);
    return value;
}
