/* The files of a `.flowfs` directory: which there are, and where. */
#ifndef FLOWFS_FS_CONTROL_FILE_H
#define FLOWFS_FS_CONTROL_FILE_H

#include "convert.h"

#define CONTROL_DIRECTORY_NAME ".flowfs"

enum control_file {
    CONTROL_FLOWS_MITM, /* up to STATS_TXT: wherever there are flows */
    CONTROL_FLOWS_MITM_GZ,
    CONTROL_FLOWS_HAR,
    CONTROL_FLOWS_JSONL,
    CONTROL_FLOWS_CSV,
    CONTROL_STATS_JSON,
    CONTROL_STATS_TXT,
    CONTROL_CURL, /* up to RAW_RESPONSE: in a flow */
    CONTROL_HTTPIE,
    CONTROL_RAW,
    CONTROL_RAW_REQUEST,
    CONTROL_RAW_RESPONSE,
    CONTROL_CAPTURES, /* from here on: in the root */
    CONTROL_ERRORS,
    CONTROL_README,
    CONTROL_FILES, /* their number */
};

/* Whose directory it is. */
enum control_owner {
    CONTROL_OF_ROOT,
    CONTROL_OF_HOST,
    CONTROL_OF_FLOW,
    CONTROL_OF_VIEW, /* a group of `@by` or `@query` */
};

const char *control_file_name(enum control_file file);

/* CONTROL_FILES if no file has that name. */
enum control_file control_file_of_name(struct bytes name);

/* Whether such an owner has the file. For a flow: if it has what the file shows. */
bool control_file_belongs(enum control_file file, enum control_owner owner);

/* The form of the flows in the file; CONVERT_FORMATS if it shows no flows. gzip: around them. */
enum convert_format control_file_format(enum control_file file, bool *gzip);

#endif
