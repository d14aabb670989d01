/* The parsed form of a filter expression: what filter_parse.c makes and filter_match.c walks. */
#ifndef FLOWFS_CODEC_FILTER_TREE_H
#define FLOWFS_CODEC_FILTER_TREE_H

#include "filter.h"
#include "filter_regex.h"

enum filter_operator {
    FILTER_ALL,
    FILTER_ASSET,
    FILTER_DNS,
    FILTER_ERROR,
    FILTER_HTTP,
    FILTER_MARKED,
    FILTER_REPLAY,
    FILTER_REPLAY_REQUEST,
    FILTER_REPLAY_RESPONSE,
    FILTER_NO_RESPONSE,
    FILTER_RESPONSE,
    FILTER_TCP,
    FILTER_UDP,
    FILTER_WEBSOCKET,
    FILTER_BODY,
    FILTER_BODY_REQUEST,
    FILTER_BODY_RESPONSE,
    FILTER_TYPE,
    FILTER_TYPE_REQUEST,
    FILTER_TYPE_RESPONSE,
    FILTER_DOMAIN,
    FILTER_DESTINATION,
    FILTER_HEADER,
    FILTER_HEADER_REQUEST,
    FILTER_HEADER_RESPONSE,
    FILTER_METHOD,
    FILTER_SOURCE,
    FILTER_URL,
    FILTER_META,
    FILTER_MARKER,
    FILTER_COMMENT,
    FILTER_CODE,
    FILTER_CODES, /* the number of operators with a code; the rest join others */
    FILTER_AND = FILTER_CODES,
    FILTER_OR,
    FILTER_NOT,
};

enum filter_argument {
    FILTER_TAKES_NOTHING,
    FILTER_TAKES_BYTES, /* a regular expression over bytes */
    FILTER_TAKES_TEXT,  /* over text */
    FILTER_TAKES_NUMBER,
};

/* What it costs to answer an operator. */
enum filter_cost {
    FILTER_COST_FACT,
    FILTER_COST_FIELD,
    FILTER_COST_FIELDS,
    FILTER_COST_BODY,
};

struct filter_operator_info {
    const char *code; /* without the tilde */
    enum filter_argument argument;
    enum filter_cost cost;
    bool multiline, dot_all;
};

/* What is known of an operator below FILTER_CODES. */
const struct filter_operator_info *filter_operator_info(enum filter_operator kind);

#define FILTER_NO_NODE UINT32_MAX

struct filter_node {
    enum filter_operator kind;
    enum filter_cost cost;      /* of the dearest below */
    uint32_t first, next;       /* operands, the cheapest first; FILTER_NO_NODE: there is no more */
    struct filter_regex *regex; /* or NULL */
    int64_t number;             /* of FILTER_CODE; INT64_MAX: no code is that */
};

struct filter {
    struct filter_node *nodes; /* those that were given up while parsing are left in here */
    uint32_t count, capacity, root;
};

#endif
