/* cat for flows: reads captures, chooses, sorts, writes in another form. */
#include "flowcat_dirs.h"
#include "flowcat_options.h"
#include "load_ahead.h"
#include "progress.h"
#include "selection.h"
#include "version.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum exit_code {
    EXIT_WRITTEN = 0,
    EXIT_USAGE = 1,
    EXIT_CAPTURE = 2,
    EXIT_OUTPUT = 3,
    EXIT_LEFT_OUT = 4,
};

struct flowcat {
    struct flowcat_options options;
    struct filter *filter;
    struct selection *selection;
    struct sink *sink;
    struct convert *convert;
    struct load_ahead *ahead; /* NULL where flows are mostly copied, not read */
    struct progress progress;
    uint64_t left_out;
    uint64_t losses;
};

#define LOSSES_SHOWN 5

static void say(struct flowcat *flowcat, const char *what, const struct flow_error *error)
{
    progress_end(&flowcat->progress);
    fprintf(stderr, "flowcat: %s%s", what ? what : "", what ? ": " : "");
    if (error->key_path[0])
        fprintf(stderr, "%s: ", error->key_path);
    fputs(error->message, stderr);
    if (error->offset != FLOW_ERROR_NO_OFFSET)
        fprintf(stderr, " (at byte %" PRIu64 ")", error->offset);
    fputc('\n', stderr);
}

static void report_capture(void *context, const char *capture, const struct flow_error *problem,
                           struct capture_extent gap)
{
    struct flowcat *flowcat = context;
    char what[512];
    if (gap.size)
        snprintf(what, sizeof what, "%s: bytes %" PRIu64 " to %" PRIu64 " left out", capture,
                 gap.offset, gap.offset + gap.size);
    else
        snprintf(what, sizeof what, "%s", capture);
    say(flowcat, what, problem);
}

static void report_progress(void *context, uint64_t done, uint64_t all)
{
    struct flowcat *flowcat = context;
    progress_update(&flowcat->progress, done, all);
}

/* A flow that the format cannot hold, or not all of it. The first ones show what it is about. */
static void report_loss(void *context, struct bytes flow, const char *what)
{
    struct flowcat *flowcat = context;
    progress_end(&flowcat->progress);
    if (++flowcat->losses > LOSSES_SHOWN)
        return;
    fprintf(stderr, "flowcat: flow %.*s: %s\n", (int)(flow.size < 80 ? flow.size : 80),
            (const char *)flow.data, what);
}

/* The mistake is shown in its place in the expression. */
static void show_filter_error(const char *expression, const struct flow_error *error)
{
    fprintf(stderr, "flowcat: -f: %s\n", error->message);
    if (error->offset == FLOW_ERROR_NO_OFFSET || error->offset > strlen(expression))
        return;
    fprintf(stderr, "  %s\n  %*s^\n", expression, (int)error->offset, "");
}

static bool parse_filter(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    const char *expression = flowcat->options.filter;
    if (!expression)
        return true;
    flowcat->filter = filter_parse(bytes_of(expression), filter_case_of_environment(), &error);
    if (!flowcat->filter)
        show_filter_error(expression, &error);
    return flowcat->filter != NULL;
}

static void tell_mistake(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "flowcat: %s\n", what);
}

/* Packs the folders into a flow file without a name, and reads that. */
static bool read_folders(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    uint64_t mistakes = 0;
    const struct flowcat_options *options = &flowcat->options;
    int packed =
        flowcat_pack(options->paths, options->path_count, tell_mistake, flowcat, &mistakes, &error);
    if (packed >= 0 && mistakes)
        fprintf(stderr, "flowcat: nothing is written: %" PRIu64 " flows cannot be packed\n",
                mistakes);
    bool added = packed >= 0 && !mistakes &&
                 selection_add_descriptor(flowcat->selection, packed, "packed.mitm", &error);
    if (error.code)
        say(flowcat, NULL, &error);
    if (packed >= 0)
        close(packed);
    return added;
}

static bool read_captures(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    const struct flowcat_options *options = &flowcat->options;
    for (int i = 0; i < options->path_count; i++) {
        progress_start(&flowcat->progress, STDERR_FILENO, "reading");
        bool added = selection_add(flowcat->selection, options->paths[i], &error);
        progress_end(&flowcat->progress);
        if (!added) {
            say(flowcat, options->paths[i], &error);
            return false;
        }
    }
    if (!selection_gaps(flowcat->selection) || options->recover)
        return true;
    fputs("flowcat: nothing is written, since a capture is broken; --recover writes what is "
          "whole\n",
          stderr);
    return false;
}

static bool match(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    progress_start(&flowcat->progress, STDERR_FILENO, "matching");
    bool matched = selection_match(flowcat->selection, &flowcat->left_out, &error);
    progress_end(&flowcat->progress);
    if (!matched)
        say(flowcat, NULL, &error);
    return matched;
}

/* Finds the flows that are to be written, in their order. */
static enum exit_code choose(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    const struct flowcat_options *options = &flowcat->options;
    if (!parse_filter(flowcat))
        return EXIT_USAGE;
    struct selection_options selection_options = {
        .filter = flowcat->filter,
        .decode_limit = FLOWDIR_DECODE_LIMIT,
        .report = report_capture,
        .progress = report_progress,
        .context = flowcat,
    };
    flowcat->selection = selection_open(&selection_options, &error);
    if (!flowcat->selection) {
        say(flowcat, NULL, &error);
        return EXIT_CAPTURE;
    }
    if (!(options->pack ? read_folders(flowcat) : read_captures(flowcat)) || !match(flowcat))
        return EXIT_CAPTURE;
    if (options->sort || options->pack)
        selection_sort(flowcat->selection);
    return EXIT_WRITTEN;
}

static bool may_colour(const struct flowcat *flowcat)
{
    const char *no_colour = getenv("NO_COLOR"); /* no-color.org */
    return !flowcat->options.output && isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

static bool make_row(const void *context, struct flowdir *directory, struct buffer *out,
                     struct flow_error *error)
{
    return convert_row(context, directory, out, error);
}

static bool open_output(struct flowcat *flowcat, struct flow_error *error)
{
    const struct flowcat_options *options = &flowcat->options;
    struct convert_options convert_options = {
        .format = options->format,
        .version = options->version,
        .colour = may_colour(flowcat),
        .report = report_loss,
        .report_context = flowcat,
    };
    flowcat->sink = options->output ? sink_open_file(options->output, options->gzip, error)
                                    : sink_open_descriptor(STDOUT_FILENO, options->gzip, error);
    if (flowcat->sink)
        flowcat->convert = convert_open(&convert_options, flowcat->sink, error);
    if (flowcat->convert && options->format != CONVERT_MITM)
        flowcat->ahead = load_ahead_open(flowcat->selection,
                                         convert_has_rows(flowcat->convert) ? make_row : NULL,
                                         flowcat->convert, error);
    return flowcat->convert && (flowcat->ahead || options->format == CONVERT_MITM);
}

/* Whether the error is of this flow alone: then the others can still be written. */
static bool is_of_flow(const struct flow_error *error)
{
    return error->code == EBADMSG || error->code == ENOTSUP || error->code == EFBIG;
}

static bool write_flow(struct flowcat *flowcat, size_t number, struct flow_error *error)
{
    struct flow_error problem = {0};
    struct convert_flow flow = selection_convert_flow(flowcat->selection, number);
    struct load_ahead_flow loaded = {0};
    bool done = !flowcat->ahead || load_ahead_get(flowcat->ahead, number, &loaded, &problem);
    if (done && flowcat->ahead && !loaded.directory)
        done = convert_add_row(flowcat->convert, loaded.made, &problem);
    else if (done)
        done = convert_add(flowcat->convert, &flow, loaded.directory, &problem);
    if (done)
        return true;
    if (!is_of_flow(&problem)) {
        *error = problem;
        return false;
    }
    flowcat->left_out++;
    report_capture(flowcat, flow.capture_name, &problem, flow.extent);
    return true;
}

static bool write_all(struct flowcat *flowcat, struct flow_error *error)
{
    size_t count = selection_count(flowcat->selection);
    uint64_t all = 0;
    uint64_t done = 0;
    for (size_t i = 0; i < count; i++)
        all += selection_flow(flowcat->selection, i)->extent.size;
    if (!open_output(flowcat, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!write_flow(flowcat, i, error))
            return false;
        done += selection_flow(flowcat->selection, i)->extent.size;
        if (i % 64 == 0)
            progress_update(&flowcat->progress, done, all);
    }
    flowcat->left_out += convert_left_out(flowcat->convert);
    return convert_end(flowcat->convert, error) && sink_finish(flowcat->sink, error);
}

static enum exit_code run(struct flowcat *flowcat)
{
    struct flow_error error = {0};
    enum exit_code code = choose(flowcat);
    if (code != EXIT_WRITTEN)
        return code;
    progress_start(&flowcat->progress, STDERR_FILENO, "writing");
    bool written = flowcat->options.unpack
                       ? flowcat_unpack(flowcat->selection, flowcat->options.unpack, &error)
                       : write_all(flowcat, &error);
    progress_end(&flowcat->progress);
    if (!written) {
        say(flowcat, flowcat->options.output, &error);
        return error.code == ENOTSUP ? EXIT_USAGE : EXIT_OUTPUT;
    }
    if (flowcat->losses > LOSSES_SHOWN)
        fprintf(stderr, "flowcat: and so for %" PRIu64 " more\n", flowcat->losses - LOSSES_SHOWN);
    if (flowcat->left_out)
        fprintf(stderr, "flowcat: %" PRIu64 " flows were left out\n", flowcat->left_out);
    return flowcat->left_out ? EXIT_LEFT_OUT : EXIT_WRITTEN;
}

static void list_formats(void)
{
    for (int i = 0; i < CONVERT_FORMATS; i++)
        printf("%-14s %s\n", convert_format_name((enum convert_format)i),
               convert_format_description((enum convert_format)i));
}

/* Flows come and go a hundred at a time: their memory is not worth handing back in between. */
static void keep_memory(void)
{
#ifdef M_TRIM_THRESHOLD
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

int main(int count, char **arguments)
{
    struct flowcat flowcat = {0};
    keep_memory();
    if (!flowcat_options_parse(&flowcat.options, count, arguments))
        return EXIT_USAGE;
    if (flowcat.options.help) {
        fputs(flowcat_help, stdout);
        return EXIT_WRITTEN;
    }
    if (flowcat.options.show_version) {
        puts("flowcat " FLOWFS_VERSION);
        return EXIT_WRITTEN;
    }
    if (flowcat.options.list_formats) {
        list_formats();
        return EXIT_WRITTEN;
    }
    if (!flowcat.options.has_format && !flowcat.options.output && isatty(STDOUT_FILENO))
        flowcat.options.format = CONVERT_LIST;
    enum exit_code code = run(&flowcat);
    load_ahead_close(flowcat.ahead);
    convert_close(flowcat.convert);
    sink_close(flowcat.sink);
    selection_close(flowcat.selection);
    filter_free(flowcat.filter);
    return (int)code;
}
