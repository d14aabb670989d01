/* `.flowfs` of a set and of a staged flow: the flows in another form. */
#include "sets_inside.h"

#include "migrate.h"
#include "selection.h"
#include "set_record.h"
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static bool add_flows(const struct selection *selection, struct convert *convert,
                      struct flow_error *error)
{
    bool done = true;
    for (size_t i = 0; done && i < selection_count(selection); i++) {
        struct convert_flow flow = selection_convert_flow(selection, i);
        done = convert_add(convert, &flow, NULL, error);
    }
    return done;
}

static bool write_flows(const struct sets *sets, const struct selection *selection,
                        enum control_file file, int descriptor, struct flow_error *error)
{
    bool gzip;
    struct convert_options options = {
        .format = control_file_format(file, &gzip),
        .version = sets->home.version,
    };
    struct sink *sink = sink_open_descriptor(descriptor, gzip, error);
    struct convert *convert = sink ? convert_open(&options, sink, error) : NULL;
    bool done = convert && add_flows(selection, convert, error);
    if (done && file > CONTROL_STATS_TXT && convert_left_out(convert)) {
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "the flow has no %s",
                       control_file_name(file));
        done = false;
    }
    done = done && convert_end(convert, error) && sink_finish(sink, error);
    convert_close(convert);
    sink_close(sink);
    return done;
}

/* Converts the flow file that is open. */
static bool convert_file(const struct sets *sets, int flows, const char *name,
                         enum control_file file, int descriptor, struct flow_error *error)
{
    struct selection_options options = {.decode_limit = FLOWDIR_DECODE_LIMIT};
    struct selection *selection = selection_open(&options, error);
    bool done = selection && selection_add_descriptor(selection, flows, name, error) &&
                write_flows(sets, selection, file, descriptor, error);
    selection_close(selection);
    return done;
}

bool sets_convert(struct sets *sets, const char *set, enum control_file file, int descriptor,
                  struct flow_error *error)
{
    char name[NAME_MAX + 1];
    int pack = sets_open_pack(sets, set, NULL, error);
    if (pack < 0)
        return false;
    set_derived_name(name, set, SET_PACK_SUFFIX);
    bool done = convert_file(sets, pack, name, file, descriptor, error);
    close(pack);
    return done;
}

/* The name that flowcat gives to what it has packed. */
#define PACKED_NAME "packed.mitm"

static bool spool_record(int directory, int spool, struct flow_error *error)
{
    double start;
    struct buffer record = BUFFER_INIT;
    struct sink *sink = NULL;
    bool done =
        set_record_make(directory, MIGRATE_VERSION_NEWEST, &record, &start, NULL, NULL, error);
    if (done)
        sink = sink_open_descriptor(spool, false, error);
    done = sink && sink_write(sink, buffer_bytes(&record), error) && sink_finish(sink, error);
    sink_close(sink);
    buffer_free(&record);
    return done;
}

bool sets_convert_flow(struct sets *sets, int directory, enum control_file file, int descriptor,
                       struct flow_error *error)
{
    int spool = spool_open("a packed flow", error);
    if (spool < 0)
        return false;
    bool done = spool_record(directory, spool, error) &&
                convert_file(sets, spool, PACKED_NAME, file, descriptor, error);
    close(spool);
    return done;
}
