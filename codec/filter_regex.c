#include "filter_regex.h"

#include "filter_regex_python.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <inttypes.h>
#include <pcre2.h>
#include <stdlib.h>
#include <time.h>

/* Steps from one place in the subject: so many, and so many a byte of it. */
#define STEPS ((uint64_t)10000000)
#define STEPS_A_BYTE 4u

/* For all places: so many seconds, and one more for so many bytes. */
#define SECONDS 10
#define BYTES_A_SECOND 10000000u

/* The clock is looked at after so many places. */
#define PLACES_A_LOOK 64u

#define JIT_STACK_START ((size_t)32 << 10)
#define JIT_STACK_LIMIT ((size_t)64 << 20) /* reserved, and taken as it is needed */
#define HEAP_LIMIT_KIB (256u << 10)

/* What a callout of ours says when time is up; PCRE2's own errors are negative and near. */
#define OUT_OF_TIME (-10000)

struct filter_regex {
    pcre2_code *code;
    bool text;
};

struct filter_regex_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct buffer text; /* a subject that was no UTF-8 */
    unsigned places;
    struct timespec deadline;
};

static bool refuse_compiled(int code, struct flow_error *error)
{
    PCRE2_UCHAR message[120];
    if (code == PCRE2_ERROR_HEAP_FAILED)
        return flow_error_memory(error);
    pcre2_get_error_message(code, message, sizeof message);
    flow_error_set(error, EINVAL, 0, "regular expression: PCRE2 cannot compile it: %s",
                   (const char *)message);
    return false;
}

static pcre2_code *compile(const struct filter_regex_python *python, struct flow_error *error)
{
    int code = PCRE2_ERROR_HEAP_FAILED;
    PCRE2_SIZE offset;
    uint32_t options = PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_BACKSLASH_C;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_code *compiled = NULL;
    if (python->flags.text)
        options |= PCRE2_UTF;
    if (python->flags.ignore_case)
        options |= PCRE2_CASELESS;
    if (python->flags.multiline)
        options |= PCRE2_MULTILINE;
    if (python->flags.dot_all)
        options |= PCRE2_DOTALL;
    /* Two optimizations of PCRE2 10.42 lose matches: that of (b*)(?>(x)?)b in "b", and those of
     * (?=a)x?a in "a" and (?=(?:a|b){0}) in "". */
    if (python->atomic)
        options |= PCRE2_NO_AUTO_POSSESS;
    if (python->unlike_start)
        options |= PCRE2_NO_START_OPTIMIZE;
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALLOW_SURROGATE_ESCAPES);
        compiled = pcre2_compile(python->pattern.data ? python->pattern.data : (PCRE2_SPTR) "",
                                 python->pattern.size, options, &code, &offset, context);
    }
    pcre2_compile_context_free(context);
    if (!compiled)
        refuse_compiled(code, error);
    return compiled;
}

/* A search whose cost at one place is not bounded by the pattern looks at the clock at each. */
static bool add_callout(struct filter_regex_python *python)
{
    struct buffer guarded = BUFFER_INIT;
    buffer_append_text(&guarded, "(?C1)(?:");
    buffer_append_bytes(&guarded, buffer_bytes(&python->pattern));
    buffer_append_byte(&guarded, ')');
    buffer_free(&python->pattern);
    python->pattern = guarded;
    return !guarded.failed;
}

struct filter_regex *filter_regex_compile(struct bytes pattern, struct filter_regex_flags flags,
                                          struct flow_error *error)
{
    struct filter_regex_python python;
    struct filter_regex *regex = NULL;
    if (filter_regex_from_python(pattern, flags, &python, error)) {
        regex = calloc(1, sizeof *regex);
        if (!regex || (python.repeats && !add_callout(&python)))
            flow_error_memory(error);
        else
            regex->code = compile(&python, error);
    }
    buffer_free(&python.pattern);
    if (!regex || !regex->code) {
        free(regex);
        return NULL;
    }
    regex->text = flags.text;
    /* Without a JIT for this machine it is interpreted. */
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return regex;
}

void filter_regex_free(struct filter_regex *regex)
{
    if (regex)
        pcre2_code_free(regex->code);
    free(regex);
}

static int look_at_clock(pcre2_callout_block *block, void *context)
{
    struct filter_regex_scratch *scratch = context;
    struct timespec now;
    (void)block;
    if (++scratch->places % PLACES_A_LOOK)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bool late = now.tv_sec > scratch->deadline.tv_sec ||
                (now.tv_sec == scratch->deadline.tv_sec && now.tv_nsec > scratch->deadline.tv_nsec);
    return late ? OUT_OF_TIME : 0;
}

struct filter_regex_scratch *filter_regex_scratch_new(void)
{
    struct filter_regex_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch)
        return NULL;
    /* Whether there is a match is all that is asked for, so one pair of places is enough. */
    scratch->data = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    scratch->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_LIMIT, NULL);
    if (!scratch->data || !scratch->context) {
        filter_regex_scratch_free(scratch);
        return NULL;
    }
    pcre2_set_heap_limit(scratch->context, HEAP_LIMIT_KIB);
    pcre2_set_callout(scratch->context, look_at_clock, scratch);
    /* No stack: no JIT here, or no memory for it; the machine's own serves short matches. */
    if (scratch->stack)
        pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return scratch;
}

void filter_regex_scratch_free(struct filter_regex_scratch *scratch)
{
    if (!scratch)
        return;
    pcre2_match_data_free(scratch->data);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    buffer_free(&scratch->text);
    free(scratch);
}

static void append_escaped_byte(struct buffer *out, uint8_t byte)
{
    uint32_t character = FILTER_REGEX_ESCAPED_BYTE(byte);
    uint8_t encoded[4] = {
        (uint8_t)(0xF0 | character >> 18),
        (uint8_t)(0x80 | (character >> 12 & 0x3F)),
        (uint8_t)(0x80 | (character >> 6 & 0x3F)),
        (uint8_t)(0x80 | (character & 0x3F)),
    };
    buffer_append(out, encoded, sizeof encoded);
}

/* The subject as UTF-8; it may lie in the scratch memory. */
static bool decode(struct filter_regex_scratch *scratch, struct bytes *subject)
{
    struct buffer *text = &scratch->text;
    if (bytes_are_utf8(*subject))
        return true;
    text->size = 0;
    for (size_t i = 0, length; i < subject->size; i += length) {
        struct bytes rest = bytes_make(subject->data + i, subject->size - i);
        length = bytes_utf8_length(rest);
        if (length) {
            buffer_append(text, rest.data, length);
        } else {
            append_escaped_byte(text, rest.data[0]);
            length = 1;
        }
    }
    *subject = buffer_bytes(text);
    return !text->failed;
}

static void set_limits(struct filter_regex_scratch *scratch, size_t size)
{
    uint64_t steps = STEPS + (uint64_t)size * STEPS_A_BYTE;
    pcre2_set_match_limit(scratch->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    clock_gettime(CLOCK_MONOTONIC, &scratch->deadline);
    scratch->deadline.tv_sec += SECONDS + (time_t)(size / BYTES_A_SECOND);
    scratch->places = 0;
}

bool filter_regex_search(const struct filter_regex *regex, struct filter_regex_scratch *scratch,
                         struct bytes subject, bool *found, struct flow_error *error)
{
    if (regex->text && !decode(scratch, &subject)) {
        buffer_free(&scratch->text);
        return flow_error_memory(error);
    }
    set_limits(scratch, subject.size);
    PCRE2_SPTR data = subject.data ? subject.data : (PCRE2_SPTR) "";
    int result = pcre2_match(regex->code, data, subject.size, 0, PCRE2_NO_UTF_CHECK, scratch->data,
                             scratch->context);
    /* What needs more stack than the JIT has may have less to do without it. */
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(regex->code, data, subject.size, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                             scratch->data, scratch->context);
    *found = result >= 0;
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH)
        return true;
    if (result == PCRE2_ERROR_NOMEMORY)
        return flow_error_memory(error);
    flow_error_set(error, ETIMEDOUT, FLOW_ERROR_NO_OFFSET,
                   "the regular expression was stopped in %zu bytes: it %s; nested or adjacent "
                   "repetitions of the same characters, as in (a+)+, do that",
                   subject.size,
                   result == OUT_OF_TIME              ? "takes too long"
                   : result == PCRE2_ERROR_MATCHLIMIT ? "takes too many steps"
                                                      : "needs too much memory");
    return false;
}
