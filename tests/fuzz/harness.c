#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

static uint8_t *mapped;
static size_t mapped_size;

struct bytes guarded(const uint8_t *data, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (size + page - 1) / page * page + page;
    if (mapped)
        munmap(mapped, mapped_size);
    mapped_size = room + page;
    mapped = mmap(NULL, mapped_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED || mprotect(mapped + room, page, PROT_NONE) < 0) {
        perror("guard page");
        abort();
    }
    if (size)
        memcpy(mapped + room - size, data, size);
    return bytes_make(mapped + room - size, size);
}
