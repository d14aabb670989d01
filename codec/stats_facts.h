/* The inside of struct stats, for what fills it (stats.c) and what shows it (stats_render.c). */
#ifndef FLOWFS_CODEC_STATS_FACTS_H
#define FLOWFS_CODEC_STATS_FACTS_H

#include "stats.h"
#include "tally.h"

/* How many flows the lists of extremes hold. */
#define STATS_EXTREMES 10

/* A flow among the slowest or largest. */
struct stats_extreme {
    uint64_t measure; /* microseconds, or bytes */
    struct bytes id, url;
};

struct stats_extremes {
    struct stats_extreme flows[STATS_EXTREMES]; /* the highest measure first */
    size_t count;
};

/* Bytes one way. */
struct stats_traffic {
    uint64_t wire, decoded;
};

struct stats {
    struct arena *arena;
    uint64_t flows, errors;
    double first, last; /* seconds since the epoch; 0: no flow has a time */
    struct tally types, methods, statuses, hosts, content_types, error_messages;
    struct stats_traffic request, response;
    struct {
        uint64_t count, size;
    } from_client, from_server; /* messages of WebSocket, TCP and UDP */
    int64_t *durations;         /* microseconds */
    size_t duration_count, duration_capacity;
    struct stats_extremes slowest, largest;
};

#endif
