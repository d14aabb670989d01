/* What listing needs of a flow, seen in passing: no values are made and bodies are stepped over, so
 * that an index is built at nearly the speed at which the capture can be read. */
#ifndef FLOWFS_CODEC_FLOW_GLANCE_H
#define FLOWFS_CODEC_FLOW_GLANCE_H

#include "flowdir_file.h"
#include "glance_keys.h"
#include "record.h"

/* Records of older versions have other fields; they are read and migrated instead. */
#define FLOW_GLANCE_OLDEST_VERSION 12

struct flow_glance {
    enum flow_type type;
    struct bytes id;           /* this and the target's are borrowed from the record */
    struct flow_target target; /* HTTP */
    struct bytes address_host; /* TCP, UDP: the server's address; DNS: the question's name */
    int64_t address_port;
    double timestamp_start; /* as struct flow has it */
    int64_t status_code;    /* 0: no response */
    int64_t version;        /* above MIGRATE_VERSION_NEWEST: read as if it were the newest */
    uint16_t files;         /* flowdir_files */
    bool is_websocket;
};

enum flow_glance_result {
    FLOW_GLANCE_DONE,
    FLOW_GLANCE_UNUSUAL, /* well-formed so far, but to be read in full: an old version, several Host
                            fields, a member of an unexpected kind */
    FLOW_GLANCE_BROKEN,  /* the error says where */
};

/* What the last record was like: those of one capture are alike. Zeroed at first. */
struct flow_glance_memory {
    struct glance_dict flow, request, response;
};

/* Looks at the record of one flow. memory: makes it faster, changes nothing; may be NULL. The error
 * is set only for FLOW_GLANCE_BROKEN. */
enum flow_glance_result flow_glance(struct record *record, struct flow_glance_memory *memory,
                                    struct flow_glance *glance, struct flow_error *error);

/* The same from a flow that has been read. */
void flow_glance_of_flow(const struct flow *flow, struct flow_glance *glance);

/* Appends the host under which the flow is filed, nothing if it has none: flow_target_site for
 * HTTP; TCP and UDP: the server's address; DNS: the first question's name. */
void flow_glance_site(const struct flow_glance *glance, struct buffer *site);

#endif
