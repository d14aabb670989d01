/* What the tests of sets share: a staging folder with flows in it. */
#ifndef FLOWFS_TESTS_SETS_SUPPORT_H
#define FLOWFS_TESTS_SETS_SUPPORT_H

#include "pack_support.h"

#include "sets.h"

/* Unpacks a flow as STAGING/PATH, such as "fix/example.com/1"; the folders above it are made. */
void staging_add(const struct folder *staging, const char *path, const struct test_flow *flow);

/* A folder in it, with those above it. */
void staging_make(const struct folder *staging, const char *path);

/* Moves a flow's directory out of the way of everything. */
void staging_remove(const struct folder *staging, const char *path);

struct sets *staging_open(const struct folder *staging);
void staging_close(struct sets *sets);

/* What the pack of the set holds now; freed by buffer_free. Fails the test if there is none. */
struct buffer staging_pack(struct sets *sets, const char *set);
void assert_pack(struct sets *sets, const char *set, struct bytes expected);

/* The pack's inode; 0 if it cannot be opened. */
uint64_t staging_inode(struct sets *sets, const char *set);

/* The state after the gate. */
enum sets_state staging_state(struct sets *sets, const char *set);

/* The content of a file in the folder. */
void assert_file(const struct folder *staging, const char *name, const char *expected);

/* How many names there are in the folder that begin like that. */
size_t staging_count(const struct folder *staging, const char *start);

/* So that what has been written is old enough for its times to be trusted. */
void staging_settle(void);

#endif
