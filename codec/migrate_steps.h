/* What the steps of migrate.h have in common; for migrate*.c only. */
#ifndef FLOWFS_CODEC_MIGRATE_STEPS_H
#define FLOWFS_CODEC_MIGRATE_STEPS_H

#include "migrate.h"

/* A migration under way. A step returns false with the error set. */
struct migration {
    struct value *flow;
    struct value *handshake; /* see migrate() */
    struct arena *arena;
    struct flow_error *error;
};

typedef bool migrate_step(struct migration *migration);

/* Versions as one number: plain ones are themselves, pairs are MIGRATE_PAIR. */
#define MIGRATE_PAIR(major, minor) (1000 + 100 * (major) + (minor))

struct migrate_entry {
    int64_t from;
    migrate_step *step;
};

/* The tables, each ending in an entry without a step. */
extern const struct migrate_entry migrate_old_table[]; /* (0, 11) to (3, 0): migrate_old.c */
extern const struct migrate_entry migrate_int_table[]; /* 4 to 20: migrate_int.c */

/* Takes migration->flow, which a step may replace, to version `target` (a plain one). */
bool migrate_to(struct migration *migration, int64_t target);

/* The member, which must be a dict: NULL with EBADMSG if it is not. */
struct value *migrate_need_dict(struct migration *migration, const struct value *dict,
                                const char *key);

/* Sets a member; `member` NULL is taken for an allocation that failed. */
bool migrate_set(struct migration *migration, struct value *dict, const char *key,
                 struct value *member);
bool migrate_set_null(struct migration *migration, struct value *dict, const char *key);

/* Renames a member, which moves to the end as it does in Python; a missing one becomes null. */
bool migrate_rename(struct migration *migration, struct value *dict, const char *old_name,
                    const char *new_name);

/* Makes bytes text; those that are no UTF-8 (`ascii`: no ASCII) become \xNN, as with Python's
 * "backslashreplace". What is not bytes, or was left in the capture, stays as it is. */
bool migrate_decode(struct migration *migration, struct value *value, bool ascii);

/* Sets the version that the flow now has. */
bool migrate_set_version(struct migration *migration, int64_t version);
bool migrate_set_version_list(struct migration *migration, const int64_t *parts, size_t count);

/* Calls `convert` for the server's connection and the one it goes through (`via`), if any. */
bool migrate_servers(struct migration *migration,
                     bool (*convert)(struct migration *migration, struct value *server));

/* migrate_servers, and the client's. */
bool migrate_connections(struct migration *migration,
                         bool (*convert)(struct migration *migration, struct value *connection));

#endif
