/* mitmproxy's filter language: which flows does an expression match?
 *
 *   ~q ~s ~e ~c 404 ~m POST ~d host ~u url ~h field ~b body …   operators
 *   regex                                                       the same as ~u regex
 *   a b     a & b     a | b     !a     (a)                      and, and, or, not, grouping
 *
 * The grammar, what each operator looks at and how it looks follow mitmproxy/flowfilter.py, to its
 * quirks: an operator's name ends at white space, so `(~q)` is an error and `(~q )` is not; terms
 * that stand side by side are joined by "and" outside of parentheses only; an `&` with nothing
 * behind it is a regular expression; within quotes `\d` is `d`, and `\\d` is a digit. Regular
 * expressions are Python's `re` (filter_regex.h). The expression must be UTF-8.
 *
 * Where mitmproxy's own behaviour is an accident, this differs:
 * - WebSocket messages that an old file has as text are searched (mitmproxy crashes on them);
 * - within quotes, `\t \n \f \r \0` are those characters and any other escape is what follows
 *   the backslash (pyparsing 3.3.2 means to know `\x41` too, but takes only what ends in 2, such as
 *   `\xa2`, and likewise `\u` with one digit and a 4): write `\\x41` for the regular expression;
 * - content with a list of codings is decoded (mitmproxy searches it as it was on the wire);
 * - metadata other than text and numbers is searched as Python would print it, but for unprintable
 *   characters above ASCII inside lists and dicts, of which only the most common are escaped. */
#ifndef FLOWFS_CODEC_FILTER_H
#define FLOWFS_CODEC_FILTER_H

#include "flow_glance.h"
#include "flowdir.h"

/* Parentheses and `!` within one another. */
#define FILTER_DEEPEST 200

/* Content beyond this is not searched. */
#define FILTER_BODY_LIMIT ((uint64_t)1 << 30)

/* A parsed expression. It never changes: any number of threads may use it at the same time. */
struct filter;

enum filter_case {
    FILTER_CASE_FOLDED,
    FILTER_CASE_SENSITIVE,
};

/* FILTER_CASE_SENSITIVE if the variable MITMPROXY_CASE_SENSITIVE_FILTERS is "1". */
enum filter_case filter_case_of_environment(void);

/* Parses an expression, which is borrowed for the call only. NULL with EINVAL if it is none:
 * error->offset is the byte in the expression, the message says what was found there and what was
 * expected. NULL with ENOMEM. Freed by filter_free. */
struct filter *filter_parse(struct bytes expression, enum filter_case letters,
                            struct flow_error *error);

/* Harmless on NULL. All matchers of the filter must be gone. */
void filter_free(struct filter *filter);

/* What one thread needs to match: scratch memory that is used again for every flow. */
struct filter_matcher;

/* NULL with ENOMEM. The filter must outlive it. Freed by filter_matcher_free, harmless on NULL. */
struct filter_matcher *filter_matcher_new(const struct filter *filter, struct flow_error *error);
void filter_matcher_free(struct filter_matcher *matcher);

/* What is known of a flow without reading it. */
enum filter_knows {
    FILTER_KNOWS_TYPE = 1 << 0,   /* type and is_websocket */
    FILTER_KNOWS_FILES = 1 << 1,  /* files */
    FILTER_KNOWS_STATUS = 1 << 2, /* status_code */
    FILTER_KNOWS_METHOD = 1 << 3, /* method */
};

struct filter_facts {
    unsigned known; /* set of enum filter_knows; what is not in it is not looked at */
    enum flow_type type;
    bool is_websocket;
    uint16_t files;      /* flowdir_files: is there a response, content, an error? */
    int64_t status_code; /* of the response; without response 0 */
    struct bytes method; /* borrowed */
};

/* All facts of a glance; the method is borrowed from it. */
struct filter_facts filter_facts_of_glance(const struct flow_glance *glance);

enum filter_verdict {
    FILTER_NO,
    FILTER_YES,
    FILTER_UNKNOWN, /* the flow must be read: filter_match */
};

/* Decides by the facts alone, without any reading, if they suffice. NO and YES are what
 * filter_match would answer. With all facts known, UNKNOWN never comes of an expression of ~all
 * ~http ~tcp ~udp ~dns ~websocket ~q ~s ~e ~c ~m only (unless the search for a method fails). */
enum filter_verdict filter_match_facts(struct filter_matcher *matcher,
                                       const struct filter_facts *facts);

/* Whether the flow matches. What costs least is looked at first, so content is read and decoded
 * only if nothing else decides. False with
 *   ETIMEDOUT  a regular expression took too many steps or too long (error->key_path: the operator)
 *   EFBIG      content longer than FILTER_BODY_LIMIT would have to be searched
 *   ENOMEM, or what reading the capture gave. */
bool filter_match(struct filter_matcher *matcher, struct flowdir *directory, bool *matches,
                  struct flow_error *error);

#endif
