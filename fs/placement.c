#include "placement.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Looking where the caller runs costs as much as a request: once in so many is not noticed. */
#define LOOK_EVERY 64u

/* So many requests of others, between two looks, and the caller is not alone. */
#define OTHERS_LIMIT 16u

/* Who reads this much at a time has work for two CPUs. */
#define LARGE ((size_t)128 * 1024)

#define EVERYWHERE (-1)

/* Where this worker has put itself. */
static _Thread_local int own_cpu = EVERYWHERE;

void placement_init(struct placement *placement)
{
    CPU_ZERO(&placement->everywhere);
    placement->enabled =
        sched_getaffinity(0, sizeof placement->everywhere, &placement->everywhere) == 0 &&
        CPU_COUNT(&placement->everywhere) > 1;
    atomic_init(&placement->caller, 0);
    atomic_init(&placement->streak, 0);
    atomic_init(&placement->others, 0);
    atomic_init(&placement->cpu, EVERYWHERE);
}

/* The CPU on which a thread ran last: the 39th field of /proc/TID/stat (proc(5)), counted from
 * behind the name, which may hold anything. EVERYWHERE if it cannot be told. */
static int cpu_of(pid_t thread)
{
    char path[32];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)thread);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return EVERYWHERE;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0)
        return EVERYWHERE;
    text[size] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 39; field++)
        at = strchr(at + 1, ' ');
    return at ? atoi(at + 1) : EVERYWHERE;
}

static void go(const struct placement *placement, int cpu)
{
    cpu_set_t set = placement->everywhere;
    if (cpu != EVERYWHERE) {
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
    }
    /* It may be refused where CPUs come and go; then the worker stays where it is. */
    sched_setaffinity(0, sizeof set, &set);
    own_cpu = cpu;
}

static void count(struct placement *placement, pid_t caller)
{
    if (atomic_load_explicit(&placement->caller, memory_order_relaxed) != caller) {
        if (atomic_fetch_add_explicit(&placement->others, 1, memory_order_relaxed) < OTHERS_LIMIT)
            return;
        atomic_store_explicit(&placement->cpu, EVERYWHERE, memory_order_relaxed);
        atomic_store_explicit(&placement->caller, caller, memory_order_relaxed);
        atomic_store_explicit(&placement->streak, 0, memory_order_relaxed);
        atomic_store_explicit(&placement->others, 0, memory_order_relaxed);
        return;
    }
    unsigned streak = atomic_fetch_add_explicit(&placement->streak, 1, memory_order_relaxed) + 1;
    if (streak % LOOK_EVERY == 0) {
        int cpu = cpu_of(caller);
        bool usable =
            cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET((size_t)cpu, &placement->everywhere);
        atomic_store_explicit(&placement->cpu, usable ? cpu : EVERYWHERE, memory_order_relaxed);
        atomic_store_explicit(&placement->others, 0, memory_order_relaxed);
    }
}

void placement_note(struct placement *placement, pid_t caller, size_t size)
{
    if (!placement->enabled)
        return;
    if (size >= LARGE) {
        atomic_store_explicit(&placement->streak, 0, memory_order_relaxed);
        atomic_store_explicit(&placement->cpu, EVERYWHERE, memory_order_relaxed);
    } else {
        count(placement, caller);
    }
    int cpu = atomic_load_explicit(&placement->cpu, memory_order_relaxed);
    if (cpu != own_cpu)
        go(placement, cpu);
}
