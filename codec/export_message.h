/* A message as it is exported: decoded, with header fields that say so. For export*.c only. */
#ifndef FLOWFS_CODEC_EXPORT_MESSAGE_H
#define FLOWFS_CODEC_EXPORT_MESSAGE_H

#include "export.h"

struct export_message {
    const struct flow_message *message;
    struct buffer content; /* decoded, as it is on the wire where it does not decode */
    bool chunked;          /* Transfer-Encoding says so */
    bool keeps_length;     /* Content-Length stays as it is */
};

/* As Message.decode of mitmproxy/http.py leaves it. False with EFBIG, ENOMEM or what reading gave.
 * Freed by export_message_close. */
bool export_message_open(struct export_message *exported, struct flowdir *directory, bool request,
                         struct flow_error *error);

/* Calls `field` for each header field. */
typedef void export_field(void *context, struct bytes name, struct bytes value);
void export_message_fields(const struct export_message *exported, export_field *field,
                           void *context);

void export_message_close(struct export_message *exported);

/* export_command.c */
bool export_curl(struct flowdir *directory, struct buffer *out, struct flow_error *error);
bool export_httpie(struct flowdir *directory, struct buffer *out, struct flow_error *error);

#endif
