/* A hash table from names to numbers that one thread fills and any thread searches without a lock.
 * It holds no keys: the owner of the numbers compares. */
#ifndef FLOWFS_FS_HASH_TABLE_H
#define FLOWFS_FS_HASH_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_TABLE_NONE UINT32_MAX

struct hash_slots;

struct hash_table {
    _Atomic(struct hash_slots *) slots;
    size_t footprint; /* bytes */
};

/* Whether `number` is what is searched for. */
typedef bool hash_table_equal(const void *context, uint32_t number);

/* HASH_TABLE_NONE if no number with that hash is equal. A zeroed table is empty. */
uint32_t hash_table_find(const struct hash_table *table, uint64_t hash, hash_table_equal *equal,
                         const void *context);

/* Makes sure that the next hash_table_add has room. False if there is no memory. */
bool hash_table_reserve(struct hash_table *table);

/* Adds a number that is not in the table; hash_table_reserve has succeeded since the last add. */
void hash_table_add(struct hash_table *table, uint64_t hash, uint32_t number);

/* No reader may be left. */
void hash_table_close(struct hash_table *table);

#endif
