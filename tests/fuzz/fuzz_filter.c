/* Any bytes as a filter expression: refused in a line that says what is wrong and at which byte, or
 * a filter that answers for flows of every type, the same whenever it is asked; and what facts
 * alone tell is what the flow tells. */
#include "filter.h"
#include "harness.h"
#include "json_parse.h"
#include "tnet.h"

#include <errno.h>

/* Beyond this there is more of the same. */
#define LONGEST 4096

#define COMMON                                                                                     \
    "\"version\": 21, \"id\": \"0badc0de\", \"client_conn\": {\"id\": \"c\", \"peername\": "       \
    "[\"192.0.2.1\", 49152], \"timestamp_start\": 1700000000.5}, \"server_conn\": {\"id\": "       \
    "\"s\", \"address\": [\"a.example\", 443], \"peername\": [\"::1\", 443, 0, 0]}, "

#define REQUEST(method, content)                                                                   \
    "\"request\": {\"host\": \"a.example\", \"port\": 443, \"method\": {\"bytes\": \"" method      \
    "\"}, \"scheme\": {\"bytes\": \"https\"}, \"authority\": {\"bytes\": \"\"}, \"path\": "        \
    "{\"bytes\": \"/a/b?q=1\"}, \"http_version\": {\"bytes\": \"HTTP/1.1\"}, \"headers\": "        \
    "[[{\"bytes\": \"Host\"}, {\"bytes\": \"a.example\"}], [{\"bytes\": \"x\"}, {\"base64\": "     \
    "\"4P+K\"}]], \"content\": " content ", \"trailers\": null, \"timestamp_start\": 1.5, "        \
    "\"timestamp_end\": 2.5}, "

#define RESPONSE(code, fields, content)                                                            \
    "\"response\": {\"http_version\": {\"bytes\": \"HTTP/1.1\"}, \"status_code\": " code           \
    ", \"reason\": {\"bytes\": \"OK\"}, \"headers\": [[{\"bytes\": \"Content-Type\"}, "            \
    "{\"bytes\": \"text/html\"}]" fields "], \"content\": " content                                \
    ", \"trailers\": null, \"timestamp_start\": 3.5, \"timestamp_end\": 4.5}, "

static const char *const texts[] = {
    "{\"type\": \"http\", \"error\": null, " COMMON REQUEST("GET", "{\"bytes\": \"\"}") RESPONSE(
        "200", ", [{\"bytes\": \"Content-Encoding\"}, {\"bytes\": \"deflate\"}]",
        "{\"base64\": \"eJzLSM3JyddRyECiAEQoBtU=\"}") "\"websocket\": null, \"marked\": "
                                                      "\":red_circle:\", \"comment\": "
                                                      "\"seen\\nit\", "
                                                      "\"metadata\": {\"k\": \"v\", \"n\": [1, "
                                                      "{\"bytes\": \"x\"}]}, \"is_replay\": "
                                                      "\"request\"}",
    "{\"type\": \"http\", \"error\": {\"msg\": \"reset\", \"timestamp\": 3.5}, " COMMON REQUEST(
        "POST",
        "{\"bytes\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\\u00e9\"}") "\"response\": "
                                                                                 "null, "
                                                                                 "\"websocket\": "
                                                                                 "null, "
                                                                                 "\"marked\": "
                                                                                 "\"\", "
                                                                                 "\"comment\": "
                                                                                 "\"\"}",
    "{\"type\": \"http\", \"error\": null, " COMMON REQUEST("GET", "null")
        RESPONSE("101", "", "{\"bytes\": \"\"}") "\"websocket\": {\"messages\": [[1, true, "
                                                 "{\"bytes\": \"hi\"}, 5.5, false, false], [2, "
                                                 "false, {\"base64\": \"AP8=\"}, 6.5, false, "
                                                 "true]], \"close_code\": 1000}}",
    "{\"type\": \"tcp\", \"error\": null, " COMMON "\"messages\": [[true, {\"bytes\": \"ping\"}, "
    "5.5], [false, {\"base64\": \"gA==\"}, 6.5]]}",
    "{\"type\": \"udp\", \"error\": null, " COMMON "\"messages\": []}",
    "{\"type\": \"dns\", \"error\": null, " COMMON "\"request\": {\"id\": 1, \"query\": true, "
    "\"questions\": [{\"name\": \"a.example\", \"type\": 1, \"class\": 1}], \"answers\": [], "
    "\"timestamp\": 1.5}, \"response\": {\"id\": 1, \"query\": false, \"questions\": [], "
    "\"answers\": [{\"name\": \"a.example\", \"type\": 1, \"class\": 1, \"ttl\": 60, \"data\": "
    "{\"base64\": \"wAACAQ==\"}}], \"timestamp\": 2.5}}",
};

#define FLOWS (sizeof texts / sizeof *texts)

static struct flowdir flows[FLOWS];
static struct filter_facts facts[FLOWS];

/* The flow, which stays open. */
static void open_flow(size_t number)
{
    struct flow_error error = {0};
    static struct buffer records[FLOWS];
    static struct capture_scan *scans[FLOWS]; /* a glance is borrowed from its scan */
    struct capture_item item;
    struct capture_flow loaded;
    struct arena *arena = arena_new();
    struct value *state = json_parse(bytes_of(texts[number]), arena, &error);
    HOLDS(state && tnet_write(state, &records[number], &error));
    arena_free(arena);
    struct capture *capture = capture_open_memory(buffer_bytes(&records[number]), &error);
    HOLDS(capture);
    scans[number] = capture_scan_open(capture, 0, &error);
    HOLDS(scans[number] && capture_scan_next(scans[number], &item, &error));
    HOLDS(item.kind == CAPTURE_FLOW);
    facts[number] = filter_facts_of_glance(&item.glance);
    HOLDS(capture_load(capture, item.extent, item.handshake, &loaded, &error));
    HOLDS(flowdir_open(&flows[number], &loaded, capture, "fuzz", 1, (uint64_t)1 << 20, &error));
}

static void check_error(const struct flow_error *error, struct bytes expression)
{
    HOLDS(error->code == EINVAL);
    HOLDS(error->offset <= expression.size);
    HOLDS(strstr(error->message, "expression: "));
    for (const char *next = error->message; *next; next++)
        HOLDS((uint8_t)*next >= 0x20 && *next != 0x7F);
    HOLDS(bytes_are_utf8(bytes_of(error->message)));
}

/* The answer for a flow; -1: it took too long. */
static int answer(const struct filter *filter, size_t number)
{
    struct flow_error error = {0};
    bool found = false;
    struct filter_matcher *matcher = filter_matcher_new(filter, &error);
    HOLDS(matcher);
    enum filter_verdict verdict = filter_match_facts(matcher, &facts[number]);
    bool done = filter_match(matcher, &flows[number], &found, &error);
    HOLDS(done || error.code == ETIMEDOUT);
    HOLDS(done || (error.message[0] && error.key_path[0]));
    HOLDS(!done || verdict == FILTER_UNKNOWN || (verdict == FILTER_YES) == found);
    filter_matcher_free(matcher);
    return done ? found : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool opened;
    for (size_t i = 0; i < FLOWS && !opened; i++)
        open_flow(i);
    opened = true;
    if (size > LONGEST)
        return 0;
    struct flow_error error = {0}, again = {0};
    struct bytes expression = guarded(data, size);
    struct filter *filter = filter_parse(expression, FILTER_CASE_FOLDED, &error);
    struct filter *exact = filter_parse(expression, FILTER_CASE_SENSITIVE, &again);
    HOLDS(!filter == !exact);
    if (!filter) {
        check_error(&error, expression);
        HOLDS(again.offset == error.offset && strcmp(again.message, error.message) == 0);
        return 0;
    }
    for (size_t i = 0; i < FLOWS; i++) {
        int found = answer(filter, i);
        HOLDS(found < 0 || answer(filter, i) == found);
        answer(exact, i);
    }
    filter_free(filter);
    filter_free(exact);
    return 0;
}
