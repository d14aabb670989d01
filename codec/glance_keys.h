/* The members of a record that a glance looks at, told apart by their names.
 *
 * A program writes the members of each flow in the same order, and many of them with the same
 * value: what stood in the last record at the same place is compared first, and nothing is taken
 * apart where it is the same. */
#ifndef FLOWFS_CODEC_GLANCE_KEYS_H
#define FLOWFS_CODEC_GLANCE_KEYS_H

#include "glance_walk.h"

enum glance_key {
    KEY_OTHER,
    KEY_ADDRESS,
    KEY_AUTHORITY,
    KEY_CLIENT_CONNECTION,
    KEY_CONTENT,
    KEY_ERROR,
    KEY_HEADERS,
    KEY_HOST,
    KEY_HTTP_VERSION,
    KEY_ID,
    KEY_MESSAGES,
    KEY_METHOD,
    KEY_NAME,
    KEY_PATH,
    KEY_PEERNAME,
    KEY_PORT,
    KEY_QUESTIONS,
    KEY_REQUEST,
    KEY_RESPONSE,
    KEY_SCHEME,
    KEY_SERVER_CONNECTION,
    KEY_STATUS_CODE,
    KEY_TIMESTAMP,
    KEY_TIMESTAMP_CREATED,
    KEY_TIMESTAMP_START,
    KEY_TRAILERS,
    KEY_TYPE,
    KEY_VERSION,
    KEY_WEBSOCKET,
};

/* The longest text that is remembered, in words of 8 bytes; a name and a short value. */
#define GLANCE_WORDS 3

/* A key as it stood in the last record; with its value if that is of no interest. */
struct glance_seen {
    uint64_t text[GLANCE_WORDS], mask[GLANCE_WORDS];
    unsigned size; /* in bytes; 0: nothing was seen */
    enum glance_key key;
    bool whole; /* key and value */
};

/* More members than a dict of mitmproxy's has. */
#define GLANCE_MEMBERS 24

/* What one kind of dict held in the last record. Zeroed at first. */
struct glance_dict {
    struct glance_seen seen[GLANCE_MEMBERS];
};

/* As glance_member, for a member that is not what was seen there before; seen: NULL if nothing is
 * remembered. */
struct glance_piece glance_member_anew(struct glance_walk *walk, struct glance_seen *seen,
                                       size_t from, size_t end, enum glance_key *key);

static inline uint64_t glance_word(const uint8_t *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return word;
}

/* The value of the member at `from` of a dict that ends at `end`; none, with the walk's error, if
 * there is none. Of KEY_OTHER only `next` is set. seen: what stood at its place in the last record;
 * NULL if nothing is remembered. */
static inline struct glance_piece glance_member(struct glance_walk *walk, struct glance_seen *seen,
                                                size_t from, size_t end, enum glance_key *key)
{
    if (!seen || end - from < sizeof seen->text)
        return glance_member_anew(walk, seen, from, end, key);
    const uint8_t *text = walk->text + from;
    uint64_t different = ((glance_word(text) ^ seen->text[0]) & seen->mask[0]) |
                         ((glance_word(text + 8) ^ seen->text[1]) & seen->mask[1]) |
                         ((glance_word(text + 16) ^ seen->text[2]) & seen->mask[2]);
    if (different || !seen->size)
        return glance_member_anew(walk, seen, from, end, key);
    *key = seen->key;
    if (seen->whole)
        return (struct glance_piece){.next = from + seen->size};
    return glance_step(walk, from + seen->size, end);
}

#endif
