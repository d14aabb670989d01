#include "codec_inside.h"

#include "export.h"
#include "migrate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct flowcodec_writer {
    struct sink *sink;
    struct convert *convert;
    struct flowcodec_filter *filter;
    flowcodec_keep *keep;
    void *keep_context;
    flowcodec_loss *loss;
    void *loss_context;
};

/* The lists are made of those that the codec has, once. */
static struct flowcodec_format exports[EXPORT_FORMATS + 1], outputs[CONVERT_FORMATS + 1];
static pthread_once_t lists_made = PTHREAD_ONCE_INIT;

static void make_lists(void)
{
    for (int i = 0; i < EXPORT_FORMATS; i++) {
        exports[i].name = export_format_name((enum export_format)i);
        exports[i].description = export_format_description((enum export_format)i);
    }
    for (int i = 0; i < CONVERT_FORMATS; i++) {
        outputs[i].name = convert_format_name((enum convert_format)i);
        outputs[i].description = convert_format_description((enum convert_format)i);
    }
}

const struct flowcodec_format *flowcodec_export_formats(void)
{
    pthread_once(&lists_made, make_lists);
    return exports;
}

const struct flowcodec_format *flowcodec_output_formats(void)
{
    pthread_once(&lists_made, make_lists);
    return outputs;
}

static void report_loss(void *context, struct bytes flow, const char *what)
{
    const struct flowcodec_writer *writer = context;
    if (!writer->loss)
        return;
    char *id = strndup((const char *)flow.data, flow.size);
    writer->loss(writer->loss_context, id ? id : "", what);
    free(id);
}

static bool open_writer(struct flowcodec_writer *writer, const struct flowcodec_output *output,
                        struct flow_error *error)
{
    const char *format = output->format ? output->format : "mitm";
    struct convert_options options = {
        .format = convert_format_of_name(bytes_of(format)),
        .version = output->version ? output->version : MIGRATE_VERSION_NEWEST,
        .report = report_loss,
        .report_context = writer,
    };
    if (options.format == CONVERT_FORMATS) {
        flow_error_set(error, EINVAL, FLOW_ERROR_NO_OFFSET, "no output format %.64s", format);
        return false;
    }
    writer->sink = output->path ? sink_open_file(output->path, output->gzip, error)
                                : sink_open_descriptor(output->descriptor, output->gzip, error);
    if (writer->sink)
        writer->convert = convert_open(&options, writer->sink, error);
    return writer->convert;
}

struct flowcodec_writer *flowcodec_writer_open(const struct flowcodec_output *output,
                                               struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct flowcodec_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        flow_error_memory(&problem);
    else if (open_writer(writer, output, &problem))
        return writer;
    flowcodec_writer_close(writer);
    codec_tell(&problem, error);
    return NULL;
}

void flowcodec_writer_set_filter(struct flowcodec_writer *writer, struct flowcodec_filter *filter,
                                 flowcodec_keep *keep, void *context)
{
    writer->filter = filter;
    writer->keep = keep;
    writer->keep_context = context;
}

void flowcodec_writer_on_loss(struct flowcodec_writer *writer, flowcodec_loss *loss, void *context)
{
    writer->loss = loss;
    writer->loss_context = context;
}

bool flowcodec_writer_add(struct flowcodec_writer *writer, struct flowcodec_flow *flow,
                          struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    bool wanted = true;
    if (writer->filter && !flowcodec_filter_match(writer->filter, flow, &wanted, error))
        return false;
    if (wanted && writer->keep)
        wanted = writer->keep(writer->keep_context, flow);
    if (!wanted)
        return true;
    struct convert_flow added = {
        .capture = flow->capture->capture,
        .extent = flow->extent,
        .handshake = flow->handshake,
        .capture_name = flow->capture->name,
        .number = flow->directory.number,
        .decode_limit = FLOWDIR_DECODE_LIMIT,
    };
    /* Writing in another version changes the flow that it is given, so the flow is read anew. */
    return convert_add(writer->convert, &added, NULL, &problem) || codec_tell(&problem, error);
}

bool flowcodec_writer_finish(struct flowcodec_writer *writer, struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    return (convert_end(writer->convert, &problem) && sink_finish(writer->sink, &problem)) ||
           codec_tell(&problem, error);
}

void flowcodec_writer_close(struct flowcodec_writer *writer)
{
    if (!writer)
        return;
    convert_close(writer->convert);
    sink_close(writer->sink);
    free(writer);
}
