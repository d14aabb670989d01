#include "control.h"

#include "control_text.h"
#include "spool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* How often we look whether somebody still waits: in flows, in nanoseconds. */
#define FLOWS_A_LOOK 16
#define LOOK_EVERY 100000000

/* Files that are kept for the next one who asks. */
#define KEPT 64

#define LONGEST_LOG ((size_t)1 << 20)

struct entry {
    struct control_content content; /* first: it is what the caller holds */
    uint64_t number;                /* of the inode */
    uint32_t flows;                 /* in the index when it was made */
    size_t log_size;                /* likewise, of the log */
    unsigned users;                 /* under the control's lock */
    bool linked;                    /* it can still be found */
    bool made;
    pthread_mutex_t lock; /* held while it is made */
    struct entry *newer, *older;
};

struct control {
    const struct collection *collection;
    struct views *views;
    int64_t format_version;
    control_abandoned *abandoned; /* or NULL */
    void *abandoned_context;
    pthread_mutex_t lock;
    struct entry *newest, *oldest;
    unsigned count;
    struct buffer log;
    size_t noted; /* bytes that were ever noted */
    uint32_t lines;
};

struct control *control_open(const struct collection *collection, int64_t format_version,
                             struct flow_error *error)
{
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        flow_error_memory(error);
        return NULL;
    }
    control->collection = collection;
    control->format_version = format_version;
    pthread_mutex_init(&control->lock, NULL);
    return control;
}

void control_set_views(struct control *control, struct views *views)
{
    control->views = views;
}

void control_set_abandoned(struct control *control, control_abandoned *abandoned, void *context)
{
    control->abandoned = abandoned;
    control->abandoned_context = context;
}

/* False, with the error set, if there is nobody who waits. */
static bool is_waited_for(const struct control *control, struct flow_error *error)
{
    if (!control->abandoned || !control->abandoned(control->abandoned_context))
        return true;
    flow_error_set(error, EINTR, FLOW_ERROR_NO_OFFSET, "who asked for it waits no more");
    return false;
}

static void free_entry(struct entry *entry)
{
    if (entry->content.descriptor >= 0)
        close(entry->content.descriptor);
    control_runs_close(entry->content.runs);
    pthread_mutex_destroy(&entry->lock);
    free(entry);
}

void control_close(struct control *control)
{
    if (!control)
        return;
    for (struct entry *entry = control->newest; entry;) {
        struct entry *older = entry->older;
        free_entry(entry);
        entry = older;
    }
    pthread_mutex_destroy(&control->lock);
    buffer_free(&control->log);
    free(control);
}

void control_note(struct control *control, const char *line)
{
    pthread_mutex_lock(&control->lock);
    struct buffer *log = &control->log;
    size_t size = strlen(line) + 1;
    if (log->size + size > LONGEST_LOG && log->size) {
        /* The older half goes, up to the end of a line. */
        const uint8_t *end = memchr(log->data + log->size / 2, '\n', log->size - log->size / 2);
        size_t dropped = end ? (size_t)(end - log->data) + 1 : log->size;
        memmove(log->data, log->data + dropped, log->size - dropped);
        log->size -= dropped;
    }
    buffer_append_text(log, line);
    buffer_append_byte(log, '\n');
    log->failed = false; /* a line that was lost to memory is no reason to lose the next */
    control->noted += size;
    control->lines++;
    pthread_mutex_unlock(&control->lock);
}

uint32_t control_errors_version(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    uint32_t version = control->lines;
    pthread_mutex_unlock(&control->lock);
    return version;
}

static void unlink_entry(struct control *control, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &control->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &control->oldest) = entry->newer;
    entry->linked = false;
    control->count--;
}

static void link_newest(struct control *control, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = control->newest;
    *(control->newest ? &control->newest->newer : &control->oldest) = entry;
    control->newest = entry;
    entry->linked = true;
    control->count++;
}

/* What a flow's file shows never changes; errors come and flows are added. */
static bool is_current(const struct control *control, const struct entry *entry,
                       const struct inode *inode)
{
    if (inode->owner == CONTROL_OF_FLOW)
        return true;
    if (inode->control == CONTROL_ERRORS)
        return entry->log_size == control->noted;
    return entry->flows == index_flow_count(collection_index(control->collection));
}

static uint64_t number_of(const struct inode *inode)
{
    return inode_of_control(inode);
}

/* The entry, which may have to be made yet; the caller is one of its users. */
static struct entry *find_or_add(struct control *control, const struct inode *inode)
{
    uint64_t number = number_of(inode);
    struct entry *entry = control->newest;
    while (entry && entry->number != number)
        entry = entry->older;
    if (entry) {
        unlink_entry(control, entry);
        if (is_current(control, entry, inode)) {
            link_newest(control, entry);
            entry->users++;
            return entry;
        }
        if (!entry->users)
            free_entry(entry);
    }
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->content.descriptor = -1;
    entry->number = number;
    entry->flows = index_flow_count(collection_index(control->collection));
    entry->log_size = control->noted;
    entry->users = 1;
    pthread_mutex_init(&entry->lock, NULL);
    link_newest(control, entry);
    return entry;
}

static void shrink(struct control *control)
{
    struct entry *entry = control->oldest;
    while (entry && control->count > KEPT) {
        struct entry *newer = entry->newer;
        if (!entry->users) {
            unlink_entry(control, entry);
            free_entry(entry);
        }
        entry = newer;
    }
}

struct order {
    int64_t start;
    uint32_t flow;
};

static int compare(const void *a, const void *b)
{
    const struct order *first = a;
    const struct order *second = b;
    if (first->start != second->start)
        return first->start < second->start ? -1 : 1;
    return first->flow < second->flow ? -1 : first->flow > second->flow;
}

/* The numbers of the owner's flows, in capture order; freed by the caller. */
static uint32_t *find_flows(const struct control *control, const struct inode *inode,
                            uint32_t *count, struct flow_error *error)
{
    const struct index *index = collection_index(control->collection);
    bool of_host = inode->owner == CONTROL_OF_HOST;
    const struct index_host *host = of_host ? index_host(index, inode->number) : NULL;
    uint32_t all = of_host ? atomic_load(&host->count) : index_flow_count(index);
    if (inode->owner == CONTROL_OF_VIEW)
        return views_flows(control->views, inode_place(inode), count, error);
    uint32_t *flows = malloc(((size_t)all + 1) * sizeof *flows);
    *count = 0;
    if (!flows) {
        flow_error_memory(error);
        return NULL;
    }
    uint32_t next = of_host ? atomic_load_explicit(&host->first, memory_order_acquire) : 0;
    while (*count < all && next != INDEX_NONE) {
        flows[(*count)++] = next;
        next = of_host ? atomic_load_explicit(&index_flow(index, next)->next_in_host,
                                              memory_order_acquire)
                       : next + 1;
    }
    return flows;
}

/* Brings them in order of start time; those of one time stay in capture order. */
static bool sort_flows(const struct index *index, uint32_t *flows, uint32_t count,
                       struct flow_error *error)
{
    bool sorted = true;
    for (uint32_t i = 1; i < count && sorted; i++)
        sorted = index_flow(index, flows[i - 1])->start <= index_flow(index, flows[i])->start;
    if (sorted)
        return true;
    struct order *ordered = malloc(count * sizeof *ordered);
    if (!ordered)
        return flow_error_memory(error);
    for (uint32_t i = 0; i < count; i++)
        ordered[i] = (struct order){index_flow(index, flows[i])->start, flows[i]};
    qsort(ordered, count, sizeof *ordered, compare);
    for (uint32_t i = 0; i < count; i++)
        flows[i] = ordered[i].flow;
    free(ordered);
    return true;
}

/* The numbers of the owner's flows as a file shows them; freed by the caller. */
static uint32_t *order_flows(const struct control *control, const struct inode *inode,
                             uint32_t *count, struct flow_error *error)
{
    uint32_t *flows = find_flows(control, inode, count, error);
    if (flows && sort_flows(collection_index(control->collection), flows, *count, error))
        return flows;
    free(flows);
    return NULL;
}

static bool convert_flows(const struct control *control, const uint32_t *flows, uint32_t count,
                          struct convert *convert, struct flow_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        struct convert_flow flow = collection_convert_flow(control->collection, flows[i]);
        if ((i % FLOWS_A_LOOK == 0 && !is_waited_for(control, error)) ||
            !convert_add(convert, &flow, NULL, error))
            return false;
    }
    return true;
}

/* A flow that lacks what the export shows has no such file. */
static bool is_left_out(const struct inode *inode, const struct convert *convert,
                        struct flow_error *error)
{
    if (inode->control <= CONTROL_STATS_TXT || !convert_left_out(convert))
        return false;
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "the flow has no %s",
                   control_file_name(inode->control));
    return true;
}

static bool write_flows(const struct control *control, const struct inode *inode,
                        const uint32_t *flows, uint32_t count, struct sink *sink,
                        struct flow_error *error)
{
    bool gzip;
    struct convert_options options = {
        .format = control_file_format(inode->control, &gzip),
        .version = control->format_version,
    };
    struct convert *convert = convert_open(&options, sink, error);
    bool done = convert && convert_flows(control, flows, count, convert, error) &&
                !is_left_out(inode, convert, error) && convert_end(convert, error);
    convert_close(convert);
    return done;
}

static bool write_text(struct control *control, enum control_file file, struct sink *sink,
                       struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    if (file == CONTROL_CAPTURES) {
        control_append_captures(control->collection, &text);
    } else if (file == CONTROL_README) {
        buffer_append_text(&text, control_readme);
    } else {
        pthread_mutex_lock(&control->lock);
        buffer_append_bytes(&text, buffer_bytes(&control->log));
        pthread_mutex_unlock(&control->lock);
    }
    bool done =
        text.failed ? flow_error_memory(error) : sink_write(sink, buffer_bytes(&text), error);
    buffer_free(&text);
    return done;
}

/* Writes the file; flows: NULL if it shows none. */
static bool spool(struct control *control, const struct inode *inode, const uint32_t *flows,
                  uint32_t count, struct control_content *content, struct flow_error *error)
{
    bool gzip;
    control_file_format(inode->control, &gzip);
    content->descriptor = spool_open(control_file_name(inode->control), error);
    if (content->descriptor < 0)
        return false;
    struct sink *sink = sink_open_descriptor(content->descriptor, gzip, error);
    bool done = sink &&
                (flows ? write_flows(control, inode, flows, count, sink, error)
                       : write_text(control, inode->control, sink, error)) &&
                sink_finish(sink, error);
    sink_close(sink);
    off_t size = lseek(content->descriptor, 0, SEEK_END);
    content->size = size > 0 ? (uint64_t)size : 0;
    if (!done) {
        close(content->descriptor);
        content->descriptor = -1; /* for the next one, who may have more patience */
    }
    return done;
}

static bool make_of_flows(struct control *control, const struct inode *inode,
                          struct control_content *content, struct flow_error *error)
{
    uint32_t one = inode->number;
    uint32_t count = 1;
    uint32_t *flows =
        inode->owner == CONTROL_OF_FLOW ? &one : order_flows(control, inode, &count, error);
    if (flows && inode->control == CONTROL_FLOWS_MITM)
        content->runs =
            control_runs_open(control->collection, flows, count, control->format_version, error);
    if (content->runs)
        content->size = control_runs_size(content->runs);
    bool done = flows && !error->code &&
                (content->runs || spool(control, inode, flows, count, content, error));
    if (flows != &one)
        free(flows);
    return done;
}

static bool make(struct control *control, const struct inode *inode,
                 struct control_content *content, struct flow_error *error)
{
    bool gzip;
    return control_file_format(inode->control, &gzip) == CONVERT_FORMATS
               ? spool(control, inode, NULL, 0, content, error)
               : make_of_flows(control, inode, content, error);
}

bool control_read(const struct control_content *content, uint64_t offset, size_t size,
                  void *scratch, struct cached_piece *piece, struct flow_error *error)
{
    uint64_t left = offset < content->size ? content->size - offset : 0;
    *piece = (struct cached_piece){
        .descriptor = left ? content->descriptor : -1,
        .offset = offset,
        .size = left < size ? (size_t)left : size,
    };
    return !left || !content->runs ||
           control_runs_read(content->runs, offset, piece->size, scratch, piece, error);
}

/* Takes the entry's lock, which another may have while making it. */
static bool wait_for(const struct control *control, struct entry *entry, struct flow_error *error)
{
    struct timespec until;
    do {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_EVERY;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        if (pthread_mutex_timedlock(&entry->lock, &until) == 0)
            return true;
    } while (is_waited_for(control, error));
    return false;
}

const struct control_content *control_get(struct control *control, const struct inode *inode,
                                          struct flow_error *error)
{
    pthread_mutex_lock(&control->lock);
    struct entry *entry = find_or_add(control, inode);
    shrink(control);
    pthread_mutex_unlock(&control->lock);
    if (!entry) {
        flow_error_memory(error);
        return NULL;
    }
    bool made = false;
    bool locked = wait_for(control, entry, error);
    if (locked) {
        made = entry->made || make(control, inode, &entry->content, error);
        entry->made = made;
        pthread_mutex_unlock(&entry->lock);
    }
    if (made)
        return &entry->content;
    flow_error_set(error, EIO, FLOW_ERROR_NO_OFFSET, "%s could not be made",
                   control_file_name(inode->control));
    pthread_mutex_lock(&control->lock);
    if (locked && entry->linked)
        unlink_entry(control, entry); /* the next one who asks tries again */
    pthread_mutex_unlock(&control->lock);
    control_release(control, &entry->content);
    return NULL;
}

void control_release(struct control *control, const struct control_content *content)
{
    struct entry *entry = (struct entry *)(uintptr_t)content;
    pthread_mutex_lock(&control->lock);
    bool last = --entry->users == 0 && !entry->linked;
    pthread_mutex_unlock(&control->lock);
    if (last)
        free_entry(entry);
}

void control_visit(struct control *control, void (*visit)(void *context, uint64_t inode),
                   void *context)
{
    uint64_t numbers[2 * KEPT];
    unsigned count = 0;
    pthread_mutex_lock(&control->lock);
    for (struct entry *entry = control->newest; entry && count < 2 * KEPT; entry = entry->older)
        numbers[count++] = entry->number;
    pthread_mutex_unlock(&control->lock);
    for (unsigned i = 0; i < count; i++)
        visit(context, numbers[i]);
}
