/* What the library is for, in one small program:
 *
 *     example list CAPTURE...              one line a flow, of many captures and folders
 *     example copy EXPRESSION IN OUT       the flows that match, as a flow file
 *     example odd IN OUT                  those with an odd status, chosen by a function
 *     example stdin                        one line a flow, of what is piped in
 *     example memory IN                    the same of a file that was read into memory
 *     example export FORMAT IN             each flow in an export format
 *     example body IN                      decoded response bodies
 *     example formats                      what there is to choose from
 */
#include <flowcodec/codec.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct flowcodec_error *error)
{
    fprintf(stderr, "example: error %d at byte %" PRIu64 ": %s\n", error->code, error->offset,
            error->message);
    return 1;
}

static void print_gap(void *context, const char *capture, uint64_t offset, uint64_t size,
                      const struct flowcodec_error *why)
{
    (void)context;
    fprintf(stderr, "%s: bytes %" PRIu64 " to %" PRIu64 ": %s\n", capture, offset, offset + size,
            why->message);
}

static void print_flow(const struct flowcodec_flow *flow)
{
    struct flowcodec_bytes name, value;
    printf("%s %s %s %s %d", flowcodec_flow_id(flow), flowcodec_flow_type(flow),
           flowcodec_flow_method(flow), flowcodec_flow_url(flow), flowcodec_flow_status(flow));
    if (flowcodec_flow_header(flow, FLOWCODEC_RESPONSE, 0, &name, &value))
        printf(" %.*s=%.*s", (int)name.size, name.data, (int)value.size, value.data);
    printf("%s%s\n", flowcodec_flow_error(flow) ? " " : "",
           flowcodec_flow_error(flow) ? flowcodec_flow_error(flow) : "");
}

/* Calls `use` for each flow; closes the reader. */
static int for_each(struct flowcodec_reader *reader, struct flowcodec_error *error,
                    bool (*use)(void *context, struct flowcodec_flow *flow), void *context)
{
    struct flowcodec_flow *flow = NULL;
    if (reader)
        flowcodec_reader_on_gap(reader, print_gap, NULL);
    while (reader && flowcodec_reader_next(reader, &flow, error) && flow) {
        bool done = use(context, flow);
        flowcodec_flow_free(flow);
        if (!done)
            break;
    }
    flowcodec_reader_close(reader);
    return error->code ? fail(error) : 0;
}

static bool list(void *context, struct flowcodec_flow *flow)
{
    (void)context;
    print_flow(flow);
    return true;
}

struct copying {
    struct flowcodec_writer *writer;
    struct flowcodec_error *error;
};

static bool copy(void *context, struct flowcodec_flow *flow)
{
    const struct copying *copying = context;
    return flowcodec_writer_add(copying->writer, flow, copying->error);
}

static bool is_odd(void *context, struct flowcodec_flow *flow)
{
    (void)context;
    return flowcodec_flow_status(flow) % 2;
}

static int copy_all(const char *expression, const char *in, const char *out)
{
    struct flowcodec_error error = {0};
    struct flowcodec_output output = {.path = out};
    struct flowcodec_filter *filter =
        expression ? flowcodec_filter_parse(expression, &error) : NULL;
    struct copying copying = {NULL, &error};
    if (!error.code)
        copying.writer = flowcodec_writer_open(&output, &error);
    if (!copying.writer) {
        flowcodec_filter_free(filter);
        return fail(&error);
    }
    flowcodec_writer_set_filter(copying.writer, filter, filter ? NULL : is_odd, NULL);
    int result = for_each(flowcodec_reader_open(in, &error), &error, copy, &copying);
    if (result == 0 && !flowcodec_writer_finish(copying.writer, &error))
        result = fail(&error);
    flowcodec_writer_close(copying.writer);
    flowcodec_filter_free(filter);
    return result;
}

static bool export(void *context, struct flowcodec_flow *flow)
{
    char *text;
    size_t size;
    struct flowcodec_error error = {0};
    if (flowcodec_flow_export(flow, context, &text, &size, &error))
        fwrite(text, 1, size, stdout);
    else
        fail(&error);
    free(text);
    putchar('\n');
    return true;
}

static bool print_body(void *context, struct flowcodec_flow *flow)
{
    void *data;
    size_t size;
    struct flowcodec_error *error = context;
    if (!flowcodec_flow_content(flow, FLOWCODEC_RESPONSE, false, 1u << 20, &data, &size, error))
        return false;
    if (size)
        fwrite(data, 1, size, stdout);
    free(data);
    return true;
}

static int read_memory(const char *path)
{
    static char content[1 << 20];
    struct flowcodec_error error = {0};
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(content, 1, sizeof content, file) : 0;
    if (file)
        fclose(file);
    struct flowcodec_reader *reader = flowcodec_reader_open_memory(content, size, &error);
    memset(content, 0, sizeof content); /* the library has its own copy */
    return for_each(reader, &error, list, NULL);
}

static int print_formats(void)
{
    for (const struct flowcodec_format *each = flowcodec_export_formats(); each->name; each++)
        printf("export %s: %s\n", each->name, each->description);
    for (const struct flowcodec_format *each = flowcodec_output_formats(); each->name; each++)
        printf("output %s: %s\n", each->name, each->description);
    return 0;
}

int main(int argc, char **argv)
{
    struct flowcodec_error error = {0};
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "list") == 0)
        return for_each(
            flowcodec_reader_open_paths((const char *const *)(argv + 2), (size_t)argc - 2, &error),
            &error, list, NULL);
    if (strcmp(what, "copy") == 0 && argc == 5)
        return copy_all(argv[2], argv[3], argv[4]);
    if (strcmp(what, "odd") == 0 && argc == 4)
        return copy_all(NULL, argv[2], argv[3]);
    if (strcmp(what, "stdin") == 0)
        return for_each(flowcodec_reader_open_descriptor(0, &error), &error, list, NULL);
    if (strcmp(what, "memory") == 0 && argc == 3)
        return read_memory(argv[2]);
    if (strcmp(what, "export") == 0 && argc == 4)
        return for_each(flowcodec_reader_open(argv[3], &error), &error, export, argv[2]);
    if (strcmp(what, "body") == 0 && argc == 3)
        return for_each(flowcodec_reader_open(argv[2], &error), &error, print_body, &error);
    if (strcmp(what, "formats") == 0)
        return print_formats();
    fprintf(stderr, "usage: see the top of the source\n");
    return 2;
}
