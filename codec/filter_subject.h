/* The texts that a filter's operators search and that no flow has as such: what mitmproxy makes of
 * a part of a flow by str() or bytes(). All append to `out`, whose `failed` says if memory ran out;
 * values that are not there append nothing. */
#ifndef FLOWFS_CODEC_FILTER_SUBJECT_H
#define FLOWFS_CODEC_FILTER_SUBJECT_H

#include "bytes.h"
#include "value.h"

/* `name: value` lines, each with CRLF (Headers.__bytes__ in mitmproxy/http.py). */
void filter_append_fields(struct buffer *out, const struct value *fields);

/* `key: value` lines of a flow's metadata, without a line end at the end. */
void filter_append_metadata(struct buffer *out, const struct value *metadata);

/* `host:port`; false if the address is none. */
bool filter_append_address(struct buffer *out, const struct value *address);

/* A DNS message: a line for each question's name and each record's data, CRLF between them
 * (DNSMessage.__str__ and ResourceRecord._data_json in mitmproxy/dns.py). */
void filter_append_dns(struct buffer *out, const struct value *message);

/* The name of a DNS message's first question. False if there is none. */
bool filter_first_question(const struct value *message, struct bytes *name);

#endif
