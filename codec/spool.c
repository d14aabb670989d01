#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *spool_directory(void)
{
    const char *directory = secure_getenv("TMPDIR");
    return directory && *directory ? directory : "/var/tmp";
}

static int open_named(const char *directory)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/flowfs.XXXXXX", directory);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int descriptor = mkostemp(path, O_CLOEXEC);
    int code = errno;
    if (descriptor >= 0 && unlink(path) < 0) {
        code = errno;
        close(descriptor);
        descriptor = -1;
    }
    errno = code;
    return descriptor;
}

int spool_open(const char *what, struct flow_error *error)
{
    const char *directory = spool_directory();
    int descriptor = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* A file system without O_TMPFILE says EOPNOTSUPP, an old kernel one of the others. */
    if (descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        descriptor = open_named(directory);
    if (descriptor >= 0)
        return descriptor;
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET,
                   "no file for %s can be made in %s: %s; set TMPDIR to a folder that can be "
                   "written",
                   what, directory, strerror(code));
    return -1;
}
