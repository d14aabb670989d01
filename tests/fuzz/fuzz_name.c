/* Two names from any bytes: the first byte tells where the second starts. What differs gets names
 * that differ. */
#include "harness.h"
#include "name.h"

static void check(const struct name *name)
{
    struct bytes text = name_bytes(name);
    HOLDS(name->size > 0 && name->size <= NAME_LONGEST);
    HOLDS(strlen(name->text) == name->size);
    HOLDS(name->text[0] != '.' && name->text[0] != '@');
    HOLDS(bytes_are_utf8(text));
    for (size_t i = 0; i < text.size; i++)
        HOLDS(text.data[i] >= 0x20 && text.data[i] != 0x7F && text.data[i] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct name first, second;
    if (size < 3)
        return 0;
    size_t split = data[0] % (size - 2);
    uint32_t first_copy = 1 + data[1] % 16;
    uint32_t second_copy = 1 + data[1] / 16;
    struct bytes all = guarded(data + 2, size - 2);
    struct bytes a = bytes_make(all.data, split);
    struct bytes b = bytes_make(all.data + split, all.size - split);
    name_make(&first, a, first_copy);
    name_make(&second, b, second_copy);
    check(&first);
    check(&second);
    /* Nothing at all is called `unknown`: there the index counts. */
    bool same = (bytes_equal(a, b) || !a.size || !b.size) && first_copy == second_copy;
    if (!same && a.size && b.size)
        HOLDS(strcmp(first.text, second.text) != 0);
    return 0;
}
