/* The first error wins, and carries where it was found.
 *
 * Every function of the codec that can fail takes a `struct flow_error *` and returns false or NULL
 * after filling it. A caller zeroes the error once and may run several steps on it: what is set
 * first stays, so the cause is told and not its consequences. */
#ifndef FLOWFS_CODEC_ERROR_H
#define FLOWFS_CODEC_ERROR_H

#include <stdint.h>

/* The offset of an error that belongs to no place in a file. */
#define FLOW_ERROR_NO_OFFSET UINT64_MAX

struct flow_error {
    int code;          /* an errno value; 0 while there is no error */
    uint64_t offset;   /* bytes from the start of the capture, or FLOW_ERROR_NO_OFFSET */
    char key_path[96]; /* where in the flow, as in `request.headers[3]`; "" at the top */
    char message[256]; /* what was found, what was expected, what to do; one line of UTF-8 */
};

/* Records an error, unless `error` is NULL or already holds one.
 *
 * code: an errno value (EBADMSG malformed input, EFBIG over a limit, ENOMEM, ENOTSUP, or what a
 * system call gave). offset: see the struct. What is quoted may hold any bytes: `?` stands in the
 * message for controls and for what is no UTF-8. */
void flow_error_set(struct flow_error *error, int code, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts `key` in front of the error's key path: each level of a parser adds its own name on the way
 * out, so that the path costs nothing while all goes well. */
void flow_error_prepend_key(struct flow_error *error, const char *key);

/* Like flow_error_prepend_key, with `[index]`. */
void flow_error_prepend_index(struct flow_error *error, uint64_t index);

/* Records ENOMEM; always returns false, so that callers can `return flow_error_memory(error);`. */
_Bool flow_error_memory(struct flow_error *error);

#endif
