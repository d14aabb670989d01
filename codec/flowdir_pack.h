/* A flow's directory packed back into the flow: the other way of flowdir.h.
 *
 * What was copied out of a directory and not touched gives exactly the state it was made of. What
 * was edited counts as follows.
 *
 * - request.headers and response.headers hold start line and fields; where flow.json holds them
 *   too, because no line can, an edited file counts, with flow.json's fields for its unchanged
 *   lines. Without response.headers there is no response, without `error` no error.
 * - request.body is encoded as Content-Encoding says, and Content-Length follows. If
 *   request.body.raw is there, too:
 *     both say the same                          the raw bytes are taken as they are
 *     the raw bytes are the ones written here    request.body was edited: encoded again
 *     else                                       a mistake: one of them must go
 *   request.body.raw alone is the content whatever the header fields say, and nothing follows it:
 *   so a message can lie about its length and coding on purpose. Without both the content is empty.
 * - messages/NUMBER-SENDER.txt and .bin are the messages in the order of their numbers; a number
 *   that flow.json has no message for makes a new one, and `0002.5-client.txt` stands between the
 *   second and the third.
 * - flow.json holds the rest. If it is missing, or has no `version`, the flow is taken as made by
 *   hand, and what is missing gets defaults: ids that are made of the request and of the directory,
 *   the time of request.headers, connections as mitmproxy makes them. An absolute target then says
 *   where the request goes, and is sent as mitmproxy's proxy sends it: in origin form with a Host
 *   field.
 *
 * Ignored: summary.json, names that start with a dot, what editors leave behind, directories, and
 * other names that do not look like one of these. */
#ifndef FLOWFS_CODEC_FLOWDIR_PACK_H
#define FLOWFS_CODEC_FLOWDIR_PACK_H

#include "arena.h"
#include "error.h"
#include "value.h"

#include <stdbool.h>

/* Reads the directory behind the descriptor, which stays the caller's, and makes the flow's state,
 * which lives in `arena` as a whole. Symbolic links are not followed.
 *
 * False with EBADMSG for a mistake in the directory, told as "request.headers:3: found …, expected
 * …" (the file's name in the directory; the line, where there is one; in JSON also the column);
 * else ENOMEM or what a system call gave, with the file's name. */
bool flowdir_pack(int directory, struct arena *arena, struct value **state,
                  struct flow_error *error);

#endif
