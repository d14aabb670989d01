#include "pack_support.h"

#include "capture.h"
#include "tnet.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void folder_open(struct folder *folder)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/flowfs-pack-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder->path));
    folder->descriptor = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder->descriptor >= 0);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void folder_close(struct folder *folder)
{
    close(folder->descriptor);
    assert_int_equal(nftw(folder->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void folder_write(const struct folder *folder, const char *name, struct bytes content)
{
    if (strncmp(name, "messages/", 9) == 0)
        mkdirat(folder->descriptor, "messages", 0777);
    int file = openat(folder->descriptor, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(file >= 0);
    assert_int_equal(write(file, content.data, content.size), content.size);
    close(file);
}

struct buffer folder_read(const struct folder *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    return test_read_file(path);
}

bool folder_has(const struct folder *folder, const char *name)
{
    return faccessat(folder->descriptor, name, F_OK, 0) == 0;
}

void folder_remove(const struct folder *folder, const char *name)
{
    assert_int_equal(unlinkat(folder->descriptor, name, 0), 0);
}

void folder_rename(const struct folder *folder, const char *from, const char *to)
{
    assert_int_equal(renameat(folder->descriptor, from, folder->descriptor, to), 0);
}

void folder_edit(const struct folder *folder, const char *name, const char *from, const char *to)
{
    struct buffer text = folder_read(folder, name), edited = BUFFER_INIT;
    const uint8_t *place = memmem(text.data, text.size, from, strlen(from));
    if (!place)
        fail_msg("no \"%s\" in %s:\n%.*s", from, name, (int)text.size, (const char *)text.data);
    size_t before = (size_t)(place - text.data);
    size_t behind = before + strlen(from);
    buffer_append(&edited, text.data, before);
    buffer_append_text(&edited, to);
    buffer_append(&edited, text.data + behind, text.size - behind);
    assert_null(memmem(text.data + behind, text.size - behind, from, strlen(from)));
    folder_write(folder, name, buffer_bytes(&edited));
    buffer_free(&text);
    buffer_free(&edited);
}

void folder_unpack(struct folder *folder, struct buffer *text)
{
    struct test_file file;
    struct flow_error error = {0};
    struct capture_flow loaded;
    struct flowdir directory;
    struct capture_extent extent = {0, text->size};
    struct capture_extent none = {0, 0};
    folder_open(folder);
    test_file_open(&file, buffer_bytes(text));
    buffer_free(text);
    struct capture *capture = capture_open(file.path, &error);
    if (!capture || !capture_load(capture, extent, none, &loaded, &error) ||
        !flowdir_open(&directory, &loaded, capture, "test.mitm", 1, 1 << 20, &error) ||
        !flowdir_unpack(&directory, folder->descriptor, &error))
        fail_msg("%s", error.message);
    flowdir_close(&directory);
    capture_close(capture);
    test_file_close(&file);
}

struct packed packed_open(const struct folder *folder)
{
    struct flow_error error = {0};
    struct packed packed = {arena_new(), NULL};
    if (!flowdir_pack(folder->descriptor, packed.arena, &packed.state, &error))
        fail_msg("%s", error.message);
    return packed;
}

void packed_close(struct packed *packed)
{
    arena_free(packed->arena);
}

const struct value *packed_get(const struct packed *packed, const char *path)
{
    const struct value *value = packed->state;
    while (value && *path) {
        char name[64];
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, path);
        value = value->kind == VALUE_LIST ? value_item(value, strtoul(name, NULL, 10))
                                          : value_get(value, name);
        path += length + (path[length] == '.');
    }
    return value;
}

void support_assert_member(const struct folder *folder, const char *path, const char *expected,
                           const char *file, int line)
{
    struct packed packed = packed_open(folder);
    const struct value *value = packed_get(&packed, path);
    if (!value) {
        print_error("there is no %s\n", path);
        _fail(file, line);
    } else if (!expected) {
        _assert_int_equal(value->kind, VALUE_NULL, file, line);
    } else {
        support_assert_bytes(value->bytes, bytes_of(expected), file, line);
    }
    packed_close(&packed);
}

void support_assert_fields(const struct folder *folder, const char *path, const char *expected,
                           const char *file, int line)
{
    struct buffer shown = BUFFER_INIT;
    struct packed packed = packed_open(folder);
    const struct value *list = packed_get(&packed, path);
    for (const struct value *item = list ? list->first : NULL; item; item = item->next) {
        _assert_int_equal(item->count, 2, file, line);
        _assert_int_equal(item->first->kind, VALUE_BYTES, file, line);
        _assert_int_equal(item->last->kind, VALUE_BYTES, file, line);
        buffer_append_bytes(&shown, item->first->bytes);
        buffer_append_text(&shown, "=");
        buffer_append_bytes(&shown, item->last->bytes);
        buffer_append_text(&shown, "\n");
    }
    support_assert_bytes(buffer_bytes(&shown), bytes_of(expected), file, line);
    buffer_free(&shown);
    packed_close(&packed);
}

struct buffer folder_pack(const struct folder *folder)
{
    struct flow_error error = {0};
    struct buffer record = BUFFER_INIT;
    struct packed packed = packed_open(folder);
    if (!tnet_write(packed.state, &record, &error))
        fail_msg("%s", error.message);
    packed_close(&packed);
    return record;
}

void assert_mistake(const struct folder *folder, const char *message)
{
    struct flow_error error = {0};
    struct arena *arena = arena_new();
    struct value *state;
    assert_false(flowdir_pack(folder->descriptor, arena, &state, &error));
    assert_null(state);
    assert_string_equal(error.message, message);
    assert_int_equal(error.code, EBADMSG);
    arena_free(arena);
}
