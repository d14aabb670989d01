/* Types: what was edited must be a flow that mitmproxy can read. flow_shape.h tells what that is,
 * and why what was captured otherwise is none of our business. */
#include "packing.h"

#include "flow_shape.h"
#include "json_parse.h"

#include <stdio.h>

struct checking {
    const struct packing *packing;
    enum flowdir_file file; /* the values are of this one */
    struct bytes text;      /* its content */
};

bool packing_may_be_odd(const struct packing *packing, const char *path)
{
    const struct value *odd = packing_note(packing, "odd");
    const struct value *item = value_is(odd, VALUE_LIST) ? odd->first : NULL;
    while (item && !bytes_equal_text(value_string(item), path))
        item = item->next;
    return item != NULL;
}

/* file:line:column of the value, or of what should hold it. */
static void place_of(const struct checking *checking, const struct flow_shape_oddity *oddity,
                     char place[96])
{
    size_t line, column;
    const struct value *value = oddity->value ? oddity->value : oddity->holder;
    const char *name = flowdir_file_name(checking->file);
    snprintf(place, 96, "%s", name);
    if (value->offset == VALUE_NO_OFFSET)
        return;
    json_parse_place(checking->text, value->offset, &line, &column);
    snprintf(place, 96, "%s:%zu:%zu", name, line, column);
}

static bool tell(void *context, const struct flow_shape_oddity *oddity)
{
    const struct checking *checking = context;
    char place[96];
    if (packing_may_be_odd(checking->packing, oddity->path))
        return true;
    place_of(checking, oddity, place);
    const char *found = oddity->value ? flow_shape_found(oddity->value) : "none";
    return packing_mistake(checking->packing, place, 0, "%s: found %s, expected %s", oddity->path,
                           found, oddity->expected);
}

bool packing_check(const struct packing *packing)
{
    struct checking checking = {packing, FLOWDIR_FLOW, packing->json};
    return flow_shape_check(packing->state, tell, &checking);
}

bool packing_check_dns(const struct packing *packing, enum flowdir_file file,
                       const struct value *message, struct bytes text)
{
    struct checking checking = {packing, file, text};
    return flow_shape_check_dns(message, file == FLOWDIR_QUERY ? "request" : "response", tell,
                                &checking);
}
