#include "index.h"

#include "hash_table.h"
#include "timestamp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define SEGMENT_FLOWS 4096u
#define SEGMENT_HOSTS 256u
#define FLOW_SEGMENTS (1u << 20)
#define HOST_SEGMENTS (1u << 16)
#define STRINGS 256u

struct index {
    struct index_flow **flow_segments; /* address space for all of them, memory as they come */
    struct index_host **host_segments;
    _Atomic uint32_t flow_count;
    _Atomic uint32_t host_count;
    _Atomic int64_t newest;
    struct hash_table flows_by_name;
    struct hash_table hosts_by_name;
    struct hash_table hosts_by_site; /* hosts under the bytes that their name was made from */
    struct bytes *host_sites;        /* of the writer */
    size_t host_sites_capacity;
    struct buffer site; /* of the flow that is being added */
    struct bytes *strings;
    uint32_t string_count;
    uint64_t seed;       /* of the tables: a capture must not be able to aim at one slot */
    struct arena *arena; /* names, long ids, strings */
    size_t footprint;
};

struct index *index_open(struct flow_error *error)
{
    struct index *index = calloc(1, sizeof *index);
    if (!index) {
        flow_error_memory(error);
        return NULL;
    }
    index->flow_segments = calloc(FLOW_SEGMENTS, sizeof *index->flow_segments);
    index->host_segments = calloc(HOST_SEGMENTS, sizeof *index->host_segments);
    index->strings = calloc(STRINGS, sizeof *index->strings);
    index->arena = arena_new();
    atomic_store(&index->newest, INT64_MIN);
    index->string_count = 1;
    if (getrandom(&index->seed, sizeof index->seed, GRND_NONBLOCK) < 0)
        index->seed = (uintptr_t)index;
    if (index->flow_segments && index->host_segments && index->strings && index->arena)
        return index;
    index_close(index);
    flow_error_memory(error);
    return NULL;
}

void index_close(struct index *index)
{
    if (!index)
        return;
    for (uint32_t i = 0; index->flow_segments && i < FLOW_SEGMENTS && index->flow_segments[i]; i++)
        free(index->flow_segments[i]);
    for (uint32_t i = 0; index->host_segments && i < HOST_SEGMENTS && index->host_segments[i]; i++)
        free(index->host_segments[i]);
    free(index->flow_segments);
    free(index->host_segments);
    free(index->strings);
    free(index->host_sites);
    buffer_free(&index->site);
    hash_table_close(&index->flows_by_name);
    hash_table_close(&index->hosts_by_name);
    hash_table_close(&index->hosts_by_site);
    arena_free(index->arena);
    free(index);
}

uint32_t index_flow_count(const struct index *index)
{
    return atomic_load_explicit(&index->flow_count, memory_order_acquire);
}

uint32_t index_host_count(const struct index *index)
{
    return atomic_load_explicit(&index->host_count, memory_order_acquire);
}

int64_t index_newest(const struct index *index)
{
    return atomic_load_explicit(&index->newest, memory_order_relaxed);
}

static struct index_flow *flow_at(const struct index *index, uint32_t flow)
{
    return &index->flow_segments[flow / SEGMENT_FLOWS][flow % SEGMENT_FLOWS];
}

static struct index_host *host_at(const struct index *index, uint32_t host)
{
    return &index->host_segments[host / SEGMENT_HOSTS][host % SEGMENT_HOSTS];
}

const struct index_flow *index_flow(const struct index *index, uint32_t flow)
{
    return flow_at(index, flow);
}

const struct index_host *index_host(const struct index *index, uint32_t host)
{
    return host_at(index, host);
}

struct bytes index_string(const struct index *index, uint32_t string)
{
    return index->strings[string];
}

size_t index_footprint(const struct index *index)
{
    return sizeof *index + index->footprint + arena_footprint(index->arena) +
           index->flows_by_name.footprint + index->hosts_by_name.footprint +
           index->hosts_by_site.footprint;
}

/* What a lower-case hexadecimal digit stands for, plus 16; 0 for other bytes. */
static const uint8_t hex_digits[256] = {
    ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23,
    ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31,
};

/* Where the two digits of each byte stand. */
static const uint8_t uuid_positions[16] = {0,  2,  4,  6,  9,  11, 14, 16,
                                           19, 21, 24, 26, 28, 30, 32, 34};

static bool is_dash_position(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

/* Only the canonical lower-case form: others would not come back as they were. Each id of a capture
 * comes by here, so there is one look at the end instead of one for each digit. */
static bool parse_uuid(struct bytes text, uint8_t uuid[16])
{
    const uint8_t *digits = text.data;
    unsigned valid = 16;
    if (text.size != 36 || digits[8] != '-' || digits[13] != '-' || digits[18] != '-' ||
        digits[23] != '-')
        return false;
    for (size_t i = 0; i < 16; i++) {
        unsigned high = hex_digits[digits[uuid_positions[i]]];
        unsigned low = hex_digits[digits[uuid_positions[i] + 1]];
        valid &= high & low;
        uuid[i] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    return valid;
}

static void format_uuid(const uint8_t uuid[16], char text[36])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0, half = 0; i < 36; i++) {
        if (is_dash_position(i)) {
            text[i] = '-';
            continue;
        }
        text[i] = digits[half % 2 ? uuid[half / 2] & 15 : uuid[half / 2] >> 4];
        half++;
    }
}

static void flow_name(const struct index_flow *flow, uint32_t copy, struct name *name)
{
    if (flow->id_form == INDEX_ID_TEXT) {
        name_make(name, flow->id.text, copy);
        return;
    }
    char text[36];
    format_uuid(flow->id.uuid, text);
    name_make_plain(name, bytes_make(text, sizeof text), copy);
}

void index_flow_name(const struct index *index, uint32_t flow, struct name *name)
{
    const struct index_flow *record = flow_at(index, flow);
    flow_name(record, record->copy, name);
}

static uint64_t hash_uuid(const struct index *index, uint32_t host, const uint8_t uuid[16])
{
    uint64_t halves[2];
    memcpy(halves, uuid, sizeof halves);
    uint64_t hash = (halves[0] ^ (index->seed + host)) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 32 ^ halves[1]) * 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 29;
}

/* Of a flow's name in its host. Nearly all names are UUIDs, whose 16 bytes need no walk. */
static uint64_t hash_flow_name(const struct index *index, uint32_t host, struct bytes name)
{
    uint8_t uuid[16];
    return parse_uuid(name, uuid) ? hash_uuid(index, host, uuid)
                                  : bytes_hash(name, index->seed + host);
}

struct flow_key {
    const struct index *index;
    uint32_t host;
    struct bytes name;
};

static bool flow_equal(const void *context, uint32_t number)
{
    const struct flow_key *key = context;
    struct name name;
    if (flow_at(key->index, number)->host != key->host)
        return false;
    index_flow_name(key->index, number, &name);
    return bytes_equal(name_bytes(&name), key->name);
}

static uint32_t find_flow(const struct index *index, uint32_t host, struct bytes name,
                          uint64_t hash)
{
    struct flow_key key = {index, host, name};
    return hash_table_find(&index->flows_by_name, hash, flow_equal, &key);
}

uint32_t index_find_flow(const struct index *index, uint32_t host, struct bytes name)
{
    return find_flow(index, host, name, hash_flow_name(index, host, name));
}

struct host_key {
    const struct index *index;
    struct bytes text;
};

static bool host_name_equal(const void *context, uint32_t number)
{
    const struct host_key *key = context;
    return bytes_equal(host_at(key->index, number)->name, key->text);
}

static bool host_site_equal(const void *context, uint32_t number)
{
    const struct host_key *key = context;
    return bytes_equal(key->index->host_sites[number], key->text);
}

uint32_t index_find_host(const struct index *index, struct bytes name)
{
    struct host_key key = {index, name};
    return hash_table_find(&index->hosts_by_name, bytes_hash(name, index->seed), host_name_equal,
                           &key);
}

uint32_t index_find_offset(const struct index *index, uint32_t capture, uint64_t offset)
{
    /* From the end: what is looked for was mostly added a moment ago. */
    for (uint32_t i = index_flow_count(index); i-- > 0;) {
        const struct index_flow *flow = flow_at(index, i);
        if (flow->capture == capture && flow->offset <= offset)
            return flow->offset == offset ? i : INDEX_NONE;
    }
    return INDEX_NONE;
}

/* A segment is allocated when it is entered, and its place in the table written only then: readers
 * look into the table at any time, but not behind the count. */
static void *new_segment(struct index *index, size_t size)
{
    void *segment = calloc(1, size);
    if (segment)
        index->footprint += size;
    return segment;
}

static bool grow_host_sites(struct index *index, uint32_t count)
{
    if (count < index->host_sites_capacity)
        return true;
    size_t capacity = index->host_sites_capacity ? index->host_sites_capacity * 2 : 64;
    struct bytes *sites = realloc(index->host_sites, capacity * sizeof *sites);
    if (!sites)
        return false;
    index->footprint += (capacity - index->host_sites_capacity) * sizeof *sites;
    index->host_sites = sites;
    index->host_sites_capacity = capacity;
    return true;
}

static bool add_host(struct index *index, struct bytes site, uint32_t *number,
                     struct flow_error *error)
{
    struct name name;
    uint32_t count = atomic_load(&index->host_count);
    uint32_t copy = 1;
    if (count == HOST_SEGMENTS * SEGMENT_HOSTS) {
        flow_error_set(error, EOVERFLOW, FLOW_ERROR_NO_OFFSET, "more than %u hosts", count);
        return false;
    }
    name_make(&name, site, copy);
    while (index_find_host(index, name_bytes(&name)) != INDEX_NONE)
        name_make(&name, site, ++copy);
    struct index_host **segment = &index->host_segments[count / SEGMENT_HOSTS];
    if (!*segment && !(*segment = new_segment(index, SEGMENT_HOSTS * sizeof **segment)))
        return flow_error_memory(error);
    struct bytes kept = arena_copy(index->arena, name_bytes(&name));
    struct bytes kept_site = bytes_equal(site, kept) ? kept : arena_copy(index->arena, site);
    if (!kept.data || !kept_site.data || !grow_host_sites(index, count) ||
        !hash_table_reserve(&index->hosts_by_name) || !hash_table_reserve(&index->hosts_by_site))
        return flow_error_memory(error);
    struct index_host *host = host_at(index, count);
    host->name = kept;
    atomic_store(&host->first, INDEX_NONE);
    atomic_store(&host->last, INDEX_NONE);
    atomic_store(&host->newest, INT64_MIN);
    index->host_sites[count] = kept_site;
    hash_table_add(&index->hosts_by_site, bytes_hash(site, index->seed), count);
    hash_table_add(&index->hosts_by_name, bytes_hash(kept, index->seed), count);
    *number = count;
    atomic_store_explicit(&index->host_count, count + 1, memory_order_release);
    return true;
}

static bool find_or_add_host(struct index *index, struct bytes site, uint32_t *number,
                             struct flow_error *error)
{
    struct host_key key = {index, site};
    *number = hash_table_find(&index->hosts_by_site, bytes_hash(key.text, index->seed),
                              host_site_equal, &key);
    return *number != HASH_TABLE_NONE || add_host(index, key.text, number, error);
}

/* Few distinct strings are expected, and they are short. String 0, which is empty, stands for all
 * others: who wants those reads the flow. */
static bool find_or_add_string(struct index *index, struct bytes text, uint32_t *number,
                               struct flow_error *error)
{
    uint32_t i = 0;
    while (i < index->string_count && !bytes_equal(index->strings[i], text))
        i++;
    *number = i;
    if (i < index->string_count)
        return true;
    if (i == STRINGS || text.size > 64) {
        *number = 0;
        return true;
    }
    index->strings[i] = arena_copy(index->arena, text);
    if (!index->strings[i].data)
        return flow_error_memory(error);
    index->string_count++;
    return true;
}

static bool fill_flow(struct index *index, struct index_flow *flow, const struct index_facts *facts,
                      const struct index_place *place, struct flow_error *error)
{
    *flow = (struct index_flow){
        .offset = place->offset,
        .size = place->size,
        .start = timestamp_microseconds(facts->timestamp_start) * 1000,
        .capture = place->capture,
        .number = place->number,
        .handshake = place->handshake,
        .copy = 1,
        .status = facts->status_code > 0 && facts->status_code <= UINT16_MAX
                      ? (uint16_t)facts->status_code
                      : 0,
        .type = (uint8_t)facts->type,
        .version = place->version > 0 && place->version <= UINT8_MAX ? (uint8_t)place->version : 0,
        .files = facts->files,
        .is_websocket = facts->is_websocket,
    };
    atomic_store(&flow->next_in_host, INDEX_NONE);
    atomic_store(&flow->copies, 1);
    flow->id_form = INDEX_ID_UUID;
    if (!parse_uuid(facts->id, flow->id.uuid)) {
        flow->id_form = INDEX_ID_TEXT;
        flow->id.text = arena_copy(index->arena, facts->id);
        if (!flow->id.text.data)
            return flow_error_memory(error);
    }
    return find_or_add_string(index, facts->method, &flow->method, error) &&
           find_or_add_host(index, facts->site, &flow->host, error);
}

/* Names the flow in its host, counting up if there is one of that name. Returns the hash. */
static uint64_t name_flow(struct index *index, struct index_flow *flow)
{
    struct name name;
    flow_name(flow, 1, &name);
    uint64_t hash = flow->id_form == INDEX_ID_UUID
                        ? hash_uuid(index, flow->host, flow->id.uuid)
                        : hash_flow_name(index, flow->host, name_bytes(&name));
    uint32_t first = find_flow(index, flow->host, name_bytes(&name), hash);
    if (first == INDEX_NONE)
        return hash;
    flow->copy = atomic_load(&flow_at(index, first)->copies) + 1;
    atomic_store(&flow_at(index, first)->copies, flow->copy);
    flow_name(flow, flow->copy, &name);
    return hash_flow_name(index, flow->host, name_bytes(&name));
}

static void raise_to(_Atomic int64_t *newest, int64_t start)
{
    if (atomic_load_explicit(newest, memory_order_relaxed) < start)
        atomic_store_explicit(newest, start, memory_order_relaxed);
}

bool index_add_facts(struct index *index, const struct index_facts *facts,
                     const struct index_place *place, struct flow_error *error)
{
    uint32_t number = atomic_load(&index->flow_count);
    if (number == INDEX_MOST_FLOWS) {
        flow_error_set(error, EOVERFLOW, FLOW_ERROR_NO_OFFSET, "more than %u flows", number);
        return false;
    }
    struct index_flow **segment = &index->flow_segments[number / SEGMENT_FLOWS];
    if (!*segment && !(*segment = new_segment(index, SEGMENT_FLOWS * sizeof **segment)))
        return flow_error_memory(error);
    struct index_flow *flow = flow_at(index, number);
    if (!fill_flow(index, flow, facts, place, error))
        return false;
    if (!hash_table_reserve(&index->flows_by_name))
        return flow_error_memory(error);
    uint64_t hash = name_flow(index, flow);

    /* From here on nothing fails: the flow is published last to first. */
    struct index_host *host = host_at(index, flow->host);
    raise_to(&host->newest, flow->start);
    raise_to(&index->newest, flow->start);
    atomic_store_explicit(&index->flow_count, number + 1, memory_order_release);
    hash_table_add(&index->flows_by_name, hash, number);
    uint32_t last = atomic_load(&host->last);
    atomic_store_explicit(last == INDEX_NONE ? &host->first : &flow_at(index, last)->next_in_host,
                          number, memory_order_release);
    atomic_store(&host->last, number);
    atomic_fetch_add_explicit(&host->count, 1, memory_order_release);
    return true;
}

struct index_facts index_facts_of_glance(const struct flow_glance *glance, struct buffer *site)
{
    size_t before = site->size;
    flow_glance_site(glance, site);
    return (struct index_facts){
        .id = glance->id,
        .method = glance->target.method,
        .site = site->size > before ? bytes_make(site->data + before, site->size - before)
                                    : bytes_make("", 0),
        .timestamp_start = glance->timestamp_start,
        .status_code = glance->status_code,
        .type = glance->type,
        .files = glance->files,
        .is_websocket = glance->is_websocket,
    };
}

bool index_add(struct index *index, const struct flow_glance *glance,
               const struct index_place *place, struct flow_error *error)
{
    index->site.size = 0;
    struct index_facts facts = index_facts_of_glance(glance, &index->site);
    if (index->site.failed)
        return flow_error_memory(error);
    return index_add_facts(index, &facts, place, error);
}
