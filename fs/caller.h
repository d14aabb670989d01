/* What the thread that waits for our answer has asked the kernel for. Some requests look alike
 * whoever sends them: a LOOKUP does not say whether a name is to be used or to be made. */
#ifndef FLOWFS_FS_CALLER_H
#define FLOWFS_FS_CALLER_H

#include <sys/types.h>

enum caller_act {
    CALLER_UNKNOWN, /* it may not be looked at, or is not of this system's tongue */
    CALLER_MAKES_DIRECTORY,
    CALLER_REMOVES, /* a directory, or a file */
    CALLER_OTHER,
};

/* thread: as the request names it. Told by the system call that it is in; where we may not see that
 * (see PTRACE_MODE_ATTACH in ptrace(2)), by the name of its program: `mkdir` and `rmdir` do nothing
 * else. */
enum caller_act caller_act(pid_t thread);

#endif
