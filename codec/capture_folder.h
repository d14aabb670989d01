/* The captures in a folder, and in its folders, in the order of their names. */
#ifndef FLOWFS_CODEC_CAPTURE_FOLDER_H
#define FLOWFS_CODEC_CAPTURE_FOLDER_H

#include "error.h"

#include <stdbool.h>

/* One capture. name: its path from the folder on; both are borrowed. Returns false to stop, with
 * the error set. */
typedef bool capture_folder_visit(void *context, const char *path, const char *name,
                                  struct flow_error *error);

bool capture_folder_is(const char *path);

/* Visits each capture. Names with a leading dot and files that are no captures are passed over.
 * False with what listing or a visit gave, or ENOMEM. */
bool capture_folder_walk(const char *path, capture_folder_visit *visit, void *context,
                         struct flow_error *error);

#endif
