/* A flow file written beside the ones that are there: records of a former file, the store, are
 * copied in runs, without passing through memory where the file system can; new ones are appended.
 * While all that is asked for is what the store holds from its start, nothing is written at all. */
#ifndef FLOWFS_FS_SET_WRITER_H
#define FLOWFS_FS_SET_WRITER_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stdint.h>

#define SET_HIDDEN ".flowfs"
#define SET_HIDDEN_SIZE 40

/* A file of a set. */
struct set_file {
    int descriptor;               /* -1: there is none */
    uint64_t size;                /* bytes */
    char hidden[SET_HIDDEN_SIZE]; /* its name in the staging folder, while it is a hidden one */
};

#define SET_FILE_NONE                                                                              \
    {                                                                                              \
        -1, 0, ""                                                                                  \
    }

/* Makes an empty file with a hidden name that nobody has, for its owner alone. False with what open
 * gave. */
bool set_file_make(struct set_file *file, int root, struct flow_error *error);

/* Removes the hidden name, closes the file. Harmless if there is none. */
void set_file_drop(struct set_file *file, int root);

/* Copies bytes from one file to another, both by their places. False with EIO if the first one ends
 * before them, or what a system call gave. */
bool set_file_copy(int from, uint64_t offset, int to, uint64_t position, uint64_t size,
                   struct flow_error *error);

/* Whether the file holds these bytes at that place; *equal tells. False with what reading gave. */
bool set_file_holds(int descriptor, uint64_t offset, struct bytes bytes, bool *equal,
                    struct flow_error *error);

struct set_writer {
    int root;               /* the staging folder */
    int store;              /* -1: none */
    uint64_t store_size;    /* bytes */
    struct set_file out;    /* there once something has been written */
    uint64_t position;      /* bytes asked for so far */
    uint64_t run, run_size; /* of the store, not written yet */
};

/* The next record: from the store, or new. False with what a system call gave. */
bool set_writer_copy(struct set_writer *writer, uint64_t offset, uint64_t size,
                     struct flow_error *error);
bool set_writer_append(struct set_writer *writer, struct bytes record, struct flow_error *error);

/* Writes what is left. *same: what was asked for is the store as a whole, nothing was written. */
bool set_writer_end(struct set_writer *writer, bool *same, struct flow_error *error);

#endif
