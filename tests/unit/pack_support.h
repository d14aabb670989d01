/* What the tests of packing share: a temporary directory, flows unpacked into it, files written,
 * and what packing makes of them. */
#ifndef FLOWFS_TESTS_PACK_SUPPORT_H
#define FLOWFS_TESTS_PACK_SUPPORT_H

#include "support.h"

#include "flowdir_pack.h"
#include "flowdir_unpack.h"

/* A directory under $TMPDIR. Removed with all in it by folder_close. */
struct folder {
    char path[256];
    int descriptor;
};
void folder_open(struct folder *folder);
void folder_close(struct folder *folder);

/* Files in it, also in messages/, which folder_write makes. */
void folder_write(const struct folder *folder, const char *name, struct bytes content);
struct buffer folder_read(const struct folder *folder, const char *name);
bool folder_has(const struct folder *folder, const char *name);
void folder_remove(const struct folder *folder, const char *name);
void folder_rename(const struct folder *folder, const char *from, const char *to);
/* Replaces the one place where `from` stands in the file. */
void folder_edit(const struct folder *folder, const char *name, const char *from, const char *to);

/* Unpacks the one flow that the text is (which is freed) into a new folder. */
void folder_unpack(struct folder *folder, struct buffer *text);

/* Packs; the record is freed by buffer_free. Fails the test where packing fails. */
struct buffer folder_pack(const struct folder *folder);

/* A packed flow to look at. Freed by packed_close. */
struct packed {
    struct arena *arena;
    struct value *state;
};
struct packed packed_open(const struct folder *folder);
void packed_close(struct packed *packed);

/* The member at a path as in "request.headers.0.1"; NULL if there is none. */
const struct value *packed_get(const struct packed *packed, const char *path);

/* Packs and compares one string, number (as written) or, with NULL, null. */
#define assert_member(folder, path, expected)                                                      \
    support_assert_member((folder), (path), (expected), __FILE__, __LINE__)
void support_assert_member(const struct folder *folder, const char *path, const char *expected,
                           const char *file, int line);

/* Packs and compares the fields of a message, shown one a line. */
#define assert_fields(folder, path, expected)                                                      \
    support_assert_fields((folder), (path), (expected), __FILE__, __LINE__)
void support_assert_fields(const struct folder *folder, const char *path, const char *expected,
                           const char *file, int line);

/* Packing fails, and says so. */
void assert_mistake(const struct folder *folder, const char *message);

#endif
