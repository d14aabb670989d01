/* The command line of flowfs. */
#ifndef FLOWFS_FS_OPTIONS_H
#define FLOWFS_FS_OPTIONS_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    char **captures; /* into argv */
    int capture_count;
    const char *mountpoint;
    bool foreground;
    bool debug;
    bool single_threaded;
    bool no_follow;
    bool show_control;      /* `.flowfs` is listed */
    bool read_only;         /* no `@staging` */
    char *staging;          /* the folder of its files; NULL: the mount point's own */
    int64_t format_version; /* of flow files in `.flowfs` and `@staging` */
    bool help, version;     /* nothing else is set then */
    uint64_t cache_size;    /* bytes */
    uint64_t decode_limit;  /* bytes */
    const char *filter;     /* an expression; NULL: all flows. Borrowed */
    const char **queries;   /* `query_count` expressions that `@query` always lists. Borrowed */
    int query_count;
    char *mount_options; /* what `-o` gave and is not ours, joined by commas; "" if nothing */
};

/* Reads the command line; argv is put in another order, as getopt_long does it. False with a
 * sentence on stderr that says what is wrong. Freed by options_free. */
bool options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

/* A size such as 64M: digits and one of K, M, G, T (powers of 1024). False if it is none, or more
 * than 2^63. */
bool options_parse_size(const char *text, uint64_t *size);

/* What `--help` prints. */
extern const char options_help[];

#endif
