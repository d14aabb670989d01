#include "ll.h"

#include <errno.h>

int ll_errno(const struct flow_error *error)
{
    switch (error->code) {
    case EBADMSG: /* what stands in the capture is no flow (any more) */
    case EOVERFLOW:
    case EINVAL:
        return EIO;
    default:
        return error->code ? error->code : EIO;
    }
}
