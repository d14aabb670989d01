#include "media_type.h"

struct bytes media_type_of_message(const struct flow_message *message)
{
    struct bytes name, value;
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item; item = item->next)
        if (flow_field(item, &name, &value) && bytes_equal_ignoring_case(name, "content-type"))
            return value;
    return (struct bytes){NULL, 0};
}

static struct bytes up_to(struct bytes text, char end)
{
    const uint8_t *found = text.size ? memchr(text.data, end, text.size) : NULL;
    return found ? bytes_make(text.data, (size_t)(found - text.data)) : text;
}

void media_type_split(struct bytes value, struct bytes *type, struct bytes *subtype)
{
    struct bytes whole = bytes_trim(up_to(value, ';'));
    struct bytes first = up_to(whole, '/');
    *type = bytes_trim(first);
    *subtype =
        first.size < whole.size
            ? bytes_trim(bytes_make(whole.data + first.size + 1, whole.size - first.size - 1))
            : bytes_make("", 0);
}

/* Where several extensions are in use, the one that most programs know. type NULL: any. */
static const struct {
    const char *type, *subtype, *extension;
} extensions[] = {
    {"image", "png", ".png"},
    {"image", "jpeg", ".jpg"},
    {"image", "jpg", ".jpg"},
    {"image", "gif", ".gif"},
    {"image", "webp", ".webp"},
    {"image", "avif", ".avif"},
    {"image", "bmp", ".bmp"},
    {"image", "tiff", ".tiff"},
    {"image", "svg+xml", ".svg"},
    {"image", "x-icon", ".ico"},
    {"image", "vnd.microsoft.icon", ".ico"},
    {"text", "html", ".html"},
    {"text", "css", ".css"},
    {"text", "csv", ".csv"},
    {"text", "plain", ".txt"},
    {"text", "markdown", ".md"},
    {"text", "calendar", ".ics"},
    {"text", "vcard", ".vcf"},
    {"application", "pdf", ".pdf"},
    {"application", "zip", ".zip"},
    {"application", "gzip", ".gz"},
    {"application", "x-gzip", ".gz"},
    {"application", "x-tar", ".tar"},
    {"application", "zstd", ".zst"},
    {"application", "wasm", ".wasm"},
    {"application", "x-ndjson", ".jsonl"},
    {"application", "yaml", ".yaml"},
    {"application", "xhtml+xml", ".xhtml"},
    {"application", "vnd.apple.mpegurl", ".m3u8"},
    {"application", "x-mpegurl", ".m3u8"},
    {"application", "dash+xml", ".mpd"},
    {"application", "octet-stream", ".bin"},
    {"audio", "mpeg", ".mp3"},
    {"audio", "mp4", ".m4a"},
    {"audio", "aac", ".aac"},
    {"audio", "ogg", ".ogg"},
    {"audio", "wav", ".wav"},
    {"audio", "flac", ".flac"},
    {"video", "mp4", ".mp4"},
    {"video", "webm", ".webm"},
    {"video", "mp2t", ".ts"},
    {"video", "quicktime", ".mov"},
    {"font", "woff", ".woff"},
    {"font", "woff2", ".woff2"},
    {"font", "ttf", ".ttf"},
    {"font", "otf", ".otf"},
    {NULL, "json", ".json"},
    {NULL, "xml", ".xml"},
    {NULL, "javascript", ".js"},
    {NULL, "x-javascript", ".js"},
    {NULL, "ecmascript", ".js"},
};

/* RFC 6838, 4.2.8: what follows the last `+` says how the type is written. */
static struct bytes suffix_of(struct bytes subtype)
{
    for (size_t i = subtype.size; i > 0; i--)
        if (subtype.data[i - 1] == '+')
            return bytes_make(subtype.data + i, subtype.size - i);
    return bytes_make("", 0);
}

const char *media_type_extension(struct bytes type, struct bytes subtype)
{
    struct bytes suffix = suffix_of(subtype);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if ((!extensions[i].type || bytes_equal_text(type, extensions[i].type)) &&
            bytes_equal_text(subtype, extensions[i].subtype))
            return extensions[i].extension;
    return bytes_equal_text(suffix, "json")  ? ".json"
           : bytes_equal_text(suffix, "xml") ? ".xml"
           : bytes_equal_text(suffix, "zip") ? ".zip"
                                             : "";
}
