#include "failing_memory.h"

#include <errno.h>
#include <string.h>

_Atomic size_t allocations, fail_at;
atomic_bool fail_all, only_tested;
_Atomic int live;
_Thread_local bool is_tested;

/* --wrap at linking sends calls of malloc to __wrap_malloc, and of __real_malloc to malloc. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

bool fails(void)
{
    if (only_tested && !is_tested)
        return false;
    size_t number = ++allocations;
    size_t failing_from = fail_at;
    bool failing = failing_from && (fail_all ? number >= failing_from : number == failing_from);
    if (failing)
        errno = ENOMEM;
    return failing;
}

void *__wrap_malloc(size_t size)
{
    void *memory = fails() ? NULL : __real_malloc(size);
    live += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = fails() ? NULL : __real_calloc(count, size);
    live += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails())
        return NULL;
    live += memory == NULL;
    return __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    if (fails())
        return NULL;
    live += memory == NULL;
    return __real_reallocarray(memory, count, size);
}

/* By way of malloc, not of __real_strdup: tests that do not wrap strdup would not link. */
char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

void __wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}
