/* JSON objects written member by member, each on a line of its own. Keys are ours: plain ASCII that
 * needs no escape. */
#ifndef FLOWFS_CODEC_JSON_OBJECT_H
#define FLOWFS_CODEC_JSON_OBJECT_H

#include "json_text.h"

struct json_object {
    struct buffer *out;
    unsigned indent; /* depth of the line it starts in */
    bool any;        /* it has members */
};

struct json_object json_object_open(struct buffer *out, unsigned indent);
void json_object_close(struct json_object *object);

/* Starts a member; its value is appended to object->out. */
void json_add_key(struct json_object *object, const char *key);

/* The same for a key that is not ours. */
void json_add_escaped_key(struct json_object *object, struct bytes key);

void json_add_string(struct json_object *object, const char *key, struct bytes text);
/* null for empty text. */
void json_add_string_or_null(struct json_object *object, const char *key, struct bytes text);
void json_add_integer(struct json_object *object, const char *key, int64_t number);
void json_add_size(struct json_object *object, const char *key, uint64_t size);

void json_append_integer_or_null(struct buffer *out, bool known, int64_t number);

#endif
