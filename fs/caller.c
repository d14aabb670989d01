#include "caller.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool read_text(pid_t thread, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)thread, file);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? -1 : read(descriptor, text, size - 1);
    if (descriptor >= 0)
        close(descriptor);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static enum caller_act act_of_number(long number)
{
    static const long making[] = {
#ifdef SYS_mkdir
        SYS_mkdir,
#endif
        SYS_mkdirat,
    };
    static const long removing[] = {
#ifdef SYS_rmdir
        SYS_rmdir,
#endif
        SYS_unlinkat,
    };
    for (size_t i = 0; i < sizeof making / sizeof *making; i++)
        if (number == making[i])
            return CALLER_MAKES_DIRECTORY;
    for (size_t i = 0; i < sizeof removing / sizeof *removing; i++)
        if (number == removing[i])
            return CALLER_REMOVES;
    return CALLER_OTHER;
}

enum caller_act caller_act(pid_t thread)
{
    char text[256];
    char *end;
    if (thread <= 0)
        return CALLER_UNKNOWN;
    if (read_text(thread, "syscall", text, sizeof text)) {
        /* `running` is none that waits: it is another by now. */
        long number = strtol(text, &end, 10);
        return end == text ? CALLER_UNKNOWN : act_of_number(number);
    }
    if (!read_text(thread, "comm", text, sizeof text))
        return CALLER_UNKNOWN;
    return strcmp(text, "mkdir\n") == 0   ? CALLER_MAKES_DIRECTORY
           : strcmp(text, "rmdir\n") == 0 ? CALLER_REMOVES
                                          : CALLER_UNKNOWN;
}
