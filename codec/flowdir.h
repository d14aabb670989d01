/* A flow as a directory of files: the one schema that everything uses which shows flows as files.
 *
 *   summary.json        what a person or jq wants at a glance; derived
 *   flow.json           all of the flow that no other file here holds, exactly (json_text.h)
 *   request.headers     start line (`GET https://example.com/a HTTP/1.1`, with the URL by address;
 *                       `CONNECT example.com:443 HTTP/1.1`), then one header field a line; lines
 *                       end in LF
 *   request.body        the content, decoded; content of no bytes has no file, and flow.json tells
 *                       whether it was empty or is not known
 *   request.body.raw    the bytes on the wire, if Content-Encoding names a coding
 *   request.trailers    one field a line, if there are any
 *   response.*          likewise
 *   error               the error's message
 *   messages/           NNNN-client.txt and so on: WebSocket, TCP, UDP
 *   query.json answer.json      DNS
 *
 * A start line or header field that no text line can hold (a line break or NUL in it, a colon in
 * the name) is shown with `?` in place of those bytes, and flow.json holds the exact list.
 *
 * flowdir_form.h has the rules of what goes where; the last member of flow.json, `flowfs`, may say
 * what packing must know besides (flowdir_notes.h); flowdir_pack.h is the way back. */
#ifndef FLOWFS_CODEC_FLOWDIR_H
#define FLOWFS_CODEC_FLOWDIR_H

#include "body.h"
#include "capture.h"
#include "flowdir_file.h"

/* Decoded content beyond this is not served unless the user says otherwise: it is a bomb. */
#define FLOWDIR_DECODE_LIMIT ((uint64_t)4 << 30)

/* One side's content, and what is known of its decoded form. */
struct flowdir_body {
    const struct value *content; /* NULL: there is none */
    struct bytes encoding;       /* Content-Encoding, "" if it names no coding */
    bool measured;               /* the next three are known */
    bool decodes;                /* if not, request.body shows the bytes on the wire */
    uint64_t decoded_size;
    struct flow_error why_not;
};

struct flowdir {
    struct capture_flow loaded;
    const struct source *source;
    const char *capture_name; /* borrowed; for summary.json */
    uint64_t number;          /* of the flow in its capture, from 1 */
    uint64_t decode_limit;
    uint16_t files; /* flowdir_files of the flow */
    bool marked;    /* in its state, what flow.json does not hold */
    struct flowdir_body request, response;
    size_t message_count;
    const struct value **messages; /* message_count items, for access by number */
};

/* Takes over `loaded` (also on failure). capture_name is borrowed. False with ENOMEM, EFBIG (a
 * string other than a body that is too long to be shown) or what reading gave. Freed by
 * flowdir_close. */
bool flowdir_open(struct flowdir *directory, struct capture_flow *loaded,
                  const struct capture *capture, const char *capture_name, uint64_t number,
                  uint64_t decode_limit, struct flow_error *error);

/* Harmless on a zeroed struct. */
void flowdir_close(struct flowdir *directory);

bool flowdir_has(const struct flowdir *directory, enum flowdir_file file);

/* When the file's content came about, in seconds since the epoch: a request's and a response's last
 * byte for their files, else the start of the flow. */
double flowdir_time(const struct flowdir *directory, enum flowdir_file file);

/* The body that is shown in `file`, or NULL if that is no body. `raw` tells whether the file shows
 * the bytes on the wire. */
struct flowdir_body *flowdir_body(struct flowdir *directory, enum flowdir_file file, bool *raw);

/* Finds decoded_size, by decoding once; nothing is kept. False only if the capture cannot be read
 * or memory ran out: content that does not decode is no error, `decodes` tells it. */
bool flowdir_measure(struct flowdir *directory, struct flowdir_body *body,
                     struct flow_error *error);

/* Bytes of the content as they were on the wire, wherever they are: the input of a decoder. The
 * context must outlive its use. */
struct flowdir_content {
    const struct value *content;
    const struct source *source;
};
struct body_input flowdir_content_input(struct flowdir_content *content);

/* Appends the content of one side: decoded, or as it was on the wire where it does not decode (or
 * if `raw`); nothing where there is none. For what needs all of it at once. False with EFBIG if it
 * is longer than `limit` bytes, ENOMEM, or what reading gave. */
bool flowdir_read_body(struct flowdir *directory, struct flowdir_body *body, bool raw,
                       uint64_t limit, struct buffer *out, struct flow_error *error);

/* Appends the content of a file that is no body. False with ENOMEM or what reading gave. */
bool flowdir_render(struct flowdir *directory, enum flowdir_file file, struct buffer *out,
                    struct flow_error *error);

/* Messages are numbered from 1. */
#define FLOWDIR_MESSAGES_NAME "messages"
#define FLOWDIR_MESSAGE_NAME_SIZE 40

/* The name of a message's file, NUL-terminated: `0001-client.txt`. */
void flowdir_message_name(const struct flowdir *directory, size_t number,
                          char name[FLOWDIR_MESSAGE_NAME_SIZE]);

/* The number in the name of a message's file, or 0 if it is no such name. Whether the flow has that
 * message under that very name is for the caller to compare. */
size_t flowdir_message_of_name(struct bytes name);

/* Message `number`, 1 to message_count. */
struct flow_stream_message flowdir_message(const struct flowdir *directory, size_t number);

/* The part of flowdir_render that writes summary.json (flowdir_summary.c). */
bool flowdir_render_summary(struct flowdir *directory, struct buffer *out,
                            struct flow_error *error);

#endif
