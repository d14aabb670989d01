/* Requests as commands for a POSIX shell: part of export.h. */
#ifndef FLOWFS_CODEC_EXPORT_COMMAND_H
#define FLOWFS_CODEC_EXPORT_COMMAND_H

#include "export.h"

/* Append the command for the flow's request, which must be HTTP. False as export_flow. */
bool export_curl(struct flowdir *directory, struct buffer *out, struct flow_error *error);
bool export_httpie(struct flowdir *directory, struct buffer *out, struct flow_error *error);

#endif
