#include "filter_regex_translate.h"

#include <ctype.h>

/* str.isspace(), str.isdecimal(), and str.isalnum() with the underscore, in the words of PCRE2; the
 * negated ones as members of a set, where a negation cannot be nested. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{1c}-\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"     \
    "\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                  \
    "\\x{0}-\\x{8}\\x{e}-\\x{1b}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"                   \
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"                 \
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD "\\p{L}\\p{N}_"
#define NOT_WORD                                                                                   \
    "\\p{M}\\p{Pd}\\p{Ps}\\p{Pe}\\p{Pi}\\p{Pf}\\p{Po}\\p{S}\\p{Z}\\p{C}\\x{203f}\\x{2040}"         \
    "\\x{2054}\\x{fe33}\\x{fe34}\\x{fe4d}-\\x{fe4f}\\x{ff3f}"

/* Letters that Python's re takes for one another beyond Unicode's simple case folding. */
static const struct {
    uint32_t letters[4];
    const char *members;
} more_cases[] = {
    {{'i', 'I', 0x130, 0x131}, "i\\x{130}\\x{131}"},
    {{0x390, 0x390, 0x1FD3, 0x1FD3}, "\\x{390}\\x{1fd3}"},
    {{0x3B0, 0x3B0, 0x1FE3, 0x1FE3}, "\\x{3b0}\\x{1fe3}"},
    {{0xFB05, 0xFB05, 0xFB06, 0xFB06}, "\\x{fb05}\\x{fb06}"},
};

#define NO_CHARACTER UINT32_MAX

/* A member of a set, or what an escape stands for. */
struct member {
    uint32_t character; /* NO_CHARACTER: a category */
    char category;      /* one of dDsSwW */
};

static bool has_ascii_categories(const struct regex_translator *translator,
                                 const struct regex_scope *scope)
{
    return !translator->text || scope->ascii;
}

static void write_character(struct regex_translator *translator, uint32_t character)
{
    struct buffer *out = translator->out;
    if (character < 0x80 && (isalnum((int)character) || character == '_'))
        buffer_append_byte(out, (uint8_t)character);
    else if (character > ' ' && character < 0x7F)
        buffer_printf(out, "\\%c", (int)character);
    else if (translator->text && character >= 0xDC80 && character <= 0xDCFF)
        buffer_printf(out, "\\x{%x}", FILTER_REGEX_ESCAPED_BYTE(character & 0xFF));
    else
        buffer_printf(out, "\\x{%x}", (unsigned)character);
}

static bool overlaps(uint32_t low, uint32_t high, uint32_t first, uint32_t last)
{
    return low <= last && high >= first;
}

/* The part of low-high that lies in first-last, moved by `by`. */
static void write_moved(struct regex_translator *translator, uint32_t low, uint32_t high,
                        uint32_t first, uint32_t last, uint32_t by)
{
    if (overlaps(low, high, first, last))
        buffer_printf(translator->out, "\\x{%x}-\\x{%x}", (low > first ? low : first) + by,
                      (high < last ? high : last) + by);
}

/* Writes the other cases of the letters in low-high; returns whether there are any. */
static bool write_more_cases(struct regex_translator *translator, uint32_t low, uint32_t high)
{
    bool any = false;
    for (size_t i = 0; i < sizeof more_cases / sizeof *more_cases; i++) {
        bool in = false;
        for (size_t k = 0; k < 4; k++)
            in |= overlaps(low, high, more_cases[i].letters[k], more_cases[i].letters[k]);
        if (in)
            buffer_append_text(translator->out, more_cases[i].members);
        any |= in;
    }
    return any;
}

static void write_range(struct regex_translator *translator, const struct regex_scope *scope,
                        uint32_t low, uint32_t high)
{
    write_character(translator, low);
    if (high != low) {
        buffer_append_byte(translator->out, '-');
        /* As it is: write_character would move the end of the range. */
        buffer_printf(translator->out, "\\x{%x}", (unsigned)high);
    }
    if (!translator->text)
        return;
    if (high != low)
        write_moved(translator, low, high, 0xDC80, 0xDCFF, FILTER_REGEX_ESCAPED_BYTE(0) - 0xDC00);
    if (!scope->ignore_case)
        return;
    if (scope->ascii) {
        write_moved(translator, low, high, 'a', 'z', (uint32_t)('A' - 'a'));
        write_moved(translator, low, high, 'A', 'Z', 'a' - 'A');
    } else {
        write_more_cases(translator, low, high);
    }
}

void regex_write_literal(struct regex_translator *translator, const struct regex_scope *scope,
                         uint32_t character)
{
    size_t start = translator->out->size;
    bool ascii_letter = character < 0x80 && isalpha((int)character);
    bool folds = translator->text && scope->ignore_case;
    buffer_append_byte(translator->out, '[');
    if (folds && scope->ascii && ascii_letter)
        write_range(translator, scope, character, character);
    else if (!folds || scope->ascii || !write_more_cases(translator, character, character)) {
        if (!translator->out->failed)
            translator->out->size = start;
        write_character(translator, character);
        return;
    }
    buffer_append_byte(translator->out, ']');
}

static void write_category(struct regex_translator *translator, const struct regex_scope *scope,
                           char category)
{
    static const struct {
        char letter;
        const char *members;
    } unicode[] = {{'d', "\\p{Nd}"}, {'D', "\\P{Nd}"}, {'s', SPACE},
                   {'S', NOT_SPACE}, {'w', WORD},      {'W', NOT_WORD}};
    if (has_ascii_categories(translator, scope)) {
        buffer_printf(translator->out, "\\%c", category);
        return;
    }
    for (size_t i = 0; i < sizeof unicode / sizeof *unicode; i++)
        if (unicode[i].letter == category)
            buffer_append_text(translator->out, unicode[i].members);
}

static int digit_value(uint8_t byte, unsigned base)
{
    int value = byte >= '0' && byte <= '9'   ? byte - '0'
                : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                             : -1;
    return value >= 0 && (unsigned)value < base ? value : -1;
}

/* Reads up to `most` digits; returns how many there were. */
static unsigned read_digits(struct regex_translator *translator, unsigned base, unsigned most,
                            uint32_t *number)
{
    unsigned count = 0;
    for (*number = 0; count < most && translator->at < translator->pattern.size; count++) {
        int value = digit_value(translator->pattern.data[translator->at], base);
        if (value < 0)
            break;
        *number = *number * base + (uint32_t)value;
        translator->at++;
    }
    return count;
}

static bool read_hexadecimal(struct regex_translator *translator, size_t start, unsigned digits,
                             struct member *member)
{
    if (read_digits(translator, 16, digits, &member->character) != digits)
        return regex_refuse(translator, start,
                            "an incomplete escape, expected %u hexadecimal digits", digits);
    if (member->character > 0x10FFFF)
        return regex_refuse(translator, start, "an escape beyond the last character, U+10FFFF");
    return true;
}

/* The escapes that mean the same in a set and outside; the backslash and the letter are read. */
static bool read_common_escape(struct regex_translator *translator, size_t start, uint32_t letter,
                               struct member *member)
{
    static const char controls[] = "a\af\fn\nr\rt\tv\v";
    member->character = NO_CHARACTER;
    member->category = 0;
    if (letter < 0x80 && strchr("dDsSwW", (int)letter) && letter) {
        member->category = (char)letter;
        return true;
    }
    for (size_t i = 0; i < sizeof controls - 1; i += 2)
        if (letter == (uint8_t)controls[i]) {
            member->character = (uint8_t)controls[i + 1];
            return true;
        }
    if (letter == 'x')
        return read_hexadecimal(translator, start, 2, member);
    if (translator->text && (letter == 'u' || letter == 'U'))
        return read_hexadecimal(translator, start, letter == 'u' ? 4 : 8, member);
    if (translator->text && letter == 'N')
        return regex_refuse(translator, start,
                            "\\N{name} is not supported, write \\u and four hexadecimal digits");
    if (letter < 0x80 && isalnum((int)letter))
        return regex_refuse(translator, start, "an unknown escape \\%c", (int)letter);
    member->character = letter;
    return true;
}

static bool check_octal(struct regex_translator *translator, size_t start, uint32_t value)
{
    return value <= 0377 ||
           regex_refuse(translator, start, "an octal escape above \\377, expected at most that");
}

/* The letter behind a backslash; none is the last byte of a pattern. */
static bool read_escaped(struct regex_translator *translator, uint32_t *letter)
{
    translator->at++;
    return regex_read_character(translator, letter);
}

/* Three octal digits are a character, one or two digits are a group. */
static bool translate_number(struct regex_translator *translator, const struct regex_scope *scope,
                             size_t start, struct regex_item *item)
{
    const uint8_t *digits = translator->pattern.data + start + 1;
    size_t left = translator->pattern.size - start - 1;
    uint32_t number;
    if (left >= 3 && digit_value(digits[0], 8) >= 0 && digit_value(digits[1], 8) >= 0 &&
        digit_value(digits[2], 8) >= 0) {
        translator->at = start + 1;
        read_digits(translator, 8, 3, &number);
        regex_write_literal(translator, scope, number);
        return check_octal(translator, start, number);
    }
    translator->at = start + 1;
    read_digits(translator, 10, 2, &number);
    return regex_write_reference(translator, scope, number, start, item);
}

/* A word boundary by what stands on both sides; Python finds none, and no place that is none, in an
 * empty subject. */
static void write_boundary(struct regex_translator *translator, const struct regex_scope *scope,
                           bool negated)
{
    if (has_ascii_categories(translator, scope))
        buffer_append_text(translator->out, negated ? "(?!\\A\\z)\\B" : "\\b");
    else
        buffer_append_text(translator->out, negated ? "(?!\\A\\z)(?:(?<=[" WORD "])(?=[" WORD "])"
                                                      "|(?<![" WORD "])(?![" WORD "]))"
                                                    : "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD
                                                      "])(?=[" WORD "]))");
}

bool regex_translate_escape(struct regex_translator *translator, const struct regex_scope *scope,
                            struct regex_item *item)
{
    size_t start = translator->at;
    uint32_t letter;
    struct member member;
    if (!read_escaped(translator, &letter))
        return false;
    *item = (struct regex_item){REGEX_ITEM_OTHER, {1, 1}};
    if (letter == 'A' || letter == 'Z' || letter == 'b' || letter == 'B') {
        *item = (struct regex_item){REGEX_ITEM_PLACE, {0, 0}};
        if (letter == 'A' || letter == 'Z')
            buffer_append_text(translator->out, letter == 'A' ? "\\A" : "\\z");
        else
            write_boundary(translator, scope, letter == 'B');
        return true;
    }
    if (letter >= '1' && letter <= '9')
        return translate_number(translator, scope, start, item);
    if (letter == '0') {
        read_digits(translator, 8, 2, &member.character);
        regex_write_literal(translator, scope, member.character);
        return true;
    }
    if (!read_common_escape(translator, start, letter, &member))
        return false;
    if (member.character != NO_CHARACTER) {
        regex_write_literal(translator, scope, member.character);
        return true;
    }
    buffer_append_byte(translator->out, '[');
    write_category(translator, scope, member.category);
    buffer_append_byte(translator->out, ']');
    return true;
}

static bool read_member(struct regex_translator *translator, struct member *member)
{
    size_t start = translator->at;
    uint32_t letter;
    *member = (struct member){.character = NO_CHARACTER};
    if (translator->pattern.data[start] != '\\')
        return regex_read_character(translator, &member->character);
    if (!read_escaped(translator, &letter))
        return false;
    if (letter == 'b') {
        member->character = '\b';
        return true;
    }
    if (letter >= '0' && letter <= '7') {
        translator->at--;
        read_digits(translator, 8, 3, &member->character);
        return check_octal(translator, start, member->character);
    }
    return read_common_escape(translator, start, letter, member);
}

static void write_member(struct regex_translator *translator, const struct regex_scope *scope,
                         const struct member *member)
{
    if (member->character == NO_CHARACTER)
        write_category(translator, scope, member->category);
    else
        write_range(translator, scope, member->character, member->character);
}

static bool translate_range(struct regex_translator *translator, const struct regex_scope *scope,
                            size_t start, const struct member *low)
{
    struct member high;
    if (!read_member(translator, &high))
        return false;
    if (low->character == NO_CHARACTER || high.character == NO_CHARACTER)
        return regex_refuse(translator, start,
                            "a range of characters that starts or ends with a class like \\d");
    if (high.character < low->character)
        return regex_refuse(translator, start, "a range of characters that ends before it starts");
    write_range(translator, scope, low->character, high.character);
    return true;
}

bool regex_translate_set(struct regex_translator *translator, const struct regex_scope *scope,
                         struct regex_item *item)
{
    size_t opening = translator->at++;
    const struct bytes *pattern = &translator->pattern;
    *item = (struct regex_item){REGEX_ITEM_OTHER, {1, 1}};
    buffer_append_text(translator->out, regex_read_if(translator, '^') ? "[^" : "[");
    for (bool first = true; first || !regex_read_if(translator, ']'); first = false) {
        struct member member;
        size_t start = translator->at;
        if (start < pattern->size && !read_member(translator, &member))
            return false;
        bool dash = start < pattern->size && regex_read_if(translator, '-');
        if (translator->at == pattern->size)
            return regex_refuse(translator, opening, "a set without end, expected ] behind it");
        if (!dash || pattern->data[translator->at] == ']') {
            write_member(translator, scope, &member);
            if (dash)
                buffer_append_text(translator->out, "\\-");
        } else if (!translate_range(translator, scope, start, &member)) {
            return false;
        }
    }
    buffer_append_byte(translator->out, ']');
    return true;
}
