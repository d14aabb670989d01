/* The scanner of records alone: what it says of one place, and that it finds the next sound one. */
#include "support.h"

#include "record_scan.h"

#include <errno.h>
#include <stdlib.h>

struct scanner {
    struct source *source;
    struct record_scan scan;
    struct flow_error error;
};

static struct scanner open_scanner(struct bytes text)
{
    struct scanner scanner = {.source = NULL};
    scanner.source = source_open_memory(text, &scanner.error);
    assert_non_null(scanner.source);
    assert_true(record_scan_init(&scanner.scan, scanner.source, 0, &scanner.error));
    return scanner;
}

static void close_scanner(struct scanner *scanner)
{
    record_scan_close(&scanner->scan);
    source_close(scanner->source);
}

static void test_one_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum record_scan_result result;
        uint64_t size;
        uint64_t offset; /* of the error */
    } rows[] = {
        {"", RECORD_SCAN_END, 0, 0},
        {"0:}", RECORD_SCAN_RECORD, 3, 0},
        {"7:1:a;0:~}", RECORD_SCAN_RECORD, 10, 0},
        {"7:1:a;0:~}more", RECORD_SCAN_RECORD, 10, 0},
        {"7:1:a;0:~]", RECORD_SCAN_BROKEN, 0, 9},
        {"x", RECORD_SCAN_BROKEN, 0, 0},
        {"7x", RECORD_SCAN_BROKEN, 0, 1},
        {":", RECORD_SCAN_BROKEN, 0, 0},
        {"7", RECORD_SCAN_PARTIAL, 0, 1},
        {"7:", RECORD_SCAN_PARTIAL, 0, 0},
        {"7:1:a;0:~", RECORD_SCAN_PARTIAL, 0, 0},
        {"999999999999:", RECORD_SCAN_PARTIAL, 0, 0},
        {"999999999999", RECORD_SCAN_PARTIAL, 0, 12},
        {"9999999999999", RECORD_SCAN_BROKEN, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scanner scanner = open_scanner(bytes_of(rows[i].text));
        uint64_t size = 0;
        enum record_scan_result result = record_scan_look(&scanner.scan, &size, &scanner.error);
        if (result != rows[i].result)
            fail_msg("\"%s\": result %d (%s)", rows[i].text, result, scanner.error.message);
        if (result == RECORD_SCAN_RECORD) {
            assert_int_equal(size, rows[i].size);
            assert_spans(scanner.scan.record.text, bytes_make(rows[i].text, (size_t)size));
        } else if (result != RECORD_SCAN_END) {
            assert_int_equal(scanner.error.code, EBADMSG);
            assert_int_equal(scanner.error.offset, rows[i].offset);
        }
        assert_int_equal(scanner.scan.position, 0);
        close_scanner(&scanner);
    }
}

struct wanted {
    uint64_t offset;
    int asked;
};

static bool accept_offset(void *context, struct record *record)
{
    struct wanted *wanted = context;
    wanted->asked++;
    return record->offset == wanted->offset;
}

/* A record of `size` bytes of body, as few others as a flow could have. */
static void put_record(struct buffer *out, size_t size)
{
    struct buffer dict = BUFFER_INIT;
    uint8_t *body = calloc(1, size + 1);
    assert_non_null(body);
    memset(body, 'b', size);
    member_text(&dict, "type", "http");
    member_bytes(&dict, "content", bytes_make(body, size));
    put_container(out, '}', &dict);
    free(body);
}

/* A record is found behind garbage of every length around the window's size, and right behind
 * digits that are not its own. */
static void test_resync(void **state)
{
    (void)state;
    static const size_t lengths[] = {
        1,           2,           3,          12,     13,     14,     100,   262144 - 120,
        262144 - 60, 262144 - 20, 262144 - 3, 262143, 262144, 262145, 600000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int digits = 0; digits < 2; digits++) {
            struct buffer text = BUFFER_INIT;
            struct flow_error error = {0};
            for (size_t n = 0; n < lengths[i]; n++)
                buffer_append_byte(&text, 'x');
            if (digits)
                text.data[text.size - 1] = '7';
            struct wanted wanted = {text.size, 0};
            put_record(&text, 64);
            buffer_append_text(&text, "rest");
            struct scanner scanner = open_scanner(buffer_bytes(&text));
            assert_true(
                record_scan_resync(&scanner.scan, 0, UINT64_MAX, accept_offset, &wanted, &error));
            assert_int_equal(scanner.scan.position, wanted.offset);
            assert_int_equal(error.code, 0);
            /* Nothing else is there. */
            assert_false(record_scan_resync(&scanner.scan, wanted.offset + 1, UINT64_MAX,
                                            accept_offset, &wanted, &error));
            assert_int_equal(scanner.scan.position, wanted.offset);
            assert_int_equal(error.code, 0);
            close_scanner(&scanner);
            buffer_free(&text);
        }
}

/* Records longer than the window, and than what is read whole, are tried too. */
static void test_resync_on_long_records(void **state)
{
    (void)state;
    static const size_t sizes[] = {262144 - 60, 262144 + 60, 1 << 20, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buffer text = BUFFER_INIT;
        struct flow_error error = {0};
        buffer_append_text(&text, "broken:");
        struct wanted wanted = {text.size, 0};
        put_record(&text, sizes[i]);
        struct scanner scanner = open_scanner(buffer_bytes(&text));
        assert_true(
            record_scan_resync(&scanner.scan, 1, UINT64_MAX, accept_offset, &wanted, &error));
        assert_int_equal(scanner.scan.position, wanted.offset);
        assert_int_equal(scanner.scan.record.text.size, text.size - wanted.offset);
        close_scanner(&scanner);
        buffer_free(&text);
    }
}

/* What the caller does not accept is passed; the last record can be found. */
static void test_accept_decides(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct flow_error error = {0};
    struct wanted wanted = {0, 0};
    for (int i = 0; i < 20; i++) {
        buffer_append_text(&text, "x");
        wanted.offset = text.size;
        put_record(&text, 50);
    }
    struct scanner scanner = open_scanner(buffer_bytes(&text));
    assert_true(record_scan_resync(&scanner.scan, 0, UINT64_MAX, accept_offset, &wanted, &error));
    assert_int_equal(scanner.scan.position, wanted.offset);
    /* Each is offered once, and some also with less than all of its length's digits. */
    assert_true(wanted.asked >= 20 && wanted.asked <= 60);
    close_scanner(&scanner);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_place),
        cmocka_unit_test(test_resync),
        cmocka_unit_test(test_resync_on_long_records),
        cmocka_unit_test(test_accept_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
