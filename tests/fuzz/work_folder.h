/* A folder in memory for the fuzz targets that need real files. */
#ifndef FLOWFS_TESTS_FUZZ_WORK_FOLDER_H
#define FLOWFS_TESTS_FUZZ_WORK_FOLDER_H

#include "bytes.h"

/* The descriptor of an empty folder `name` in the target's own folder under $TMPDIR or /dev/shm:
 * made by the first call, emptied by the others (of files, and of folders of files). All of it is
 * removed at exit; after an abort it stays. */
int work_folder(const char *name);

/* Writes a file in it, also in a folder, which is made. Its time is always the same. False if there
 * is one of that name, or no file can have it. */
bool work_folder_write(int folder, const char *name, struct bytes content);

#endif
