/* Migrations: each step and the whole way, with what mitmproxy's own io/compat.py answers; flows
 * that lack what their version has; memory that runs out. */
#include "support.h"

#include "migrate_table.h"
#include "tnet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The allocation that fails next: 1 is the next one, 0 none. */
static long countdown;
/* Whether all that follow it fail too. */
static bool fail_from_there;
static long live_blocks;

static bool fails_now(void)
{
    if (countdown > 1)
        countdown--;
    else if (countdown == 1) {
        countdown = fail_from_there ? 1 : 0;
        return true;
    }
    return false;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__real_arena_alloc(struct arena *arena, size_t size);
struct bytes __real_arena_copy(struct arena *arena, struct bytes text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);
void *__wrap_arena_alloc(struct arena *arena, size_t size);
struct bytes __wrap_arena_copy(struct arena *arena, struct bytes text);

static void *counted(void *memory)
{
    live_blocks += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails_now())
        return NULL;
    return memory ? __real_realloc(memory, size) : counted(__real_realloc(NULL, size));
}

void __wrap_free(void *memory)
{
    live_blocks -= memory != NULL;
    __real_free(memory);
}

/* An arena asks the system once for many pieces, so its pieces are let fail one by one as well. */
void *__wrap_arena_alloc(struct arena *arena, size_t size)
{
    return fails_now() ? NULL : __real_arena_alloc(arena, size);
}

struct bytes __wrap_arena_copy(struct arena *arena, struct bytes text)
{
    return fails_now() ? bytes_make(NULL, text.size) : __real_arena_copy(arena, text);
}

static struct arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = arena_new();
    return arena ? 0 : -1;
}

static int drop_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* Starts over: for tests that migrate many flows. */
static void renew_arena(void)
{
    arena_free(arena);
    arena = arena_new();
    assert_non_null(arena);
}

static struct value *parse(struct bytes text)
{
    struct flow_error error = {0};
    struct value *value = tnet_read(text, 0, NULL, arena, &error);
    if (!value)
        fail_msg("%.60s: %s", (const char *)text.data, error.message);
    return value;
}

static struct value *parse_text(const char *text)
{
    return parse(bytes_of(text));
}

static void assert_written(struct value *value, struct bytes expected, const char *about)
{
    struct flow_error error = {0};
    struct buffer written = BUFFER_INIT;
    assert_true(tnet_write(value, &written, &error));
    if (written.size != expected.size || memcmp(written.data, expected.data, written.size) != 0)
        fail_msg("%s:\n%.*s\ninstead of\n%.*s", about, (int)written.size,
                 (const char *)written.data, (int)expected.size, (const char *)expected.data);
    buffer_free(&written);
}

static void make_keys_text(struct value *value)
{
    for (struct value *member = value->kind == VALUE_DICT ? value->first : NULL; member;
         member = member->next) {
        member->key->kind = VALUE_TEXT;
        make_keys_text(member);
    }
}

/* An id that a migration made up, checked for the form that RFC 9562 gives it; the table has "?"
 * there, since mitmproxy's are random (and what comes later than version 4 begins with it). */
static void hide_id(struct value *connection)
{
    static const char form[] = "xxxxxxxx-xxxx-8xxx-vxxx-xxxxxxxxxxxx";
    struct value *id = value_get(connection, "id");
    assert_true(value_is(id, VALUE_TEXT));
    if (bytes_equal_text(id->bytes, "?"))
        return;
    assert_int_equal(id->bytes.size, sizeof form - 1);
    for (size_t i = 0; i < id->bytes.size; i++) {
        char set[2] = {form[i], '\0'};
        const char *allowed = form[i] == 'x' ? "0123456789abcdef" : form[i] == 'v' ? "89ab" : set;
        assert_non_null(strchr(allowed, id->bytes.data[i]));
    }
    id->bytes = SPAN("?");
}

static void hide_ids(struct value *flow)
{
    struct value *server = value_get(flow, "server_conn");
    hide_id(value_get(flow, "client_conn"));
    hide_id(server);
    if (value_is(value_get(server, "via"), VALUE_DICT))
        hide_id(value_get(server, "via"));
}

static migrate_step *step_of(int64_t version)
{
    const struct migrate_entry *entry =
        version >= MIGRATE_PAIR(0, 0) ? migrate_old_table : migrate_int_table;
    while (entry->step && entry->from != version)
        entry++;
    return entry->step;
}

static void test_each_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof step_table / sizeof *step_table; i++) {
        char about[120];
        struct flow_error error = {0};
        struct migration migration = {parse(step_table[i].before), NULL, arena, &error};
        int64_t from = step_table[i].from;
        snprintf(about, sizeof about, "from %" PRId64 ", %s", from, step_table[i].about);
        migrate_step *step = step_of(from);
        assert_non_null(step);
        if (!step(&migration))
            fail_msg("%s: %s", about, error.message);
        if (from >= MIGRATE_PAIR(0, 0) && from < MIGRATE_PAIR(0, 17))
            make_keys_text(migration.flow);
        if (from == 4)
            hide_ids(migration.flow);
        assert_written(migration.flow, step_table[i].after, about);
    }
}

/* Every step of the tables has a row, so that a new one is not forgotten. */
static void test_no_step_is_left_out(void **state)
{
    (void)state;
    const struct migrate_entry *const tables[] = {migrate_old_table, migrate_int_table};
    size_t steps = 0;
    for (size_t t = 0; t < 2; t++)
        for (const struct migrate_entry *entry = tables[t]; entry->step; entry++, steps++) {
            size_t rows = 0;
            for (size_t i = 0; i < sizeof step_table / sizeof *step_table; i++)
                rows += step_table[i].from == entry->from;
            assert_true(rows > 0);
        }
    assert_int_equal(steps, 29);
}

static struct value *parse_handshake(struct bytes text)
{
    return text.size ? parse(text) : NULL;
}

static void test_whole_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof whole_table / sizeof *whole_table; i++) {
        struct flow_error error = {0};
        struct value *handshake = parse_handshake(whole_table[i].handshake);
        struct value *flow = migrate(parse(whole_table[i].before), handshake, arena, &error);
        if (!flow)
            fail_msg("%s: %s: %s", whole_table[i].about, error.key_path, error.message);
        hide_ids(flow);
        assert_written(flow, whole_table[i].after, whole_table[i].about);
    }
}

static void test_handshakes_are_known(void **state)
{
    (void)state;
    struct value *asks =
        parse_text("58:8:metadata;29:19:websocket_handshake;3:abc;}7:version;1:7#}");
    assert_bytes(value_string(migrate_handshake_id(asks)), "abc");
    assert_false(migrate_is_handshake(asks));
    value_set(arena, asks, "version", value_int(arena, 11));
    assert_non_null(migrate_handshake_id(asks));
    value_set(arena, asks, "version", value_int(arena, 12));
    assert_null(migrate_handshake_id(asks));
    struct value *offers = parse_text("49:8:metadata;19:9:websocket;4:true!}7:version;2:11#}");
    assert_true(migrate_is_handshake(offers));
    assert_null(migrate_handshake_id(offers));
    value_set(arena, offers, "version", value_int(arena, 21));
    assert_false(migrate_is_handshake(offers));
    assert_null(migrate_handshake_id(NULL));
    assert_false(migrate_is_handshake(value_null(arena)));
}

/* A flow with this version, of which only the version matters. */
static struct value *flow_of_version(const char *version)
{
    struct value *flow = value_dict(arena);
    if (*version)
        value_set(arena, flow, "version", parse_text(version));
    return flow;
}

static void test_versions_that_cannot_be_read(void **state)
{
    (void)state;
    static const struct {
        const char *version, *message;
    } rows[] = {
        {"", "no flow format version, expected (0, 11) to (3, 0), or 4 and newer"},
        {"0:~", "no flow format version"},
        {"2:21;", "no flow format version"},
        {"4:21.0^", "no flow format version"},
        {"4:true!", "no flow format version"},
        {"0:]", "no flow format version"},
        {"4:1:0#]", "no flow format version"},
        {"8:1:a;1:b;]", "no flow format version"},
        {"9:2:-1#1:0#]", "no flow format version"},
        {"10:1:0#3:999#]", "no flow format version"},
        {"2:-1#", "no flow format version"},
        {"30:-99999999999999999999999999999#", "no flow format version"},
        {"1:0#", "flow format version 0 cannot be read"},
        {"1:3#", "flow format version 3 cannot be read"},
        {"9:1:0#2:10#]", "flow format version (0, 10) cannot be read"},
        {"9:1:0#2:20#]", "flow format version (0, 20) cannot be read"},
        {"8:1:3#1:1#]", "flow format version (3, 1) cannot be read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct flow_error error = {0};
        struct value *flow = flow_of_version(rows[i].version);
        assert_null(migrate(flow, NULL, arena, &error));
        if (error.code != ENOTSUP ||
            strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("%s: %d %s", rows[i].version, error.code, error.message);
    }
    static const char *const no_flows[] = {"0:~", "0:]", "2:21#", "3:abc,"};
    for (size_t i = 0; i < sizeof no_flows / sizeof *no_flows; i++) {
        struct flow_error error = {0};
        assert_null(migrate(parse_text(no_flows[i]), NULL, arena, &error));
        assert_int_equal(error.code, EBADMSG);
        assert_string_equal(error.message, "not a flow: expected a dict");
    }
}

/* Version 21 and all above are left as they are, even where a step would have something to do. */
static void test_newest_and_newer(void **state)
{
    (void)state;
    static const char *const versions[] = {
        "2:21#", "2:22#", "2:99#", "3:999#", "4:1000#", "4:1311#", "25:1234567890123456789012345#"};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct flow_error error = {0};
        struct buffer text = BUFFER_INIT;
        struct buffer dict = BUFFER_INIT;
        buffer_append_text(&dict, "7:request;18:4:host,8:xn--abcd,}7:version;");
        buffer_append_text(&dict, versions[i]);
        put_container(&text, '}', &dict);
        struct value *flow = parse(buffer_bytes(&text));
        assert_ptr_equal(migrate(flow, NULL, arena, &error), flow);
        assert_int_equal(error.code, 0);
        assert_written(flow, buffer_bytes(&text), versions[i]);
        buffer_free(&text);
    }
}

/* Bytes that are no UTF-8 must not become text: such a file could not be read again. */
static void test_text_is_utf8(void **state)
{
    (void)state;
    struct flow_error error = {0};
    struct value *flow = parse(whole_table[0].before);
    value_get(value_get(flow, "request"), "host")->bytes = SPAN("h\xff.example");
    value_get(flow, "id")->bytes = SPAN("\xc3(");
    value_append_member(flow, value_bytes(arena, SPAN("\xfe")), value_null(arena));
    flow = migrate(flow, NULL, arena, &error);
    assert_non_null(flow);
    const struct value *host = value_get(value_get(flow, "request"), "host");
    assert_true(value_is(host, VALUE_TEXT));
    assert_bytes(host->bytes, "h\\xff.example");
    assert_bytes(value_get(flow, "id")->bytes, "\\xc3(");
    assert_int_equal(value_get(flow, "\xfe")->key->kind, VALUE_BYTES);
}

/* What mitmproxy fails on, although its older versions wrote it. */
static void test_flow_without_response(void **state)
{
    (void)state;
    struct flow_error error = {0};
    struct value *flow = parse(whole_table[0].before);
    value_set(arena, flow, "response", value_null(arena));
    flow = migrate(flow, NULL, arena, &error);
    assert_non_null(flow);
    assert_true(value_is(value_get(flow, "response"), VALUE_NULL));
    assert_bytes(value_get(value_get(flow, "request"), "http_version")->bytes, "HTTP/1.1");
    assert_bytes(value_get(flow, "marked")->bytes, "");
}

/* Migrates the whole flow `row` and returns the id of its client's connection. */
static struct bytes client_id(const char *start)
{
    struct flow_error error = {0};
    struct value *flow = parse(whole_table[0].before);
    value_set(arena, value_get(flow, "client_conn"), "timestamp_start", parse_text(start));
    flow = migrate(flow, NULL, arena, &error);
    assert_non_null(flow);
    return value_string(value_get(value_get(flow, "client_conn"), "id"));
}

static void test_ids_tell_connections_apart(void **state)
{
    (void)state;
    struct bytes id = client_id("3:0.5^");
    assert_true(bytes_equal(id, client_id("3:0.5^")));
    assert_false(bytes_equal(id, client_id("3:0.6^")));
    assert_false(bytes_equal(id, client_id("0:~")));
}

/* Strings that were left in the capture have a size and no bytes. */
static void leave_out(struct value *value)
{
    for (struct value *child = value->first; child; child = child->next)
        leave_out(child);
    if (value_is_string(value) && value->bytes.size)
        value->bytes.data = NULL;
}

static void test_strings_left_in_the_capture(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof whole_table / sizeof *whole_table; row++) {
        struct flow_error error = {0};
        struct value *flow = parse(whole_table[row].before);
        struct value *handshake = parse_handshake(whole_table[row].handshake);
        struct value *version = value_get(flow, "version");
        struct value *start = value_get(value_get(flow, "client_conn"), "timestamp_start");
        struct value *parts = value_get(value_get(flow, "request"), "httpversion");
        start->kind = VALUE_BYTES;
        if (parts)
            parts->first->kind = VALUE_TEXT;
        for (struct value *member = flow->first; member; member = member->next)
            if (member != version)
                leave_out(member);
        flow = migrate(flow, handshake, arena, &error);
        if (!flow && error.code != EBADMSG)
            fail_msg("%s: %s", whole_table[row].about, error.message);
    }
}

enum damage { REMOVED, DAMAGE_NULL, DAMAGE_LIST, DAMAGE_INT, DAMAGE_TEXT, DAMAGE_DICT, DAMAGES };

static struct value *damaged(enum damage damage)
{
    static const char *const literals[] = {
        [REMOVED] = "",        [DAMAGE_NULL] = "0:~",  [DAMAGE_LIST] = "3:0:~]",
        [DAMAGE_INT] = "1:7#", [DAMAGE_TEXT] = "1:x;", [DAMAGE_DICT] = "0:}",
    };
    return damage == REMOVED ? NULL : parse_text(literals[damage]);
}

/* Damages the member number `*left`, counted through all dicts; false if there are fewer. */
static bool damage_member(struct value *value, size_t *left, enum damage damage)
{
    for (struct value *member = value->first; member; member = member->next) {
        if (value->kind == VALUE_DICT && (*left)-- == 0) {
            char key[64];
            snprintf(key, sizeof key, "%.*s", (int)member->key->bytes.size,
                     (const char *)member->key->bytes.data);
            if (damage == REMOVED)
                assert_non_null(value_pop(value, key));
            else
                assert_true(value_set(arena, value, key, damaged(damage)));
            return true;
        }
        if (damage_member(member, left, damage))
            return true;
    }
    return false;
}

static struct value *at_version(struct bytes text, int64_t version)
{
    struct flow_error error = {0};
    struct migration migration = {parse(text), NULL, arena, &error};
    for (;;) {
        int64_t found = 0;
        const struct value *now = value_get(migration.flow, "version");
        if (value_is(now, VALUE_LIST)) {
            int64_t major, minor;
            assert_true(value_to_int64(now->first, &major));
            assert_true(value_to_int64(now->first->next, &minor));
            found = MIGRATE_PAIR(major, minor);
        } else {
            assert_true(value_to_int64(now, &found));
        }
        if (found == version)
            return migration.flow;
        migrate_step *step = step_of(found);
        if (!step)
            return NULL;
        assert_true(step(&migration));
    }
}

/* Migrates, and takes an error for an answer, but no nonsense. */
static void assert_answer(struct value *flow, struct value *handshake, const char *about)
{
    struct flow_error error = {0};
    struct buffer written = BUFFER_INIT;
    int64_t version = 0;
    struct value *migrated = migrate(flow, handshake, arena, &error);
    if (!migrated) {
        if ((error.code != EBADMSG && error.code != ENOTSUP) || !error.message[0])
            fail_msg("%s: %d %s", about, error.code, error.message);
        return;
    }
    assert_int_equal(error.code, 0);
    assert_true(value_to_int64(value_get(migrated, "version"), &version));
    assert_int_equal(version, 21);
    assert_true(tnet_write(migrated, &written, &error));
    buffer_free(&written);
}

/* Every member of a flow of `version`, missing or of another kind. */
static size_t damage_all(size_t row, int64_t version)
{
    size_t members = 0;
    for (bool more = true; more; members++) {
        for (unsigned damage = REMOVED; damage < DAMAGES; damage++) {
            char about[100];
            size_t left = members;
            renew_arena();
            struct value *flow = at_version(whole_table[row].before, version);
            if (!flow)
                return 0;
            more = damage_member(flow, &left, (enum damage)damage);
            snprintf(about, sizeof about, "%s at %" PRId64 ", member %zu, damage %u",
                     whole_table[row].about, version, members, damage);
            assert_answer(flow, parse_handshake(whole_table[row].handshake), about);
        }
    }
    return members;
}

static void test_damaged_members(void **state)
{
    (void)state;
    const struct migrate_entry *const tables[] = {migrate_old_table, migrate_int_table};
    for (size_t row = 0; row < sizeof whole_table / sizeof *whole_table; row++) {
        size_t members = 0;
        for (size_t t = 0; t < 2; t++)
            for (const struct migrate_entry *entry = tables[t]; entry->step; entry++)
                members += damage_all(row, entry->from);
        assert_true(members > 200);
    }
}

static void test_damaged_handshake(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof whole_table / sizeof *whole_table; row++) {
        bool more = whole_table[row].handshake.size > 0;
        for (size_t member = 0; more; member++)
            for (unsigned damage = REMOVED; damage < DAMAGES; damage++) {
                size_t left = member;
                renew_arena();
                struct value *handshake = parse(whole_table[row].handshake);
                more = damage_member(handshake, &left, (enum damage)damage);
                assert_answer(parse(whole_table[row].before), handshake, whole_table[row].about);
            }
    }
}

/* When the Nth allocation fails the answer is ENOMEM, or, if what it was for was not needed, the
 * same as ever. True if there were fewer than N. */
static bool fail_at(size_t row, long number, bool from_there)
{
    struct flow_error error = {0};
    renew_arena();
    struct value *flow = parse(whole_table[row].before);
    struct value *handshake = parse_handshake(whole_table[row].handshake);
    fail_from_there = from_there;
    countdown = number;
    flow = migrate(flow, handshake, arena, &error);
    bool done = flow && countdown > 0;
    countdown = 0;
    if (flow) {
        hide_ids(flow);
        assert_written(flow, whole_table[row].after, whole_table[row].about);
    } else if (error.code != ENOMEM) {
        fail_msg("%s: allocation %ld failed, and the error is %d (%s)", whole_table[row].about,
                 number, error.code, error.message);
    }
    return done;
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof whole_table / sizeof *whole_table; row++)
        for (int from_there = 0; from_there < 2; from_there++) {
            long number = 1;
            while (!fail_at(row, number, from_there))
                number++;
            assert_true(number > 50);
        }
}

/* Nothing but the arena holds memory after a migration, whether it worked or not. */
static void test_nothing_leaks(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof whole_table / sizeof *whole_table; row++)
        for (long number = 0; number < 400; number++) {
            struct flow_error error = {0};
            arena_free(arena);
            long before = live_blocks;
            arena = arena_new();
            struct value *flow = parse(whole_table[row].before);
            struct value *handshake = parse_handshake(whole_table[row].handshake);
            fail_from_there = false;
            countdown = number;
            migrate(flow, handshake, arena, &error);
            countdown = 0;
            arena_free(arena);
            arena = NULL;
            assert_int_equal(live_blocks, before);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_arena, drop_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_step),
        TEST(test_no_step_is_left_out),
        TEST(test_whole_way),
        TEST(test_handshakes_are_known),
        TEST(test_versions_that_cannot_be_read),
        TEST(test_newest_and_newer),
        TEST(test_text_is_utf8),
        TEST(test_flow_without_response),
        TEST(test_ids_tell_connections_apart),
        TEST(test_strings_left_in_the_capture),
        TEST(test_damaged_members),
        TEST(test_damaged_handshake),
        TEST(test_memory_runs_out),
        TEST(test_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
