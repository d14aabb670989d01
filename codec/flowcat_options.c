#include "flowcat_options.h"

#include "migrate.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

const char flowcat_help[] =
    "usage: flowcat [options] [CAPTURE...]\n"
    "       flowcat --pack [options] FOLDER...\n"
    "\n"
    "cat for flows: reads mitmproxy flow files and HAR files, plain or compressed by gzip, and\n"
    "folders of those, and writes their flows in another form. Without CAPTURE, or where it\n"
    "is -, standard input is read.\n"
    "\n"
    "    -f EXPR              only flows that match, in mitmproxy's filter language\n"
    "    -s                   sort by start time\n"
    "    -t FORMAT            the form (--list-formats); list on a terminal, else mitm\n"
    "    -o FILE              write to a file, which is replaced when all went well\n"
    "    -z                   compress by gzip\n"
    "    --format-version N   of flow files that are written: 17 to 21 (21)\n"
    "    --recover            write what is whole of broken captures\n"
    "    --unpack FOLDER      write each flow as a folder of files: FOLDER/HOST/ID/...\n"
    "    --pack               read flows from such folders, in order of time\n"
    "    --list-formats       print the forms\n"
    "    -h, --help           print this\n"
    "    -V, --version        print the version\n"
    "\n"
    "Exit codes: 0 all was written, 1 wrong usage, 2 a capture cannot be read or is broken, 3 the\n"
    "output cannot be written, 4 some flows had to be left out.\n";

enum long_option {
    OPTION_FORMAT_VERSION = 256,
    OPTION_RECOVER,
    OPTION_LIST_FORMATS,
    OPTION_PACK,
    OPTION_UNPACK,
};

static const struct option long_options[] = {
    {"format-version", required_argument, NULL, OPTION_FORMAT_VERSION},
    {"recover", no_argument, NULL, OPTION_RECOVER},
    {"list-formats", no_argument, NULL, OPTION_LIST_FORMATS},
    {"pack", no_argument, NULL, OPTION_PACK},
    {"unpack", required_argument, NULL, OPTION_UNPACK},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static bool set_format(struct flowcat_options *options, const char *name)
{
    options->format = convert_format_of_name(bytes_of(name));
    options->has_format = true;
    if (options->format != CONVERT_FORMATS)
        return true;
    fprintf(stderr, "flowcat: there is no format %s; see flowcat --list-formats\n", name);
    return false;
}

static bool set_version(struct flowcat_options *options, const char *text)
{
    char *end;
    options->version = strtol(text, &end, 10);
    if (*text && !*end)
        return true;
    fprintf(stderr, "flowcat: --format-version: expected a number, found %s\n", text);
    return false;
}

static bool set_option(struct flowcat_options *options, int option)
{
    switch (option) {
    case 'f':
        options->filter = optarg;
        return true;
    case 's':
        options->sort = true;
        return true;
    case 't':
        return set_format(options, optarg);
    case 'o':
        options->output = optarg;
        return true;
    case 'z':
        options->gzip = true;
        return true;
    case OPTION_FORMAT_VERSION:
        return set_version(options, optarg);
    case OPTION_RECOVER:
        options->recover = true;
        return true;
    case OPTION_LIST_FORMATS:
        options->list_formats = true;
        return true;
    case OPTION_PACK:
        options->pack = true;
        return true;
    case OPTION_UNPACK:
        options->unpack = optarg;
        return true;
    case 'h':
        options->help = true;
        return true;
    case 'V':
        options->show_version = true;
        return true;
    default:
        return false; /* getopt has said what is wrong */
    }
}

bool flowcat_options_parse(struct flowcat_options *options, int count, char **arguments)
{
    static char standard_input[] = "-";
    static char *only_standard_input[] = {standard_input, NULL};
    int option;
    *options = (struct flowcat_options){
        .format = CONVERT_MITM,
        .version = MIGRATE_VERSION_NEWEST,
    };
    while ((option = getopt_long(count, arguments, "f:st:o:zhV", long_options, NULL)) != -1)
        if (!set_option(options, option)) {
            fputs("Try flowcat --help.\n", stderr);
            return false;
        }
    options->paths = arguments + optind;
    options->path_count = count - optind;
    if (options->pack && options->path_count == 0) {
        fputs("flowcat: --pack: expected a folder of flows\n", stderr);
        return false;
    }
    if (options->unpack && (options->has_format || options->output || options->gzip)) {
        fputs("flowcat: --unpack writes folders: -t, -o and -z have no place there\n", stderr);
        return false;
    }
    if (options->path_count == 0) {
        options->paths = only_standard_input;
        options->path_count = 1;
    }
    return true;
}
