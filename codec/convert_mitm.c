#include "convert_mitm.h"

#include "downgrade.h"
#include "migrate.h"

#include <errno.h>
#include <inttypes.h>

/* A flow that must be written anew is held in memory whole. */
#define LONGEST_RECORD ((uint64_t)2 << 30)

bool convert_version_is_known(int64_t version, struct flow_error *error)
{
    if (version >= DOWNGRADE_VERSION_OLDEST && version <= MIGRATE_VERSION_NEWEST)
        return true;
    flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                   "flow files can be written in format version %d to %d, not %" PRId64,
                   DOWNGRADE_VERSION_OLDEST, MIGRATE_VERSION_NEWEST, version);
    return false;
}

static uint64_t integer_of(struct bytes digits)
{
    uint64_t number = 0;
    if (digits.size > 9)
        return 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(digits.data[i] - '0');
    }
    return number;
}

/* The `version` of a record, 0 if it is no plain integer. Only the outer level is looked at. */
static bool find_version(struct record *record, uint64_t *version, struct flow_error *error)
{
    struct tnet_need need_storage;
    const struct tnet_need *need = record_tnet_need(record, &need_storage);
    struct tnet_element outer, key, member;
    *version = 0;
    if (!tnet_element(record->text, 0, record->text.size, record->offset, need, &outer, error))
        return false;
    size_t end = outer.content + (size_t)outer.size;
    for (size_t at = outer.content; at < end;) {
        if (!tnet_element(record->text, at, end, record->offset, need, &key, error))
            return false;
        struct bytes name = bytes_make(record->text.data + at + key.content, (size_t)key.size);
        bool wanted = key.size == sizeof "version" - 1 &&
                      (!need || need->need(need->context, at, key.content + name.size, error)) &&
                      bytes_equal_text(name, "version");
        at += key.content + (size_t)key.size + 1;
        if (!tnet_element(record->text, at, end, record->offset, need, &member, error))
            return false;
        size_t size = (size_t)member.size;
        if (wanted && member.type == '#') {
            if (need && !need->need(need->context, at, member.content + size, error))
                return false;
            *version = integer_of(bytes_make(record->text.data + at + member.content, size));
        }
        at += member.content + size + 1;
    }
    return true;
}

bool convert_copy_record(const struct convert_flow *flow, int64_t version, struct sink *sink,
                         bool *copied, struct flow_error *error)
{
    struct source *source = capture_source(flow->capture);
    struct record record;
    uint64_t stored;
    *copied = false;
    if (capture_format(flow->capture) != CAPTURE_FLOW_FILE || flow->handshake.size)
        return true;
    if (!record_open(&record, source, flow->extent.offset, (size_t)flow->extent.size, error))
        return false;
    bool done = find_version(&record, &stored, error);
    *copied = done && stored == (uint64_t)version;
    if (*copied)
        done = record.filled
                   ? sink_copy(sink, source, flow->extent.offset, flow->extent.size, error)
                   : sink_write(sink, record.text, error);
    record_close(&record);
    return done;
}

/* Reads the strings that were left in the capture. */
static bool load_strings(struct flowdir *directory, struct value *value, struct flow_error *error)
{
    if (value->bytes.size && !value->bytes.data) {
        size_t got;
        uint8_t *data = arena_alloc(directory->loaded.arena, value->bytes.size);
        if (!data)
            return flow_error_memory(error);
        if (!source_read(directory->source, value->offset, data, value->bytes.size, &got, error))
            return false;
        if (got < value->bytes.size) {
            flow_error_set(error, EIO, value->offset + got,
                           "%s ends inside a flow: it was cut short",
                           source_path(directory->source));
            return false;
        }
        value->bytes.data = data;
    }
    for (struct value *child = value->first; child; child = child->next)
        if (!load_strings(directory, child, error))
            return false;
    return true;
}

struct loss {
    const struct convert_options *options;
    struct bytes flow;
};

static void report_loss(void *context, const char *what)
{
    const struct loss *loss = context;
    if (loss->options->report)
        loss->options->report(loss->options->report_context, loss->flow, what);
}

bool convert_append_record(struct flowdir *directory, const struct convert_options *options,
                           struct buffer *out, struct flow_error *error)
{
    struct capture_flow *loaded = &directory->loaded;
    struct value *state = loaded->flow.state;
    uint64_t size = loaded->record.text.size + loaded->handshake.text.size;
    if (size > LONGEST_RECORD) {
        flow_error_set(error, EFBIG, loaded->record.offset,
                       "a flow of %" PRIu64 " bytes; at most %" PRIu64
                       " can be written in another version",
                       size, LONGEST_RECORD);
        return false;
    }
    if ((loaded->record.filled || loaded->handshake.filled) &&
        !load_strings(directory, state, error))
        return false;
    struct loss loss = {options, loaded->flow.id};
    return downgrade(state, options->version, loaded->arena, report_loss, &loss, error) &&
           tnet_write(state, out, error);
}
