/* The command line of flowcat. */
#ifndef FLOWFS_CODEC_FLOWCAT_OPTIONS_H
#define FLOWFS_CODEC_FLOWCAT_OPTIONS_H

#include "convert.h"

struct flowcat_options {
    const char *filter; /* NULL: all flows */
    const char *output; /* NULL: standard output */
    enum convert_format format;
    bool has_format;
    int64_t version;
    const char *unpack; /* a folder; NULL: the flows are written in a form */
    bool pack;          /* the paths are folders of flows */
    bool sort, gzip, recover, list_formats, help, show_version;
    char **paths;
    int path_count;
};

extern const char flowcat_help[];

/* False where the command line is wrong; what is wrong has been said on stderr. Paths are
 * borrowed. */
bool flowcat_options_parse(struct flowcat_options *options, int count, char **arguments);

#endif
