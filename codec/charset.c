#include "charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

static bool contains(struct bytes text, const char *part)
{
    return text.size && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

static struct bytes strip(struct bytes text)
{
    while (text.size && strchr(" \t\r\n\v\f", text.data[0] ? text.data[0] : 'x')) {
        text.data++;
        text.size--;
    }
    while (text.size &&
           strchr(" \t\r\n\v\f", text.data[text.size - 1] ? text.data[text.size - 1] : 'x'))
        text.size--;
    return text;
}

/* Takes what stands before the next `mark` off the front of text. */
static struct bytes take_until(struct bytes *text, char mark)
{
    const uint8_t *found = text->size ? memchr(text->data, mark, text->size) : NULL;
    struct bytes taken = *text;
    if (found)
        taken.size = (size_t)(found - text->data);
    size_t step = found ? taken.size + 1 : taken.size;
    if (step)
        *text = bytes_make(text->data + step, text->size - step);
    return taken;
}

/* The last `charset` parameter of a type/subtype; empty if there is none. */
static struct bytes charset_parameter(struct bytes content_type)
{
    struct bytes found = bytes_make("", 0);
    struct bytes type = take_until(&content_type, ';');
    if (!contains(type, "/"))
        return found;
    while (content_type.size) {
        struct bytes value = take_until(&content_type, ';');
        size_t whole = value.size;
        struct bytes name = take_until(&value, '=');
        if (name.size < whole && bytes_equal_text(strip(name), "charset"))
            found = strip(value);
    }
    return found;
}

struct bytes charset_of_content_type(struct bytes content_type)
{
    static const char *const unicode_types[] = {"json",       "html",       "xml",
                                                "javascript", "ecmascript", "text/css"};
    struct bytes charset = charset_parameter(content_type);
    for (size_t i = 0; !charset.size && i < sizeof unicode_types / sizeof *unicode_types; i++)
        if (contains(content_type, unicode_types[i]))
            charset = bytes_of("utf-8");
    if (!charset.size)
        return bytes_of("latin-1");
    if (bytes_equal_ignoring_case(charset, "gb2312") || bytes_equal_ignoring_case(charset, "gbk"))
        return bytes_of("gb18030");
    return charset;
}

#define NAME_SIZE 32

/* Lower case, with one `-` for any punctuation between letters and digits (Python's
 * encodings.normalize_encoding); "" if it is too long to be a name. */
static void normalize(struct bytes charset, char name[NAME_SIZE])
{
    size_t length = 0;
    bool gap = false;
    for (size_t i = 0; i < charset.size; i++) {
        uint8_t byte = charset.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!letter && !(byte >= '0' && byte <= '9')) {
            gap = length > 0;
            continue;
        }
        if (length + 3 > NAME_SIZE) {
            length = 0;
            break;
        }
        if (gap)
            name[length++] = '-';
        gap = false;
        name[length++] = (char)(letter ? byte | 0x20 : byte);
    }
    name[length] = '\0';
}

/* iconv's name for a charset; NULL if it isn't one of the legacy charsets of the web. */
static const char *iconv_name(const char *name)
{
    static const char *const known[] = {
        "cp1250",      "cp1251",      "cp1252",      "cp1253",      "cp1254",      "cp1255",
        "cp1256",      "cp1257",      "cp1258",      "iso-8859-2",  "iso-8859-3",  "iso-8859-4",
        "iso-8859-5",  "iso-8859-6",  "iso-8859-7",  "iso-8859-8",  "iso-8859-9",  "iso-8859-10",
        "iso-8859-11", "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16", "gb18030",
        "big5",        "big5-hkscs",  "euc-jp",      "euc-kr",      "cp949",       "iso-2022-jp",
        "koi8-r",      "koi8-u",      "cp866",       "ibm866",      "cp437",       "cp850",
        "cp852",       "cp874",       "cp932",       "tis-620",     "macintosh",   "johab"};
    static const char *const aliases[][2] = {
        {"shift-jis", "cp932"},     {"sjis", "cp932"},          {"x-sjis", "cp932"},
        {"shiftjis", "cp932"},      {"windows-31j", "cp932"},   {"ms932", "cp932"},
        {"euckr", "euc-kr"},        {"ks-c-5601", "euc-kr"},    {"ks-c-5601-1987", "euc-kr"},
        {"windows-949", "cp949"},   {"uhc", "cp949"},           {"eucjp", "euc-jp"},
        {"x-euc-jp", "euc-jp"},     {"latin2", "iso-8859-2"},   {"latin-2", "iso-8859-2"},
        {"latin9", "iso-8859-15"},  {"latin-9", "iso-8859-15"}, {"windows-874", "cp874"},
        {"mac-roman", "macintosh"}, {"big5-tw", "big5"},        {"big5hkscs", "big5-hkscs"},
    };
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(name, aliases[i][0]) == 0)
            return aliases[i][1];
    bool windows = strncmp(name, "windows-125", 11) == 0;
    bool iso = strncmp(name, "iso8859-", 8) == 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0 || (windows && strcmp(name + 8, known[i] + 2) == 0) ||
            (iso && strncmp(known[i], "iso-", 4) == 0 && strcmp(name + 3, known[i] + 4) == 0))
            return known[i];
    return NULL;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static enum charset_result encode_latin1(struct bytes text, struct arena *arena,
                                         struct bytes *encoded)
{
    uint8_t *out = arena_alloc(arena, text.size ? text.size : 1);
    size_t size = 0;
    if (!out)
        return CHARSET_NO_MEMORY;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte > 0xC3)
            return CHARSET_UNFIT;
        if (byte >= 0xC2)
            byte = (uint8_t)((byte & 3) << 6 | (text.data[++i] & 63));
        out[size++] = byte;
    }
    *encoded = bytes_make(out, size);
    return CHARSET_DONE;
}

/* Runs iconv to the end, `mark` in front. */
static enum charset_result encode_iconv(const char *name, const char *mark, struct bytes text,
                                        struct arena *arena, struct bytes *encoded)
{
    struct buffer out = BUFFER_INIT;
    size_t left = text.size, result = 0;
    char *in = (char *)(uintptr_t)text.data; /* iconv's type; it only reads */
    iconv_t converter = iconv_open(name, "UTF-8");
    if (converter == (iconv_t)-1)
        return errno == ENOMEM ? CHARSET_NO_MEMORY : CHARSET_UNFIT;
    buffer_append_text(&out, mark);
    bool unfit = false;
    for (bool flushing = false; !out.failed && !unfit;) {
        if (!buffer_reserve(&out, left + 32))
            break;
        size_t room = out.capacity - out.size;
        char *to = (char *)out.data + out.size;
        result = iconv(converter, flushing ? NULL : &in, flushing ? NULL : &left, &to, &room);
        out.size = out.capacity - room;
        bool full = result == (size_t)-1 && errno == E2BIG;
        /* A count above 0 is of characters that were replaced by lookalikes. */
        unfit = !full && result != 0;
        if (!full && !unfit && flushing)
            break;
        flushing = flushing || !full;
    }
    iconv_close(converter);
    if (unfit || out.failed) {
        buffer_free(&out);
        return unfit ? CHARSET_UNFIT : CHARSET_NO_MEMORY;
    }
    *encoded = buffer_bytes(&out);
    return arena_adopt(arena, out.data) ? CHARSET_DONE : CHARSET_NO_MEMORY;
}

enum charset_result charset_encode(struct bytes charset, struct bytes text, struct arena *arena,
                                   struct bytes *encoded)
{
    static const char *const utf8[] = {"utf-8", "utf8", "u8", "utf", "cp65001", NULL};
    static const char *const ascii[] = {"ascii", "us-ascii", "646", "ansi-x3-4-1968", NULL};
    static const char *const latin1[] = {"latin-1", "latin1",    "iso-8859-1", "iso8859-1",
                                         "l1",      "latin",     "iso8859",    "cp819",
                                         "8859",    "iso-88591", NULL};
    /* A BOM is written where the name leaves the byte order open, and little endian is taken. */
    static const struct {
        const char *name, *iconv, *mark;
    } unicode[] = {
        {"utf-16", "UTF-16LE", "\xFF\xFE"},     {"utf16", "UTF-16LE", "\xFF\xFE"},
        {"utf-16le", "UTF-16LE", ""},           {"utf-16-le", "UTF-16LE", ""},
        {"utf-16be", "UTF-16BE", ""},           {"utf-16-be", "UTF-16BE", ""},
        {"utf-32le", "UTF-32LE", ""},           {"utf-32be", "UTF-32BE", ""},
        {"utf-8-sig", "UTF-8", "\xEF\xBB\xBF"},
    };
    char name[NAME_SIZE];
    *encoded = text;
    normalize(charset, name);
    if (!bytes_are_utf8(text))
        return CHARSET_UNFIT;
    if (is_one_of(name, utf8))
        return CHARSET_DONE;
    if (is_one_of(name, ascii)) {
        for (size_t i = 0; i < text.size; i++)
            if (text.data[i] >= 0x80)
                return CHARSET_UNFIT;
        return CHARSET_DONE;
    }
    if (is_one_of(name, latin1))
        return encode_latin1(text, arena, encoded);
    for (size_t i = 0; i < sizeof unicode / sizeof *unicode; i++)
        if (strcmp(name, unicode[i].name) == 0)
            return encode_iconv(unicode[i].iconv, unicode[i].mark, text, arena, encoded);
    const char *legacy = iconv_name(name);
    return legacy ? encode_iconv(legacy, "", text, arena, encoded) : CHARSET_UNFIT;
}
