#include "convert.h"

#include "convert_mitm.h"
#include "convert_rows.h"
#include "export.h"
#include "har_write.h"
#include "stats.h"

#include <errno.h>
#include <stdlib.h>

struct convert {
    struct convert_options options;
    struct sink *sink;
    struct buffer out; /* what one flow gives, until the sink has it */
    struct stats *stats;
    struct har_writer *har;
    uint64_t left_out;
};

/* How a format is made. All may be NULL but one of `add` and `row`; `copy` writes a flow that
 * nobody has read yet, or sets *copied to false. */
struct format {
    const char *name;
    const char *description;
    bool (*begin)(struct convert *convert, struct flow_error *error);
    bool (*copy)(struct convert *convert, const struct convert_flow *flow, bool *copied,
                 struct flow_error *error);
    bool (*add)(struct convert *convert, struct flowdir *directory, struct flow_error *error);
    bool (*row)(const struct convert_options *options, struct flowdir *directory,
                struct buffer *out, struct flow_error *error);
    bool (*end)(struct convert *convert, struct flow_error *error);
};

static void report(const struct convert *convert, const struct flowdir *directory, const char *what)
{
    if (convert->options.report)
        convert->options.report(convert->options.report_context, directory->loaded.flow.id, what);
}

static bool copy_record(struct convert *convert, const struct convert_flow *flow, bool *copied,
                        struct flow_error *error)
{
    return convert_copy_record(flow, convert->options.version, convert->sink, copied, error);
}

static bool add_record(struct convert *convert, struct flowdir *directory, struct flow_error *error)
{
    return convert_append_record(directory, &convert->options, &convert->out, error);
}

static bool begin_har(struct convert *convert, struct flow_error *error)
{
    convert->har = har_writer_open(error);
    return convert->har && har_writer_begin(convert->har, &convert->out, error);
}

static bool add_har(struct convert *convert, struct flowdir *directory, struct flow_error *error)
{
    return har_writer_add(convert->har, directory, &convert->out, error);
}

static bool end_har(struct convert *convert, struct flow_error *error)
{
    return har_writer_end(convert->har, &convert->out, error);
}

static bool jsonl_row(const struct convert_options *options, struct flowdir *directory,
                      struct buffer *out, struct flow_error *error)
{
    (void)options;
    return convert_append_jsonl(directory, out, error);
}

static bool begin_csv(struct convert *convert, struct flow_error *error)
{
    (void)error;
    convert_append_csv_head(&convert->out);
    return true;
}

static bool csv_row(const struct convert_options *options, struct flowdir *directory,
                    struct buffer *out, struct flow_error *error)
{
    (void)options;
    return convert_append_csv(directory, out, error);
}

static bool list_row(const struct convert_options *options, struct flowdir *directory,
                     struct buffer *out, struct flow_error *error)
{
    return convert_append_list(directory, options->colour, out, error);
}

static bool begin_stats(struct convert *convert, struct flow_error *error)
{
    convert->stats = stats_open(error);
    return convert->stats != NULL;
}

static bool add_stats(struct convert *convert, struct flowdir *directory, struct flow_error *error)
{
    return stats_add(convert->stats, directory, error);
}

static bool end_stats(struct convert *convert, struct flow_error *error)
{
    return stats_render_text(convert->stats, &convert->out, error);
}

static bool end_stats_json(struct convert *convert, struct flow_error *error)
{
    return stats_render_json(convert->stats, &convert->out, error);
}

static bool add_export(struct convert *convert, struct flowdir *directory, struct flow_error *error)
{
    enum export_format format = (enum export_format)(convert->options.format - CONVERT_CURL);
    if (!export_flow(directory, format, &convert->out, error))
        return false;
    if (format == EXPORT_CURL || format == EXPORT_HTTPIE)
        buffer_append_byte(&convert->out, '\n');
    return true;
}

_Static_assert(CONVERT_FORMATS - CONVERT_CURL == EXPORT_FORMATS &&
                   CONVERT_RAW_RESPONSE - CONVERT_CURL == EXPORT_RAW_RESPONSE,
               "the exports stand in the order of export.h");

static const struct format formats[CONVERT_FORMATS] = {
    [CONVERT_MITM] = {"mitm", "flow file, as mitmproxy reads and writes it", .copy = copy_record,
                      .add = add_record},
    [CONVERT_HAR] = {"har", "HAR 1.2, as browsers write it", .begin = begin_har, .add = add_har,
                     .end = end_har},
    [CONVERT_JSONL] = {"jsonl", "JSON lines: a summary of each flow", .row = jsonl_row},
    [CONVERT_CSV] = {"csv", "comma-separated values with a header line (RFC 4180)",
                     .begin = begin_csv, .row = csv_row},
    [CONVERT_STATS] = {"stats", "counts, sums and extremes, for people", .begin = begin_stats,
                       .add = add_stats, .end = end_stats},
    [CONVERT_STATS_JSON] = {"stats_json", "counts, sums and extremes, as JSON",
                            .begin = begin_stats, .add = add_stats, .end = end_stats_json},
    [CONVERT_LIST] = {"list", "a line a flow, for people", .row = list_row},
    [CONVERT_CURL] = {"curl", "a curl command a request", .add = add_export},
    [CONVERT_HTTPIE] = {"httpie", "an httpie command a request", .add = add_export},
    [CONVERT_RAW] = {"raw", "requests and responses as HTTP/1.1 has them", .add = add_export},
    [CONVERT_RAW_REQUEST] = {"raw_request", "requests as HTTP/1.1 has them", .add = add_export},
    [CONVERT_RAW_RESPONSE] = {"raw_response", "responses as HTTP/1.1 has them", .add = add_export},
};

const char *convert_format_name(enum convert_format format)
{
    return formats[format].name;
}

const char *convert_format_description(enum convert_format format)
{
    return formats[format].description;
}

enum convert_format convert_format_of_name(struct bytes name)
{
    int format = 0;
    while (format < CONVERT_FORMATS && !bytes_equal_text(name, formats[format].name))
        format++;
    return (enum convert_format)format;
}

static bool pass_on(struct convert *convert, struct flow_error *error)
{
    bool done = convert->out.failed ? flow_error_memory(error)
                                    : sink_write(convert->sink, buffer_bytes(&convert->out), error);
    convert->out.size = 0;
    return done;
}

struct convert *convert_open(const struct convert_options *options, struct sink *sink,
                             struct flow_error *error)
{
    const struct format *format = &formats[options->format];
    struct convert *convert = calloc(1, sizeof *convert);
    if (!convert) {
        flow_error_memory(error);
        return NULL;
    }
    convert->options = *options;
    convert->sink = sink;
    if ((options->format != CONVERT_MITM || convert_version_is_known(options->version, error)) &&
        (!format->begin || format->begin(convert, error)) && pass_on(convert, error))
        return convert;
    convert_close(convert);
    return NULL;
}

static bool add(struct convert *convert, struct flowdir *directory, struct flow_error *error)
{
    size_t before = convert->out.size;
    struct flow_error problem = {0};
    const struct format *format = &formats[convert->options.format];
    if (format->row ? format->row(&convert->options, directory, &convert->out, &problem)
                    : format->add(convert, directory, &problem))
        return pass_on(convert, error);
    convert->out.size = before;
    if (problem.code != ENOTSUP && problem.code != EFBIG) {
        *error = problem;
        return false;
    }
    report(convert, directory, problem.message);
    convert->left_out++;
    return true;
}

uint64_t convert_left_out(const struct convert *convert)
{
    return convert->left_out;
}

static bool load_and_add(struct convert *convert, const struct convert_flow *flow,
                         struct flow_error *error)
{
    struct capture_flow loaded = {0};
    struct flowdir directory = {0};
    bool done = capture_load(flow->capture, flow->extent, flow->handshake, &loaded, error) &&
                flowdir_open(&directory, &loaded, flow->capture, flow->capture_name, flow->number,
                             flow->decode_limit, error) &&
                add(convert, &directory, error);
    flowdir_close(&directory);
    capture_flow_close(&loaded);
    return done;
}

bool convert_add(struct convert *convert, const struct convert_flow *flow,
                 struct flowdir *directory, struct flow_error *error)
{
    bool copied = false;
    const struct format *format = &formats[convert->options.format];
    if (format->copy && !format->copy(convert, flow, &copied, error))
        return false;
    if (copied)
        return true;
    return directory ? add(convert, directory, error) : load_and_add(convert, flow, error);
}

bool convert_has_rows(const struct convert *convert)
{
    return formats[convert->options.format].row != NULL;
}

bool convert_row(const struct convert *convert, struct flowdir *directory, struct buffer *out,
                 struct flow_error *error)
{
    return formats[convert->options.format].row(&convert->options, directory, out, error);
}

bool convert_add_row(struct convert *convert, struct bytes row, struct flow_error *error)
{
    return sink_write(convert->sink, row, error);
}

bool convert_end(struct convert *convert, struct flow_error *error)
{
    const struct format *format = &formats[convert->options.format];
    return (!format->end || format->end(convert, error)) && pass_on(convert, error);
}

void convert_close(struct convert *convert)
{
    if (!convert)
        return;
    stats_close(convert->stats);
    har_writer_close(convert->har);
    buffer_free(&convert->out);
    free(convert);
}
