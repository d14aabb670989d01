#include "control_file.h"

static const struct {
    const char *name;
    enum convert_format format;
} files[CONTROL_FILES] = {
    [CONTROL_FLOWS_MITM] = {"flows.mitm", CONVERT_MITM},
    [CONTROL_FLOWS_MITM_GZ] = {"flows.mitm.gz", CONVERT_MITM},
    [CONTROL_FLOWS_HAR] = {"flows.har", CONVERT_HAR},
    [CONTROL_FLOWS_JSONL] = {"flows.jsonl", CONVERT_JSONL},
    [CONTROL_FLOWS_CSV] = {"flows.csv", CONVERT_CSV},
    [CONTROL_STATS_JSON] = {"stats.json", CONVERT_STATS_JSON},
    [CONTROL_STATS_TXT] = {"stats.txt", CONVERT_STATS},
    [CONTROL_CURL] = {"curl", CONVERT_CURL},
    [CONTROL_HTTPIE] = {"httpie", CONVERT_HTTPIE},
    [CONTROL_RAW] = {"raw", CONVERT_RAW},
    [CONTROL_RAW_REQUEST] = {"raw_request", CONVERT_RAW_REQUEST},
    [CONTROL_RAW_RESPONSE] = {"raw_response", CONVERT_RAW_RESPONSE},
    [CONTROL_CAPTURES] = {"captures.json", CONVERT_FORMATS},
    [CONTROL_ERRORS] = {"errors", CONVERT_FORMATS},
    [CONTROL_README] = {"README", CONVERT_FORMATS},
};

const char *control_file_name(enum control_file file)
{
    return files[file].name;
}

enum control_file control_file_of_name(struct bytes name)
{
    int file = 0;
    while (file < CONTROL_FILES && !bytes_equal_text(name, files[file].name))
        file++;
    return (enum control_file)file;
}

bool control_file_belongs(enum control_file file, enum control_owner owner)
{
    if (file <= CONTROL_STATS_TXT)
        return true;
    return file <= CONTROL_RAW_RESPONSE ? owner == CONTROL_OF_FLOW : owner == CONTROL_OF_ROOT;
}

enum convert_format control_file_format(enum control_file file, bool *gzip)
{
    *gzip = file == CONTROL_FLOWS_MITM_GZ;
    return files[file].format;
}
