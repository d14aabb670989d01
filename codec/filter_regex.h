/* Python's `re` on PCRE2: search with what Python accepts, refusals of what Python refuses, the
 * same matches (Lib/re of CPython 3.11 to 3.13).
 *
 * A pattern is translated first (filter_regex_python.h), then compiled with PCRE2's JIT. A bytes
 * pattern knows ASCII and single bytes. A text pattern knows Unicode; bytes of the subject that are
 * no UTF-8 are Python's surrogateescape characters: `.` and `\W` match them.
 *
 * It differs from Python in this:
 * - a search that explodes is stopped;
 * - refused are `\N{name}`, counts above 65535, groups nested deeper than 200, what needs more than
 *   PCRE2's 64 KB compiled, and a look-behind with an optional part that has no width;
 * - the name of a group may hold any character above ASCII;
 * - (?L) is ASCII, as it is in every UTF-8 locale, without what CPython makes of [^a] then. */
#ifndef FLOWFS_CODEC_FILTER_REGEX_H
#define FLOWFS_CODEC_FILTER_REGEX_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>

/* Python's flags. */
struct filter_regex_flags {
    bool text; /* a str pattern; else a bytes pattern */
    bool ignore_case;
    bool multiline;
    bool dot_all;
};

/* Never changes; for any number of threads. */
struct filter_regex;

/* pattern: UTF-8, or any bytes for a bytes pattern. NULL with EINVAL (error->offset is the byte in
 * the pattern) or ENOMEM. Freed by filter_regex_free, harmless
 * on NULL. */
struct filter_regex *filter_regex_compile(struct bytes pattern, struct filter_regex_flags flags,
                                          struct flow_error *error);
void filter_regex_free(struct filter_regex *regex);

/* Scratch memory of one thread, for all regular expressions. NULL if there is no memory. */
struct filter_regex_scratch;
struct filter_regex_scratch *filter_regex_scratch_new(void);
void filter_regex_scratch_free(struct filter_regex_scratch *scratch);

/* Whether the pattern is found anywhere in the subject (re.search). False with ETIMEDOUT if it
 * takes more steps or time than any sensible pattern does, or ENOMEM. The limits: 10 million steps
 * and 4 a byte from one place in the subject; 10 seconds and 0.1 more a megabyte for all. */
bool filter_regex_search(const struct filter_regex *regex, struct filter_regex_scratch *scratch,
                         struct bytes subject, bool *found, struct flow_error *error);

#endif
