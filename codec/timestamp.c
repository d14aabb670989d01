#include "timestamp.h"

#include <math.h>
#include <time.h>

int64_t timestamp_microseconds(double seconds)
{
    if (!(fabs(seconds) < 9e9))
        return 0;
    /* As Python's datetime does it: the fraction by itself has more digits than the product. */
    double whole = floor(seconds);
    return (int64_t)whole * 1000000 + (int64_t)rint((seconds - whole) * 1e6);
}

struct timestamp timestamp_split(int64_t microseconds)
{
    struct tm parts = {0};
    int64_t fraction = (microseconds % 1000000 + 1000000) % 1000000;
    time_t whole = (time_t)((microseconds - fraction) / 1000000);
    gmtime_r(&whole, &parts);
    return (struct timestamp){
        .year = (unsigned)(parts.tm_year + 1900),
        .month = (unsigned)parts.tm_mon + 1,
        .day = (unsigned)parts.tm_mday,
        .hour = (unsigned)parts.tm_hour,
        .minute = (unsigned)parts.tm_min,
        .second = (unsigned)parts.tm_sec,
        .microsecond = (unsigned)fraction,
    };
}

void timestamp_append_padded(struct buffer *out, uint64_t number, unsigned digits)
{
    char text[20];
    unsigned size = 0;
    do {
        text[sizeof text - ++size] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (; digits > size; digits--)
        buffer_append_byte(out, '0');
    buffer_append(out, text + sizeof text - size, size);
}

void timestamp_append_milliseconds(struct buffer *out, int64_t microseconds)
{
    uint64_t size = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;
    if (microseconds < 0)
        buffer_append_byte(out, '-');
    buffer_append_unsigned(out, size / 1000);
    buffer_append_byte(out, '.');
    timestamp_append_padded(out, size % 1000, 3);
}

void timestamp_append(struct buffer *out, double seconds)
{
    struct timestamp time = timestamp_split(timestamp_microseconds(seconds));
    const struct {
        unsigned number, digits;
        char end;
    } fields[] = {
        {time.year, 4, '-'},        {time.month, 2, '-'},  {time.day, 2, 'T'},
        {time.hour, 2, ':'},        {time.minute, 2, ':'}, {time.second, 2, '.'},
        {time.microsecond, 6, 'Z'},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        timestamp_append_padded(out, fields[i].number, fields[i].digits);
        buffer_append_byte(out, (uint8_t)fields[i].end);
    }
}
