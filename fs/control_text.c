#include "control_text.h"

#include "json_object.h"

const char control_readme[] =
    "This is a mount of captured HTTP traffic: HOST/FLOW/request.headers, response.body and so "
    "on.\n"
    "\n"
    "@by has links to the flows by time, method, status, type and capture; @query/EXPRESSION "
    "those\n"
    "that match an expression of mitmproxy's filter language (write / as %2F). mkdir saves such a\n"
    "query, rmdir forgets it.\n"
    "\n"
    "Each folder that stands for flows (this one, a host, a flow, a group of @by, a query) has a\n"
    "folder .flowfs that is not listed:\n"
    "\n"
    "  flows.mitm, flows.mitm.gz   the flows as a flow file for mitmproxy, by start time\n"
    "  flows.har                   as HAR 1.2\n"
    "  flows.jsonl, flows.csv      a line a flow\n"
    "  stats.txt, stats.json       counts, sums, the slowest, the largest\n"
    "  curl, httpie, raw,          of one flow: as a command, as HTTP/1.1\n"
    "  raw_request, raw_response\n"
    "  captures.json, errors       of the root: what is mounted, what is wrong with it\n"
    "\n"
    "So `cp HOST/.flowfs/flows.har .` converts, and `sh HOST/FLOW/.flowfs/curl` sends a request\n"
    "again.\n"
    "\n"
    "The captured tree is read-only. To edit flows, copy their folders into @staging, and change "
    "them\n"
    "there with any tool:\n"
    "\n"
    "  cp -r HOST/FLOW @staging/fix    makes the set `fix`\n"
    "  @staging/fix.mitm               its flows as a flow file, always current\n"
    "  @staging/fix.errors             there while the set has mistakes: what is wrong, and where\n"
    "\n"
    "A folder with nothing but a request.headers of `GET http://example.com/ HTTP/1.1` is a flow, "
    "too.\n";

static const char *packing_name(enum source_packing packing)
{
    switch (packing) {
    case SOURCE_GZIP:
        return "gzip";
    case SOURCE_ZLIB:
        return "zlib";
    case SOURCE_PLAIN:
        break;
    }
    return "none";
}

static void append_capture(const struct collection_capture *capture, struct buffer *out)
{
    const struct source *source = capture_source(capture->capture);
    bool har = capture_format(capture->capture) == CAPTURE_HAR;
    struct json_object object = json_object_open(out, 1);
    json_add_string(&object, "name", bytes_of(capture->name));
    json_add_string(&object, "path", bytes_of(source_path(source)));
    json_add_string(&object, "format", bytes_of(har ? "har" : "mitm"));
    json_add_string(&object, "packing", bytes_of(packing_name(source_packing(source))));
    json_add_size(&object, "flows", capture->flows);
    json_add_size(&object, "bytes", source_size(source));
    json_add_size(&object, "gaps", capture->gaps);
    json_add_key(&object, "growing");
    buffer_append_text(out, !capture->lost && !har && source_can_grow(source) ? "true" : "false");
    json_object_close(&object);
}

void control_append_captures(const struct collection *collection, struct buffer *out)
{
    uint32_t count = collection_capture_count(collection);
    buffer_append_text(out, "[\n  ");
    for (uint32_t i = 0; i < count; i++) {
        append_capture(collection_capture(collection, i), out);
        buffer_append_text(out, i + 1 < count ? ",\n  " : "\n");
    }
    buffer_append_text(out, "]\n");
}
