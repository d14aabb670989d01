/* The typed view of a flow: what the state says, found once, borrowed from its values.
 *
 * Fields that this project does not know stay in the state, which is always there. A member that is
 * missing or of another kind than mitmproxy writes reads as absent; only what makes the state no
 * flow at all is an error. */
#ifndef FLOWFS_CODEC_FLOW_H
#define FLOWFS_CODEC_FLOW_H

#include "flow_target.h"
#include "value.h"

#include "error.h"

#include <stdbool.h>
#include <stdint.h>

/* A WebSocket flow is an HTTP flow with `websocket`, as in mitmproxy. */
enum flow_type {
    FLOW_HTTP,
    FLOW_TCP,
    FLOW_UDP,
    FLOW_DNS,
    FLOW_OTHER, /* a type this project does not know: only its state can be shown */
};

/* What a request and a response have in common. */
struct flow_message {
    struct value *state; /* the dict; NULL: the flow has no such message */
    struct bytes http_version;
    const struct value *headers;  /* list of [name, value], or NULL */
    const struct value *content;  /* BYTES or TEXT; NULL: not captured */
    const struct value *trailers; /* list of [name, value], or NULL */
    double timestamp_start;       /* seconds since the epoch; 0: none */
    double timestamp_end;
};

struct flow {
    struct value *state;
    enum flow_type type;
    struct bytes type_name;
    struct bytes id;
    double timestamp_start; /* of the request, or of the client's connection */
    const struct value *client_connection, *server_connection;
    const struct value *error;     /* dict with msg and timestamp, or NULL */
    struct flow_message request;   /* HTTP only */
    struct flow_message response;  /* HTTP only */
    struct flow_target target;     /* HTTP only */
    struct bytes reason;           /* HTTP only */
    int64_t status_code;           /* HTTP only; 0: no response */
    const struct value *websocket; /* dict, or NULL */
    const struct value *messages;  /* list: of websocket, TCP or UDP; else NULL */
    struct value *dns_request, *dns_response;
};

/* Reads the view from a state of version 21. `arena` is for the little that has to be joined. False
 * with EBADMSG where the state is no dict, has no type, or is an HTTP flow without request (the key
 * path says which), or ENOMEM. */
bool flow_view(struct flow *flow, struct value *state, struct arena *arena,
               struct flow_error *error);

enum flow_type flow_type_of_name(struct bytes name);

/* One header field: name and value, borrowed. False where the item is no pair of strings. */
bool flow_field(const struct value *item, struct bytes *name, struct bytes *value);

/* The value of the header fields of that name; several are joined by ", " in `arena` (RFC 9110,
 * 5.3). found->data is NULL where there is none. False if there is no memory. */
bool flow_fields_get(const struct value *fields, const char *name, struct arena *arena,
                     struct bytes *found);

/* The Content-Encoding of a message, empty if it has none. False if there is no memory. */
bool flow_content_encoding(const struct flow_message *message, struct arena *arena,
                           struct bytes *encoding);

/* From the start of the flow to the end of the response (HTTP), the answer (DNS), the error or the
 * connection, in microseconds. False where either is not known. */
bool flow_duration(const struct flow *flow, int64_t *microseconds);

/* One message of a WebSocket, TCP or UDP flow. */
struct flow_stream_message {
    const struct value *content;
    double timestamp;
    bool from_client;
    bool is_text; /* WebSocket: sent as text. TCP and UDP: the content is UTF-8 text */
    bool dropped, injected;
    int64_t opcode; /* WebSocket (RFC 6455, 5.2); 0 otherwise */
};

/* Reads an item of flow->messages. False where it is not what mitmproxy writes. */
bool flow_stream_message(const struct flow *flow, const struct value *item,
                         struct flow_stream_message *message);

/* host and port of an address [host, port, ...]; false if it is none. */
bool flow_address(const struct value *address, struct bytes *host, int64_t *port);

#endif
