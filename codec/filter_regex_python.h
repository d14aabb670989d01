/* Python's regular expressions written as PCRE2's.
 *
 * The grammar, and what is refused, is that of Lib/re/_parser.py of CPython 3.11 to 3.13. Nothing
 * is passed on as it stands: each element is parsed as Python parses it and written in a form that
 * means the same to every version of PCRE2 from 10.30. Names become numbers, classes of Unicode are
 * spelled out with general categories (so PCRE2_UCP is not needed), comments and the white space of
 * (?x) vanish. */
#ifndef FLOWFS_CODEC_FILTER_REGEX_PYTHON_H
#define FLOWFS_CODEC_FILTER_REGEX_PYTHON_H

#include "filter_regex.h"

/* A byte that is no UTF-8 is U+DC80 to U+DCFF to Python. PCRE2 knows no surrogates, so here it is a
 * private character, which is in the same classes. */
#define FILTER_REGEX_ESCAPED_BYTE(byte) (0x10FF00u + (byte))

struct filter_regex_python {
    struct buffer pattern;           /* for PCRE2; freed by the caller, also after an error */
    struct filter_regex_flags flags; /* with which it begins: (?i) and the like added */
    bool repeats;                    /* some part may repeat a varying number of times */
    bool atomic;                     /* something is atomic or possessive */
    bool unlike_start;               /* something at the start may not be the start of a match: a
                                        look-ahead, what is repeated no time */
};

/* False with EINVAL (error->offset is the byte in the pattern) or ENOMEM. */
bool filter_regex_from_python(struct bytes pattern, struct filter_regex_flags flags,
                              struct filter_regex_python *translated, struct flow_error *error);

#endif
