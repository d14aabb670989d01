/* Memory that runs out when a test says so. A test that lists failing_memory.c among its `sources`
 * and links with `wrap_failing` (meson.build) has each malloc, calloc, realloc and reallocarray of
 * the project's code counted, and of strdup with --wrap=strdup, too:
 *
 *     int before = live;
 *     allocations = 0;
 *     fail_at = 3;            the third from here on fails, with ENOMEM
 *     ...                     what is tested
 *     fail_at = 0;
 *     assert_int_equal(live, before);
 *
 * What runs with fail_at = 0 tells, in `allocations`, how many there are to fail. Libraries linked
 * dynamically are left out: they call the real functions. */
#ifndef FLOWFS_TESTS_FAILING_MEMORY_H
#define FLOWFS_TESTS_FAILING_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Atomic: threads of what is tested may allocate, too. */
extern _Atomic size_t allocations; /* since the test set it to 0 */
extern _Atomic size_t fail_at;     /* the number of the allocation that fails; 0: none */
extern atomic_bool fail_all;       /* those that follow it fail, too */
extern _Atomic int live;           /* pieces of memory that are not freed yet, of all threads */

/* With `only_tested`, only the allocations of threads that have set their `is_tested` are counted
 * and fail: those of other threads come when they come, and would make the numbers vary. */
extern atomic_bool only_tested;
extern _Thread_local bool is_tested;

/* Counts an allocation, and says whether it is to fail; errno says why then, as malloc does. For
 * wrappers of a test's own. */
bool fails(void);

#endif
