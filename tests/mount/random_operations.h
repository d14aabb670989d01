/* Random operations on a file system, each done in two folders, with what must be the same in both:
 * results, errors, what is read, and what is there afterwards. */
#ifndef FLOWFS_TESTS_RANDOM_OPERATIONS_H
#define FLOWFS_TESTS_RANDOM_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
    SIDES = 2,
    HANDLES = 10,            /* files that may be open at once, on each side */
    PATH_CAPACITY = 1100,    /* a path with several long names */
    DATA_CAPACITY = 1 << 18, /* bytes that one operation moves */
};

/* Modification times up to this one were set; later ones are when something happened. */
#define LATEST_SET_TIME 1420070400

/* One of the ways in which a kind of operation is done. */
struct choice {
    const char *text; /* NULL ends a list */
    int value;
};

/* One call, drawn at random, to be made on both sides. What a kind has no use for is ignored. */
struct operation {
    const struct operation_kind *kind;
    const struct choice *choice; /* NULL if the kind has but one way */
    char path[PATH_CAPACITY];
    char other_path[PATH_CAPACITY];
    int handle, other_handle;
    off_t offset, other_offset;
    size_t size;
    mode_t mode;
    uint64_t fill; /* what data, values and times are made of */
};

struct side {
    const char *name; /* of the folder, as it was given */
    int root;         /* the folder that paths start from; the working directory during a call */
    int handles[HANDLES]; /* -1: none */
};

/* What came of an operation on one side. */
struct outcome {
    int64_t result; /* a negative errno if it failed */
    size_t size;
    uint8_t *data; /* `size` bytes that were read; room for DATA_CAPACITY */
};

/* Fields of an operation that a kind looks at, for printing it. */
enum {
    SHOWS_PATH = 1,
    SHOWS_OTHER_PATH = 2,
    SHOWS_HANDLE = 4,
    SHOWS_OTHER_HANDLE = 8,
    SHOWS_RANGE = 16, /* offset and size */
    SHOWS_OTHER_OFFSET = 32,
    SHOWS_MODE = 64,
    SHOWS_FILL = 128,
};

struct operation_kind {
    const char *name;
    unsigned weight; /* how often it is drawn, beside the others */
    unsigned shows;
    const struct choice *choices; /* NULL if there are none */
    void (*run)(const struct operation *operation, struct side *side, struct outcome *outcome);
};

/* All kinds that work on names, and all that work on open files; a name of NULL ends each. */
extern const struct operation_kind name_kinds[];
extern const struct operation_kind file_kinds[];

/* A call's value, or its negative errno. To be called at once after it. */
int64_t call_result(int64_t value);

/* Fills the data with what `fill` stands for, the same each time. */
void fill_data(uint8_t *data, size_t size, uint64_t fill);

/* The next random number; the state is changed. */
uint64_t random_next(uint64_t *state);

/* Appends what `stat` tells and both sides must agree on, as text. */
void describe_status(FILE *text, const struct stat *status);

/* Writes a line for everything that is in the side's folder and the one around it, contents and
 * extended attributes included, in an order that depends on names alone. */
void describe_tree(FILE *text, const struct side *side);

#endif
