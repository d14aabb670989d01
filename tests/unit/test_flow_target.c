/* Whom a request is for, against what mitmproxy answers for the same request. */
#include "support.h"

#include "flow_target.h"

#include "target_table.h"

static void assert_answer(size_t row, const char *what, struct bytes found, struct bytes expected)
{
    if (!bytes_equal(found, expected))
        print_error("row %zu of target_table.h, %s:\n", row, what);
    assert_spans(found, expected);
}

static void assert_appended(size_t row, const char *what, const struct flow_target *target,
                            void (*append)(const struct flow_target *target, struct buffer *out),
                            struct bytes expected)
{
    struct buffer out = BUFFER_INIT;
    append(target, &out);
    assert_answer(row, what, buffer_bytes(&out), expected);
    buffer_free(&out);
}

static void test_as_mitmproxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof target_table / sizeof *target_table; i++) {
        struct flow_target target = {
            .method = target_table[i].method,
            .scheme = target_table[i].scheme,
            .authority = target_table[i].authority,
            .shown_authority = target_table[i].authority,
            .host = target_table[i].address,
            .path = target_table[i].path,
            .http_version = target_table[i].http_version,
            .host_field = target_table[i].host_field,
            .has_host_field = target_table[i].has_host_field,
            .port = target_table[i].port,
        };
        assert_appended(i, "url", &target, flow_target_url, target_table[i].url);
        assert_appended(i, "pretty_url", &target, flow_target_pretty_url,
                        target_table[i].pretty_url);
        assert_answer(i, "pretty_host", flow_target_pretty_host(&target),
                      target_table[i].pretty_host);
        assert_appended(i, "site", &target, flow_target_site, target_table[i].site);
    }
}

static void test_address_site(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        int64_t port;
        const char *site;
    } rows[] = {
        {"example.com", 53, "example.com:53"},
        {"EXAMPLE.com", 8080, "example.com:8080"},
        {"::1", 443, "[::1]:443"},
        {"example.com", 0, "example.com"},
        {"", 80, ""},
        {"..", 1, "..:1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buffer site = BUFFER_INIT;
        flow_target_address_site(bytes_of(rows[i].host), rows[i].port, &site);
        assert_bytes(buffer_bytes(&site), rows[i].site);
        buffer_free(&site);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_mitmproxy),
        cmocka_unit_test(test_address_site),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
