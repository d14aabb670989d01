/* What the tests of the stage share: a stage over a new folder, and requests as the kernel would
 * make them. What the kernel would know is noted, and forgotten at the end: then nothing may be
 * left. */
#ifndef FLOWFS_TESTS_STAGE_SUPPORT_H
#define FLOWFS_TESTS_STAGE_SUPPORT_H

#include "sets_support.h"

#include "stage.h"

struct staged {
    struct folder folder;
    struct stage *stage;
    struct stage_node *top;
    _Atomic int changes;       /* how often the kernel was told that the top has changed */
    struct stage_node **known; /* a lookup each */
    size_t known_count;
    int descriptors; /* that were open before */
};

/* For cmocka; shared: as with --staging. */
int staged_open(void **state);
int staged_open_shared(void **state);
int staged_close(void **state);

/* One lookup more, to be forgotten at the end. */
struct stage_node *staged_know(struct staged *staged, struct stage_node *node);
void staged_forget(struct staged *staged, struct stage_node *node);
void staged_forget_all(struct staged *staged);

/* How many nodes there are, the top included. */
size_t staged_count(const struct staged *staged);

/* Fail the test where the stage fails. parent NULL: the top. */
struct stage_node *staged_find(struct staged *staged, struct stage_node *parent, const char *name);
struct stage_node *staged_make(struct staged *staged, struct stage_node *parent, const char *name,
                               mode_t mode);
struct stage_node *staged_folder(struct staged *staged, struct stage_node *parent,
                                 const char *name);
struct stat staged_status(struct staged *staged, struct stage_node *node);

/* The error of a lookup; 0: it was found (and is forgotten). */
int staged_look(struct staged *staged, struct stage_node *parent, const char *name);
int staged_remove(struct staged *staged, struct stage_node *parent, const char *name, bool folder);
int staged_rename(struct staged *staged, struct stage_node *parent, const char *name,
                  struct stage_node *new_parent, const char *new_name, unsigned flags);

/* Makes the text the whole content. */
void staged_write(struct staged *staged, struct stage_node *node, const char *text);
/* Freed by buffer_free. */
struct buffer staged_read(struct staged *staged, struct stage_node *node);
void assert_staged(struct staged *staged, struct stage_node *node, const char *text);

/* What a listing has, sorted, with spaces between; without `.` and `..`. */
const char *staged_names(struct staged *staged, struct stage_node *folder);

/* A flow as SET/NAME, whose folders are made as the kernel would. */
void staged_add_flow(struct staged *staged, const char *set, const char *name);

/* Another request line in that flow: one without URL is a mistake. */
void staged_edit_flow(struct staged *staged, const char *set, const char *name, const char *line);

#endif
