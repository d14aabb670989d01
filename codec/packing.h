/* What the rooms share that pack a flow's directory (flowdir_pack.h): the files read so far, the
 * flow being made, and how a mistake is told. Used by flowdir_pack.c and packing_*.c alone. */
#ifndef FLOWFS_CODEC_PACKING_H
#define FLOWFS_CODEC_PACKING_H

#include "flowdir_form.h"
#include "flowdir_notes.h"

struct packing {
    int directory;
    struct arena *arena;
    struct flow_error *error;
    uint16_t files;            /* those that are there: flowdir_bit, FLOWDIR_MESSAGES_BIT */
    bool by_hand;              /* what is missing gets defaults */
    struct bytes json;         /* flow.json */
    struct value *state;       /* being made */
    const struct value *notes; /* flowdir_notes.h; NULL: none */
};

/* packing.c */

/* Tells a mistake: `file:line: ...`, without the line if it is 0. Always returns false. */
bool packing_mistake(const struct packing *packing, const char *file, size_t line,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same of a value in flow.json. value: NULL if it is the file as a whole. */
bool packing_json_mistake(const struct packing *packing, const struct value *value,
                          const char *format, ...) __attribute__((format(printf, 3, 4)));

/* An excerpt that can stand in a message. */
#define PACKING_EXCERPT 48
const char *packing_excerpt(struct bytes text, char excerpt[PACKING_EXCERPT]);

/* Finds which files there are. */
bool packing_list(struct packing *packing);

bool packing_has(const struct packing *packing, enum flowdir_file file);

/* Reads a file of `directory` into the arena; shown: its name in messages. *seconds is the time of
 * its last change (may be NULL). */
bool packing_read_at(const struct packing *packing, int directory, const char *name,
                     const char *shown, struct bytes *content, double *seconds);
bool packing_read(const struct packing *packing, enum flowdir_file file, struct bytes *content);

/* When a file was last changed, in seconds since the epoch; 0 if it is not there. */
double packing_time(const struct packing *packing, enum flowdir_file file);

/* Reads a JSON file. */
struct value *packing_read_json(const struct packing *packing, enum flowdir_file file,
                                struct bytes *text);

/* The note of that name, or NULL. */
const struct value *packing_note(const struct packing *packing, const char *name);

/* Puts a member into one of the dicts that have members in files, in its place. */
bool packing_put(const struct packing *packing, struct value *dict, enum flowdir_dict which,
                 const char *key, struct value *member);

/* Whether the dict had that member, if it was written here; true for one made by hand. */
bool packing_had(const struct packing *packing, enum flowdir_dict which, const char *key);

/* One side of an HTTP flow. */
struct packing_side {
    struct value *dict;
    enum flowdir_dict which; /* FLOWDIR_REQUEST or FLOWDIR_RESPONSE */
    enum flowdir_file headers, body, raw, trailers;
    const char *content_note;
    bool made; /* the message is not in flow.json */
};

/* packing_lines.c: start line, fields and trailers of one side. */
bool packing_headers(const struct packing *packing, const struct packing_side *side);
bool packing_trailers(const struct packing *packing, const struct packing_side *side);

/* packing_target.c: takes the target of an edited request line apart, into path, authority, scheme,
 * host and port. The method and version have been put. */
bool packing_target(const struct packing *packing, const struct packing_side *side,
                    struct bytes target);

/* packing_body.c: content, and Content-Length with it. The fields have been put. */
bool packing_content(const struct packing *packing, const struct packing_side *side);

/* packing_messages.c: WebSocket, TCP, UDP. */
bool packing_messages(const struct packing *packing);

/* packing_check.c: the types of the flow's members, when all of them are there; of a DNS message,
 * which has a file to itself. */
bool packing_check(const struct packing *packing);
bool packing_check_dns(const struct packing *packing, enum flowdir_file file,
                       const struct value *message, struct bytes text);

/* Whether the member at that path was captured with a type of its own, or not at all. */
bool packing_may_be_odd(const struct packing *packing, const char *path);

/* packing_defaults.c: fills what is missing of a flow made by hand, whose type is known. */
bool packing_defaults(struct packing *packing, const char *type);

/* A response without what its files tell, a WebSocket's data; NULL if there is no memory. */
struct value *packing_default_response(const struct packing *packing);
struct value *packing_default_websocket(const struct packing *packing);

/* Adds what is missing of a WebSocket's data, of a DNS message. */
bool packing_fill_websocket(const struct packing *packing);
bool packing_fill_dns(const struct packing *packing, struct value *message, bool is_query);

#endif
