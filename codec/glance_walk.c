#include "glance_walk.h"

#include <stdlib.h>

void glance_walk_init(struct glance_walk *walk, struct record *record, struct flow_error *error)
{
    *walk = (struct glance_walk){.record = record, .error = error};
    walk->need = record_tnet_need(record, &walk->need_storage);
    if (!walk->need)
        walk->text = record->text.data;
}

struct glance_piece glance_step_carefully(struct glance_walk *walk, size_t from, size_t end)
{
    struct tnet_element element;
    if (!tnet_element(walk->record->text, from, end, walk->record->offset, walk->need, &element,
                      walk->error))
        return (struct glance_piece){0};
    size_t at = from + element.content;
    size_t size = (size_t)element.size;
    return (struct glance_piece){at, size, at + size + 1, element.type};
}

static inline struct bytes content(struct glance_walk *walk, const struct glance_piece *piece,
                                   char type, char other_type)
{
    struct bytes text = {walk->record->text.data + piece->at, piece->size};
    if ((piece->type != type && piece->type != other_type) || piece->size > RECORD_LONG_STRING) {
        walk->unusual |= piece->type != '~';
        return bytes_make("", 0);
    }
    if (walk->need && !record_need(walk->record, piece->at, piece->size, walk->error))
        return bytes_make("", 0);
    return text;
}

struct bytes glance_string(struct glance_walk *walk, const struct glance_piece *piece)
{
    return content(walk, piece, ',', ';');
}

int64_t glance_integer(struct glance_walk *walk, const struct glance_piece *piece)
{
    int64_t number = 0;
    struct bytes digits = content(walk, piece, '#', '#');
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9' || i == 18) {
            walk->unusual = true;
            return 0;
        }
        number = number * 10 + (digits.data[i] - '0');
    }
    return number;
}

double glance_time(struct glance_walk *walk, const struct glance_piece *piece)
{
    char text[40];
    char *end;
    struct bytes digits = content(walk, piece, '#', '^');
    if (!digits.size || digits.size >= sizeof text)
        return 0;
    double seconds;
    if (value_short_decimal(digits, &seconds))
        return seconds;
    memcpy(text, digits.data, digits.size);
    text[digits.size] = '\0';
    seconds = strtod(text, &end);
    return *end ? 0 : seconds;
}
