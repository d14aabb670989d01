#include "options.h"

#include "downgrade.h"
#include "flowdir.h"
#include "migrate.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CACHE_SIZE ((uint64_t)64 << 20)

const char options_help[] =
    "usage: flowfs [options] CAPTURE... MOUNTPOINT\n"
    "\n"
    "Mounts captured HTTP traffic as folders: MOUNTPOINT/HOST/FLOW/response.body and so on.\n"
    "CAPTURE is a mitmproxy flow file or a HAR file, plain or compressed by gzip, a folder of\n"
    "those, or - for standard input. MOUNTPOINT is made if it is missing.\n"
    "\n"
    "    -o OPTION[,OPTION...]   mount options, as for any FUSE file system (allow_other, ...);\n"
    "                            ro leaves @staging out; cache=SIZE, max_decoded=SIZE,\n"
    "                            no_follow, show_control, format_version=N and staging=DIR may\n"
    "                            stand here too\n"
    "    -f                      stay in the foreground\n"
    "    -d                      the same, and print each request\n"
    "    -s                      answer requests with one thread\n"
    "    --filter EXPR           show only flows that match, in mitmproxy's filter language\n"
    "    --query EXPR            save a query, which @query then always lists; repeatable\n"
    "    --no-follow             do not look for new flows in captures that grow\n"
    "    --cache SIZE            memory for flows that were read lately (64M)\n"
    "    --max-decoded SIZE      show a compressed body decoded up to this size, as it was sent\n"
    "                            beyond (4G)\n"
    "    --staging DIR           keep the files of @staging in this folder; else they are in the\n"
    "                            mount point's own, under the mount\n"
    "    --format-version N      of the flow files in .flowfs and @staging: 17 to 21 (21)\n"
    "    --show-control          list .flowfs, which is always there (but not in @staging,\n"
    "                            where cp -r and rm -r would fail at it)\n"
    "    -h, --help              print this\n"
    "    -V, --version           print the versions of flowfs and FUSE\n"
    "\n"
    "Exit codes: 0 mounted, 1 wrong usage, 2 a capture cannot be read, 3 the mount point or\n"
    "the staging folder cannot be used, 4 mounting failed.\n"
    "To unmount: umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT where you are not root.\n";

enum long_option {
    OPTION_CACHE = 256,
    OPTION_MAX_DECODED,
    OPTION_NO_FOLLOW,
    OPTION_FORMAT_VERSION,
    OPTION_SHOW_CONTROL,
    OPTION_FILTER,
    OPTION_QUERY,
    OPTION_STAGING,
};

bool options_parse_size(const char *text, uint64_t *size)
{
    static const char units[] = "KMGT";
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT64_MAX / 100)
            return false;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (at == text)
        return false;
    const char *unit = *at ? strchr(units, *at & ~0x20) : NULL;
    if (*at && (!unit || at[1]))
        return false;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (number > (uint64_t)INT64_MAX >> shift)
        return false;
    *size = number << shift;
    return true;
}

static bool set_size(const char *option, const char *text, uint64_t *size)
{
    if (options_parse_size(text, size))
        return true;
    fprintf(stderr, "flowfs: %s: found \"%s\", expected a size such as 64M\n", option, text);
    return false;
}

static bool set_version(const char *text, int64_t *version)
{
    char *end;
    *version = strtol(text, &end, 10);
    if (*text && !*end && *version >= DOWNGRADE_VERSION_OLDEST &&
        *version <= MIGRATE_VERSION_NEWEST)
        return true;
    fprintf(stderr, "flowfs: format version: found \"%s\", expected %d to %d\n", text,
            DOWNGRADE_VERSION_OLDEST, MIGRATE_VERSION_NEWEST);
    return false;
}

static bool add_query(struct options *options, const char *expression)
{
    size_t count = (size_t)options->query_count + 1;
    const char **queries = realloc((void *)options->queries, count * sizeof *queries);
    if (!queries) {
        fprintf(stderr, "flowfs: out of memory\n");
        return false;
    }
    options->queries = queries;
    options->queries[options->query_count++] = expression;
    return true;
}

static bool append_mount_option(struct options *options, const char *text, size_t length)
{
    size_t old = strlen(options->mount_options);
    char *joined = realloc(options->mount_options, old + 1 + length + 1);
    if (!joined) {
        fprintf(stderr, "flowfs: out of memory\n");
        return false;
    }
    options->mount_options = joined;
    if (old)
        joined[old++] = ',';
    memcpy(joined + old, text, length);
    joined[old + length] = '\0';
    return true;
}

/* Where an option of `-o` ends; a comma behind a backslash is part of it. */
static size_t mount_option_length(const char *text)
{
    size_t length = 0;
    while (text[length] && text[length] != ',')
        length += text[length] == '\\' && text[length + 1] ? 2 : 1;
    return length;
}

/* The value of an option of `-o`, without the backslashes before commas. */
static bool set_staging(struct options *options, const char *text, size_t length)
{
    char *path = malloc(length + 1);
    size_t size = 0;
    if (!path) {
        fprintf(stderr, "flowfs: out of memory\n");
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        i += text[i] == '\\' && i + 1 < length;
        path[size++] = text[i];
    }
    path[size] = '\0';
    free(options->staging);
    options->staging = path;
    return true;
}

/* Takes our own options out of `-o`; the rest is for libfuse. */
static bool add_mount_options(struct options *options, const char *text)
{
    while (*text) {
        size_t length = mount_option_length(text);
        char option[64];
        snprintf(option, sizeof option, "%.*s", (int)(length < 63 ? length : 63), text);
        bool done;
        if (strncmp(option, "cache=", 6) == 0)
            done = set_size("cache", option + 6, &options->cache_size);
        else if (strncmp(option, "max_decoded=", 12) == 0)
            done = set_size("max_decoded", option + 12, &options->decode_limit);
        else if (strncmp(option, "format_version=", 15) == 0)
            done = set_version(option + 15, &options->format_version);
        else if (strncmp(option, "staging=", 8) == 0)
            done = set_staging(options, text + 8, length - 8);
        else if (strcmp(option, "ro") == 0)
            done = options->read_only = true;
        else if (strcmp(option, "rw") == 0)
            done = !(options->read_only = false);
        else if (strcmp(option, "show_control") == 0)
            done = options->show_control = true;
        else if (strcmp(option, "no_follow") == 0)
            done = options->no_follow = true;
        else
            done = length == 0 || append_mount_option(options, text, length);
        if (!done)
            return false;
        text += length + (text[length] == ',');
    }
    return true;
}

static bool parse_option(struct options *options, int option)
{
    switch (option) {
    case 'f':
        options->foreground = true;
        return true;
    case 'd':
        options->debug = options->foreground = true;
        return true;
    case 's':
        options->single_threaded = true;
        return true;
    case 'o':
        return add_mount_options(options, optarg);
    case OPTION_CACHE:
        return set_size("--cache", optarg, &options->cache_size);
    case OPTION_MAX_DECODED:
        return set_size("--max-decoded", optarg, &options->decode_limit);
    case OPTION_NO_FOLLOW:
        options->no_follow = true;
        return true;
    case OPTION_FILTER:
        options->filter = optarg;
        return true;
    case OPTION_QUERY:
        return add_query(options, optarg);
    case OPTION_STAGING:
        free(options->staging);
        options->staging = strdup(optarg);
        return options->staging != NULL;
    case OPTION_SHOW_CONTROL:
        options->show_control = true;
        return true;
    case OPTION_FORMAT_VERSION:
        return set_version(optarg, &options->format_version);
    case 'h':
        options->help = true;
        return true;
    case 'V':
        options->version = true;
        return true;
    default: /* getopt_long has said what is wrong */
        return false;
    }
}

static bool parse_all(struct options *options, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"cache", required_argument, NULL, OPTION_CACHE},
        {"max-decoded", required_argument, NULL, OPTION_MAX_DECODED},
        {"no-follow", no_argument, NULL, OPTION_NO_FOLLOW},
        {"format-version", required_argument, NULL, OPTION_FORMAT_VERSION},
        {"filter", required_argument, NULL, OPTION_FILTER},
        {"query", required_argument, NULL, OPTION_QUERY},
        {"staging", required_argument, NULL, OPTION_STAGING},
        {"show-control", no_argument, NULL, OPTION_SHOW_CONTROL},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "fdso:hV", long_options, NULL)) != -1)
        if (!parse_option(options, option))
            return false;
    if (options->help || options->version)
        return true;
    if (argc - optind < 2) {
        fprintf(stderr, "flowfs: expected at least one CAPTURE and a MOUNTPOINT\n");
        return false;
    }
    options->captures = argv + optind;
    options->capture_count = argc - optind - 1;
    options->mountpoint = argv[argc - 1];
    return true;
}

bool options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .cache_size = DEFAULT_CACHE_SIZE,
        .decode_limit = FLOWDIR_DECODE_LIMIT,
        .format_version = MIGRATE_VERSION_NEWEST,
        .mount_options = strdup(""),
    };
    if (!options->mount_options) {
        fprintf(stderr, "flowfs: out of memory\n");
        return false;
    }
    if (parse_all(options, argc, argv))
        return true;
    fprintf(stderr, "Try: flowfs --help\n");
    options_free(options);
    return false;
}

void options_free(struct options *options)
{
    free((void *)options->queries);
    options->queries = NULL;
    free(options->mount_options);
    options->mount_options = NULL;
    free(options->staging);
    options->staging = NULL;
}
