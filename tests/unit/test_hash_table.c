/* The hash table: everything that was added is found, by any thread, while one goes on adding. */
#include "support.h"

#include "hash_table.h"

#include <pthread.h>
#include <stdlib.h>

#define NUMBERS 200000u

/* The keys are numbers themselves. */
struct key {
    const uint64_t *keys;
    uint64_t wanted;
};

static bool equal(const void *context, uint32_t number)
{
    const struct key *key = context;
    return key->keys[number] == key->wanted;
}

static uint32_t find(const struct hash_table *table, const uint64_t *keys, uint64_t hash,
                     uint64_t wanted)
{
    struct key key = {keys, wanted};
    return hash_table_find(table, hash, equal, &key);
}

static uint64_t mix(uint64_t number)
{
    number *= 0x9E3779B97F4A7C15u;
    return number ^ number >> 31;
}

static void fill(struct hash_table *table, uint64_t *keys, uint32_t count,
                 uint64_t (*hash)(uint64_t))
{
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = (uint64_t)i * 3 + 1;
        assert_true(hash_table_reserve(table));
        hash_table_add(table, hash(keys[i]), i);
    }
}

static uint64_t same(uint64_t number)
{
    (void)number;
    return 0xFFFFFFFFFFFFFFFFu;
}

static uint64_t low_half(uint64_t number)
{
    return number;
}

static void test_all_are_found(void **state)
{
    (void)state;
    static const struct {
        uint64_t (*hash)(uint64_t);
        uint32_t count;
    } rows[] = {{mix, NUMBERS}, {same, 3000}, {low_half, 3000}};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct hash_table table = {.footprint = 0};
        uint64_t *keys = malloc(rows[row].count * sizeof *keys);
        assert_non_null(keys);
        assert_int_equal(find(&table, keys, 7, 7), HASH_TABLE_NONE);
        fill(&table, keys, rows[row].count, rows[row].hash);
        for (uint32_t i = 0; i < rows[row].count; i++) {
            uint64_t absent = keys[i] + 1;
            assert_int_equal(find(&table, keys, rows[row].hash(keys[i]), keys[i]), i);
            assert_int_equal(find(&table, keys, rows[row].hash(absent), absent), HASH_TABLE_NONE);
        }
        assert_true(table.footprint >= rows[row].count * sizeof(uint64_t));
        hash_table_close(&table);
        assert_int_equal(find(&table, keys, rows[row].hash(keys[0]), keys[0]), HASH_TABLE_NONE);
        hash_table_close(&table);
        free(keys);
    }
}

struct shared {
    struct hash_table table;
    uint64_t *keys;
    _Atomic uint32_t count; /* so many are in the table */
    _Atomic bool done;
    _Atomic uint32_t missing, looked;
};

static void *read_along(void *context)
{
    struct shared *shared = context;
    uint64_t chance = 1;
    while (!atomic_load(&shared->done) || atomic_load(&shared->looked) < 1000) {
        uint32_t count = atomic_load_explicit(&shared->count, memory_order_acquire);
        if (!count)
            continue;
        uint32_t number = test_random(&chance) % count;
        uint64_t wanted = (uint64_t)number * 3 + 1;
        if (find(&shared->table, shared->keys, mix(wanted), wanted) != number)
            atomic_fetch_add(&shared->missing, 1);
        atomic_fetch_add(&shared->looked, 1);
    }
    return NULL;
}

static void test_readers_while_it_grows(void **state)
{
    (void)state;
    struct shared shared = {.count = 0};
    pthread_t readers[4];
    shared.keys = malloc(NUMBERS * sizeof *shared.keys);
    assert_non_null(shared.keys);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_along, &shared), 0);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        shared.keys[i] = (uint64_t)i * 3 + 1;
        assert_true(hash_table_reserve(&shared.table));
        hash_table_add(&shared.table, mix(shared.keys[i]), i);
        atomic_store_explicit(&shared.count, i + 1, memory_order_release);
    }
    atomic_store(&shared.done, true);
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&shared.missing), 0);
    hash_table_close(&shared.table);
    free(shared.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_found),
        cmocka_unit_test(test_readers_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
