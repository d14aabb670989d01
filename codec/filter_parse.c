#include "filter_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Nobody writes such an expression; it bounds what parsing costs. */
#define LONGEST_EXPRESSION ((size_t)1 << 20)

/* Python reads no longer number (sys.int_info.default_max_str_digits). */
#define LONGEST_NUMBER 4300u

const struct filter_operator_info *filter_operator_info(enum filter_operator kind)
{
    static const struct filter_operator_info operators[FILTER_CODES] = {
        [FILTER_ALL] = {"all", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_ASSET] = {"a", FILTER_TAKES_NOTHING, FILTER_COST_FIELDS, false, false},
        [FILTER_DNS] = {"dns", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_ERROR] = {"e", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_HTTP] = {"http", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_MARKED] = {"marked", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_REPLAY] = {"replay", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_REPLAY_REQUEST] = {"replayq", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_REPLAY_RESPONSE] = {"replays", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false,
                                    false},
        [FILTER_NO_RESPONSE] = {"q", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_RESPONSE] = {"s", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_TCP] = {"tcp", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_UDP] = {"udp", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_WEBSOCKET] = {"websocket", FILTER_TAKES_NOTHING, FILTER_COST_FACT, false, false},
        [FILTER_BODY] = {"b", FILTER_TAKES_BYTES, FILTER_COST_BODY, false, true},
        [FILTER_BODY_REQUEST] = {"bq", FILTER_TAKES_BYTES, FILTER_COST_BODY, false, true},
        [FILTER_BODY_RESPONSE] = {"bs", FILTER_TAKES_BYTES, FILTER_COST_BODY, false, true},
        [FILTER_TYPE] = {"t", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, false, false},
        [FILTER_TYPE_REQUEST] = {"tq", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, false, false},
        [FILTER_TYPE_RESPONSE] = {"ts", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, false, false},
        [FILTER_DOMAIN] = {"d", FILTER_TAKES_TEXT, FILTER_COST_FIELD, false, false},
        [FILTER_DESTINATION] = {"dst", FILTER_TAKES_TEXT, FILTER_COST_FIELD, false, false},
        [FILTER_HEADER] = {"h", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, true, false},
        [FILTER_HEADER_REQUEST] = {"hq", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, true, false},
        [FILTER_HEADER_RESPONSE] = {"hs", FILTER_TAKES_BYTES, FILTER_COST_FIELDS, true, false},
        [FILTER_METHOD] = {"m", FILTER_TAKES_BYTES, FILTER_COST_FIELD, false, false},
        [FILTER_SOURCE] = {"src", FILTER_TAKES_TEXT, FILTER_COST_FIELD, false, false},
        [FILTER_URL] = {"u", FILTER_TAKES_TEXT, FILTER_COST_FIELD, false, false},
        [FILTER_META] = {"meta", FILTER_TAKES_TEXT, FILTER_COST_FIELDS, true, false},
        [FILTER_MARKER] = {"marker", FILTER_TAKES_TEXT, FILTER_COST_FIELD, false, false},
        [FILTER_COMMENT] = {"comment", FILTER_TAKES_TEXT, FILTER_COST_FIELD, true, false},
        [FILTER_CODE] = {"c", FILTER_TAKES_NUMBER, FILTER_COST_FACT, false, false},
    };
    return &operators[kind];
}

enum filter_case filter_case_of_environment(void)
{
    const char *setting = getenv("MITMPROXY_CASE_SENSITIVE_FILTERS");
    return setting && strcmp(setting, "1") == 0 ? FILTER_CASE_SENSITIVE : FILTER_CASE_FOLDED;
}

/* Parsing goes back where an operator turns out to be a regular expression (`a &`), so there are
 * two ways not to succeed. */
enum outcome {
    PARSED,
    ABSENT, /* it may be something else; what was expected furthest on is remembered */
    FAILED, /* the error is set */
};

struct parser {
    struct bytes text; /* tabs are spaces, as pyparsing has them */
    size_t *origin;    /* of each byte of the text and of its end: where it is in the expression */
    size_t at;
    unsigned depth;
    enum filter_case letters;
    struct filter *filter;
    size_t furthest;
    char expected[160];
    struct flow_error *error;
};

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* What can stand in a regular expression without quotes. */
static bool is_word(uint8_t byte)
{
    return !is_space(byte) && byte != '(' && byte != ')' && byte != '~' && byte != '\'' &&
           byte != '"';
}

/* Skips white space; the next byte, or -1 at the end. */
static int peek(struct parser *parser)
{
    while (parser->at < parser->text.size && is_space(parser->text.data[parser->at]))
        parser->at++;
    return parser->at < parser->text.size ? parser->text.data[parser->at] : -1;
}

/* Remembers what was expected at parser->at, unless parsing has got further before. */
static enum outcome expect(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum outcome expect(struct parser *parser, const char *format, ...)
{
    va_list arguments;
    if (parser->expected[0] && parser->at <= parser->furthest)
        return ABSENT;
    parser->furthest = parser->at;
    va_start(arguments, format);
    vsnprintf(parser->expected, sizeof parser->expected, format, arguments);
    va_end(arguments);
    return ABSENT;
}

/* Makes what was expected the error. */
static void refuse(struct parser *parser)
{
    struct bytes rest =
        bytes_make(parser->text.data + parser->furthest, parser->text.size - parser->furthest);
    size_t shown = rest.size ? bytes_utf8_length(rest) : 0;
    char found[16] = "the end";
    if (shown)
        snprintf(found, sizeof found, "`%.*s`", (int)shown, (const char *)rest.data);
    flow_error_set(parser->error, EINVAL, parser->origin[parser->furthest],
                   "filter expression: found %s, expected %s", found, parser->expected);
}

static enum outcome too_deep(struct parser *parser)
{
    flow_error_set(parser->error, EINVAL, parser->origin[parser->at],
                   "filter expression: parentheses and `!` nested too deep, expected at most %d",
                   FILTER_DEEPEST);
    return FAILED;
}

static enum outcome no_memory(struct parser *parser)
{
    flow_error_memory(parser->error);
    return FAILED;
}

static enum outcome new_node(struct parser *parser, enum filter_operator kind,
                             enum filter_cost cost, uint32_t *node)
{
    struct filter *filter = parser->filter;
    if (filter->count == filter->capacity) {
        uint32_t capacity = filter->capacity ? filter->capacity * 2 : 8;
        struct filter_node *nodes = realloc(filter->nodes, capacity * sizeof *nodes);
        if (!nodes)
            return no_memory(parser);
        filter->nodes = nodes;
        filter->capacity = capacity;
    }
    *node = filter->count++;
    filter->nodes[*node] = (struct filter_node){
        .kind = kind,
        .cost = cost,
        .first = FILTER_NO_NODE,
        .next = FILTER_NO_NODE,
    };
    return PARSED;
}

/* Operands of one node as they are met, in a chain for each cost. */
struct operands {
    size_t count;
    uint32_t first[FILTER_COST_BODY + 1], last[FILTER_COST_BODY + 1];
};

static void add_operand(struct parser *parser, struct operands *operands, uint32_t operand)
{
    struct filter_node *nodes = parser->filter->nodes;
    enum filter_cost cost = nodes[operand].cost;
    if (operands->count++ == 0)
        for (size_t i = 0; i <= FILTER_COST_BODY; i++)
            operands->first[i] = operands->last[i] = FILTER_NO_NODE;
    if (operands->last[cost] == FILTER_NO_NODE)
        operands->first[cost] = operand;
    else
        nodes[operands->last[cost]].next = operand;
    operands->last[cost] = operand;
}

/* The operands as one node: the cheapest come first, since the order changes no result. */
static enum outcome join(struct parser *parser, enum filter_operator kind,
                         const struct operands *operands, uint32_t *node)
{
    uint32_t first = FILTER_NO_NODE;
    enum filter_cost dearest = FILTER_COST_FACT;
    for (size_t i = 0; i <= FILTER_COST_BODY; i++)
        if (operands->first[i] != FILTER_NO_NODE)
            dearest = (enum filter_cost)i;
    for (size_t i = FILTER_COST_BODY + 1; i-- > 0;) {
        if (operands->first[i] == FILTER_NO_NODE)
            continue;
        parser->filter->nodes[operands->last[i]].next = first;
        first = operands->first[i];
    }
    if (operands->count == 1) {
        *node = first;
        return PARSED;
    }
    enum outcome outcome = new_node(parser, kind, dearest, node);
    if (outcome == PARSED)
        parser->filter->nodes[*node].first = first;
    return outcome;
}

/* What an escape in quotes stands for; the escapes are pyparsing's. */
static uint8_t unescape(uint8_t letter)
{
    switch (letter) {
    case 't':
        return '\t';
    case 'n':
        return '\n';
    case 'f':
        return '\f';
    case 'r':
        return '\r';
    case '0':
        return '\0';
    default:
        return letter;
    }
}

/* Takes the quotes and escapes out; returns how much of the text was used up when more than `until`
 * bytes had come out. */
static size_t unquote(struct bytes text, size_t until, struct buffer *out)
{
    bool quoted = text.data[0] == '"' || text.data[0] == '\'';
    size_t end = text.size - quoted;
    size_t at = quoted;
    while (at < end) {
        bool escaped = quoted && text.data[at] == '\\';
        buffer_append_byte(out, escaped ? unescape(text.data[at + 1]) : text.data[at]);
        if (out->size > until)
            break;
        at += escaped ? 2 : 1;
    }
    return at;
}

/* The length of the word or quoted string that starts here; 0: there is none. */
static size_t regex_length(struct parser *parser)
{
    const struct bytes *text = &parser->text;
    size_t end = parser->at;
    uint8_t quote = text->data[end];
    if (quote != '"' && quote != '\'') {
        while (end < text->size && is_word(text->data[end]))
            end++;
        return end - parser->at;
    }
    for (end++; end < text->size && text->data[end] != quote; end++) {
        if (text->data[end] == '\\' && end + 1 < text->size && text->data[end + 1] != '\n')
            end++;
        else if (text->data[end] == '\\' || text->data[end] == '\n' || text->data[end] == '\r')
            break;
    }
    return end < text->size && text->data[end] == quote ? end + 1 - parser->at : 0;
}

static enum outcome compile(struct parser *parser, struct filter_node *node, struct bytes quoted,
                            struct bytes pattern)
{
    const struct filter_operator_info *info = filter_operator_info(node->kind);
    struct flow_error why = {0};
    struct filter_regex_flags flags = {
        .text = info->argument == FILTER_TAKES_TEXT,
        .ignore_case = parser->letters == FILTER_CASE_FOLDED,
        .multiline = info->multiline,
        .dot_all = info->dot_all,
    };
    node->regex = filter_regex_compile(pattern, flags, &why);
    if (node->regex)
        return PARSED;
    struct buffer scratch = BUFFER_INIT;
    size_t inside = why.code == EINVAL ? unquote(quoted, (size_t)why.offset, &scratch) : 0;
    buffer_free(&scratch);
    flow_error_set(parser->error, why.code, parser->origin[parser->at + inside], "%s", why.message);
    return FAILED;
}

/* A regular expression as the operator's argument; `code`: for the error, NULL if there is none. */
static enum outcome parse_regex(struct parser *parser, enum filter_operator kind, const char *code,
                                uint32_t *node)
{
    int byte = peek(parser);
    size_t length = byte < 0 ? 0 : regex_length(parser);
    if (!length && (byte == '"' || byte == '\''))
        return expect(parser, "a closing %c behind this one, in the same line", byte);
    if (!length && code)
        return expect(parser, "a regular expression for ~%s", code);
    if (!length)
        return expect(parser, "an operator like ~u, a regular expression, `!` or `(`");
    struct bytes quoted = bytes_make(parser->text.data + parser->at, length);
    struct buffer pattern = BUFFER_INIT;
    enum outcome outcome = new_node(parser, kind, filter_operator_info(kind)->cost, node);
    unquote(quoted, SIZE_MAX, &pattern);
    if (outcome == PARSED && pattern.failed)
        outcome = no_memory(parser);
    if (outcome == PARSED)
        outcome = compile(parser, &parser->filter->nodes[*node], quoted, buffer_bytes(&pattern));
    buffer_free(&pattern);
    parser->at += length;
    return outcome;
}

static enum outcome parse_number(struct parser *parser, enum filter_operator kind, uint32_t *node)
{
    int64_t number = 0;
    int byte = peek(parser);
    size_t start = parser->at;
    for (; byte >= '0' && byte <= '9';
         byte = ++parser->at < parser->text.size ? parser->text.data[parser->at] : -1)
        number = number < INT64_MAX / 10 - 1 ? number * 10 + byte - '0' : INT64_MAX;
    if (parser->at == start)
        return expect(parser, "a status code in digits");
    if (parser->at - start > LONGEST_NUMBER)
        return expect(parser, "at most %u digits", LONGEST_NUMBER);
    enum outcome outcome = new_node(parser, kind, filter_operator_info(kind)->cost, node);
    if (outcome == PARSED)
        parser->filter->nodes[*node].number = number;
    return outcome;
}

/* The operator is not known: says so, or that it does not end where it should. */
static enum outcome expect_operator(struct parser *parser, struct bytes name)
{
    const char *known = NULL;
    for (int i = 0; i < FILTER_CODES; i++) {
        const char *code = filter_operator_info((enum filter_operator)i)->code;
        size_t size = strlen(code);
        if (size < name.size && memcmp(name.data, code, size) == 0 &&
            (!known || size > strlen(known)))
            known = code;
    }
    if (!known)
        return expect(parser, "an operator: one of ~a ~all ~b ~bq ~bs ~c ~comment ~d ~dns ~dst ~e "
                              "~h ~hq ~hs ~http ~m ~marked ~marker ~meta ~q ~replay … ~s ~u");
    parser->at += 1 + strlen(known);
    return expect(parser, "white space behind ~%s", known);
}

static enum outcome parse_operator(struct parser *parser, uint32_t *node)
{
    const struct bytes *text = &parser->text;
    size_t end = parser->at + 1;
    while (end < text->size && text->data[end] > ' ' && text->data[end] < 0x7F)
        end++;
    struct bytes name = bytes_make(text->data + parser->at + 1, end - parser->at - 1);
    int found = 0;
    while (found < FILTER_CODES &&
           !bytes_equal_text(name, filter_operator_info((enum filter_operator)found)->code))
        found++;
    if (found == FILTER_CODES)
        return expect_operator(parser, name);
    enum filter_operator kind = (enum filter_operator)found;
    const struct filter_operator_info *info = filter_operator_info(kind);
    parser->at = end;
    switch (info->argument) {
    case FILTER_TAKES_NOTHING:
        return new_node(parser, kind, info->cost, node);
    case FILTER_TAKES_NUMBER:
        return parse_number(parser, kind, node);
    case FILTER_TAKES_BYTES:
    case FILTER_TAKES_TEXT:
        break;
    }
    return parse_regex(parser, kind, info->code, node);
}

static enum outcome parse_joined(struct parser *parser, enum filter_operator kind, uint32_t *node);

static enum outcome parse_group(struct parser *parser, uint32_t *node)
{
    if (++parser->depth > FILTER_DEEPEST)
        return too_deep(parser);
    parser->at++;
    enum outcome outcome = parse_joined(parser, FILTER_OR, node);
    parser->depth--;
    if (outcome != PARSED)
        return outcome;
    if (peek(parser) != ')')
        return expect(parser, "`)`, or `&` or `|` and another operand");
    parser->at++;
    return PARSED;
}

/* Also negated. A `!` with nothing behind it that could be negated is a regular expression. */
static enum outcome parse_operand(struct parser *parser, uint32_t *node)
{
    int byte = peek(parser);
    size_t start = parser->at;
    if (byte == '(')
        return parse_group(parser, node);
    if (byte == '~')
        return parse_operator(parser, node);
    if (byte != '!')
        return parse_regex(parser, FILTER_URL, NULL, node);
    uint32_t operand;
    if (++parser->depth > FILTER_DEEPEST)
        return too_deep(parser);
    parser->at++;
    enum outcome outcome = parse_operand(parser, &operand);
    parser->depth--;
    if (outcome == ABSENT) {
        parser->at = start;
        return parse_regex(parser, FILTER_URL, NULL, node);
    }
    if (outcome == PARSED)
        outcome = new_node(parser, FILTER_NOT, parser->filter->nodes[operand].cost, node);
    if (outcome == PARSED)
        parser->filter->nodes[*node].first = operand;
    return outcome;
}

/* Operands with `|` between them, or those of one of its operands with `&` between them. */
static enum outcome parse_joined(struct parser *parser, enum filter_operator kind, uint32_t *node)
{
    struct operands operands = {.count = 0};
    int sign = kind == FILTER_OR ? '|' : '&';
    for (;;) {
        uint32_t operand;
        size_t before = parser->at;
        if (operands.count && peek(parser) != sign)
            break;
        parser->at += operands.count > 0;
        enum outcome outcome = kind == FILTER_OR ? parse_joined(parser, FILTER_AND, &operand)
                                                 : parse_operand(parser, &operand);
        if (outcome == FAILED || (outcome == ABSENT && !operands.count))
            return outcome;
        if (outcome == ABSENT) {
            parser->at = before;
            break;
        }
        add_operand(parser, &operands, operand);
    }
    return join(parser, kind, &operands, node);
}

/* All of the expression: terms side by side, which must all match. */
static bool parse_all(struct parser *parser)
{
    struct operands operands = {.count = 0};
    do {
        uint32_t operand;
        enum outcome outcome = parse_joined(parser, FILTER_OR, &operand);
        if (outcome == ABSENT)
            refuse(parser);
        if (outcome != PARSED)
            return false;
        add_operand(parser, &operands, operand);
    } while (peek(parser) >= 0);
    return join(parser, FILTER_AND, &operands, &parser->filter->root) == PARSED;
}

/* Makes the text of the expression: tabs are spaces up to the next column that is a multiple of 8
 * (Python's str.expandtabs). `data` takes 8 bytes for each of the expression, origin one more. */
static size_t expand_tabs(struct bytes expression, uint8_t *data, size_t *origin)
{
    size_t size = 0, column = 0;
    for (size_t i = 0; i < expression.size; i++) {
        uint8_t byte = expression.data[i];
        size_t copies = byte == '\t' ? 8 - column % 8 : 1;
        for (size_t k = 0; k < copies; k++) {
            origin[size] = i;
            data[size++] = byte == '\t' ? ' ' : byte;
        }
        if (byte == '\n' || byte == '\r')
            column = 0;
        else if ((byte & 0xC0) != 0x80)
            column += copies;
    }
    origin[size] = expression.size;
    return size;
}

static bool check_expression(struct bytes expression, struct flow_error *error)
{
    size_t valid = 0;
    if (expression.size == 0)
        flow_error_set(error, EINVAL, 0, "filter expression: it is empty, expected one like ~all");
    else if (expression.size > LONGEST_EXPRESSION)
        flow_error_set(error, EINVAL, LONGEST_EXPRESSION,
                       "filter expression: %zu bytes, expected at most %zu", expression.size,
                       LONGEST_EXPRESSION);
    else if (!bytes_are_utf8(expression)) {
        for (size_t size; (size = bytes_utf8_length(
                               bytes_make(expression.data + valid, expression.size - valid)));)
            valid += size;
        flow_error_set(error, EINVAL, valid,
                       "filter expression: a byte that is no UTF-8, write \\x%02x for it",
                       expression.data[valid]);
    } else {
        return true;
    }
    return false;
}

struct filter *filter_parse(struct bytes expression, enum filter_case letters,
                            struct flow_error *error)
{
    if (!check_expression(expression, error))
        return NULL;
    size_t room = expression.size * (memchr(expression.data, '\t', expression.size) ? 8 : 1);
    uint8_t *data = malloc(room);
    struct parser parser = {
        .origin = malloc((room + 1) * sizeof *parser.origin),
        .letters = letters,
        .filter = calloc(1, sizeof *parser.filter),
        .error = error,
    };
    bool done = false;
    if (data && parser.origin && parser.filter) {
        parser.text = bytes_make(data, expand_tabs(expression, data, parser.origin));
        done = parse_all(&parser);
    } else {
        flow_error_memory(error);
    }
    free(data);
    free(parser.origin);
    if (!done) {
        filter_free(parser.filter);
        return NULL;
    }
    return parser.filter;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    for (uint32_t i = 0; i < filter->count; i++)
        filter_regex_free(filter->nodes[i].regex);
    free(filter->nodes);
    free(filter);
}
