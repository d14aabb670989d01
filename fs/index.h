/* All flows of a mount, as much as listing them needs: some 80 bytes a flow and shared strings.
 *
 * One thread adds; any number of threads read at the same time without a lock. A flow or host is
 * seen by readers once the count that includes it is published; from then on nothing of it changes
 * but the links and counts that grow (all atomic). Tables that grew are kept until the index is
 * closed, since a reader may still be looking into the old one. */
#ifndef FLOWFS_FS_INDEX_H
#define FLOWFS_FS_INDEX_H

#include "error.h"
#include "flow_glance.h"
#include "name.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Flows, hosts and captures are numbered from 0. */
#define INDEX_NONE UINT32_MAX
#define INDEX_MOST_FLOWS ((uint32_t)1 << 30)

enum index_id_form {
    INDEX_ID_UUID, /* 16 bytes instead of 36 */
    INDEX_ID_TEXT, /* in the strings */
};

struct index_flow {
    uint64_t offset, size; /* of the record in the unpacked capture, in bytes */
    int64_t start;         /* nanoseconds since the epoch */
    union {
        uint8_t uuid[16];
        struct bytes text;
    } id;
    uint32_t capture;
    uint32_t number; /* in its capture, from 1 */
    uint32_t host;
    uint32_t handshake;            /* flow that holds the other half of an old WebSocket flow */
    _Atomic uint32_t next_in_host; /* in the order of adding */
    uint32_t copy;                 /* 1: first flow of that name in its host, 2: the second… */
    _Atomic uint32_t copies;       /* of the first: how many there are */
    uint32_t method;               /* a string's number; see index_string */
    uint16_t status;
    uint16_t files;  /* flowdir_files */
    uint8_t type;    /* enum flow_type */
    uint8_t version; /* as the record has it; 0: other than a number below 256, or HAR */
    uint8_t id_form : 1;
    uint8_t is_websocket : 1;
};

struct index_host {
    struct bytes name; /* of the directory */
    _Atomic uint32_t first, last;
    _Atomic uint32_t count;
    _Atomic int64_t newest; /* start of the newest flow, nanoseconds since the epoch */
};

struct index;

/* NULL with ENOMEM. Freed by index_close, harmless on NULL. */
struct index *index_open(struct flow_error *error);
void index_close(struct index *index);

/* Where a flow stands, for index_add. */
struct index_place {
    uint32_t capture;
    uint32_t number;
    uint64_t offset, size;
    uint32_t handshake; /* INDEX_NONE: it has none */
    int64_t version;    /* as the record has it; 0: HAR */
};

/* What the index takes in of a flow. The strings are borrowed. */
struct index_facts {
    struct bytes id, method;
    struct bytes site; /* flow_glance_site */
    double timestamp_start;
    int64_t status_code; /* 0: no response */
    enum flow_type type;
    uint16_t files; /* flowdir_files */
    bool is_websocket;
};

/* The facts of a glance, which lends its strings; the site is appended to `site`, which the facts
 * borrow from. ENOMEM: site->failed. */
struct index_facts index_facts_of_glance(const struct flow_glance *glance, struct buffer *site);

/* Adds a flow; one thread at a time. False with ENOMEM, or EOVERFLOW if the index is full. On
 * failure the index is as before. */
bool index_add_facts(struct index *index, const struct index_facts *facts,
                     const struct index_place *place, struct flow_error *error);

/* The same for a glance. */
bool index_add(struct index *index, const struct flow_glance *glance,
               const struct index_place *place, struct flow_error *error);

uint32_t index_flow_count(const struct index *index);
uint32_t index_host_count(const struct index *index);
int64_t index_newest(const struct index *index);

/* The flow or host of that number, which must be below the count. */
const struct index_flow *index_flow(const struct index *index, uint32_t flow);
const struct index_host *index_host(const struct index *index, uint32_t host);

/* Text of a string's number; empty if it was too long, or one of too many, to be kept. */
struct bytes index_string(const struct index *index, uint32_t string);

/* The name of the flow's directory in its host. */
void index_flow_name(const struct index *index, uint32_t flow, struct name *name);

/* INDEX_NONE if there is none of that name. */
uint32_t index_find_host(const struct index *index, struct bytes name);
uint32_t index_find_flow(const struct index *index, uint32_t host, struct bytes name);

/* The flow of `capture` whose record starts at `offset`, or INDEX_NONE. */
uint32_t index_find_offset(const struct index *index, uint32_t capture, uint64_t offset);

/* Bytes of memory that the index holds. */
size_t index_footprint(const struct index *index);

#endif
