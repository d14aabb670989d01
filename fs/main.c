/* flowfs: reads the command line, indexes the captures, mounts, and serves until it is unmounted.
 *
 * The command returns when the mount can be used. The process that serves is its child: it tells
 * how it went through a pipe, and the exit code is the same as in the foreground. */
#include "ll.h"

#include "follow.h"
#include "options.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* How often a staging folder that is in use is tried again, every 50 ms. */
#define STAGING_PATIENCE 100

enum exit_code {
    EXIT_MOUNTED = 0,
    EXIT_USAGE = 1,
    EXIT_CAPTURE = 2,
    EXIT_MOUNTPOINT = 3,
    EXIT_MOUNT = 4,
};

struct server {
    struct options options;
    struct collection *collection;
    struct control *control;
    struct views *views;
    struct filter *filter;
    char *mountpoint;   /* from the root: the server leaves the directory it was started in */
    int staging_folder; /* -1: there is no `@staging` */
    struct ll_mount mount;
    struct follow *follow; /* NULL: nothing is followed */
    int ready_pipe; /* to the command that waits; -1 in the foreground and once it was told */
};

/* Says it on the terminal, or once the command has returned, and there is none, in the system's
 * log, where daemons speak. */
static void say(const struct server *server, const char *text)
{
    if (server->control)
        control_note(server->control, text);
    if (server->options.foreground || server->ready_pipe >= 0)
        fprintf(stderr, "flowfs: %s\n", text);
    else
        syslog(LOG_WARNING, "%s", text);
}

static void report_capture(void *context, const char *capture, const struct flow_error *problem,
                           struct capture_extent gap)
{
    char text[768];
    char place[80] = "";
    if (gap.size)
        snprintf(place, sizeof place, "bytes %" PRIu64 " to %" PRIu64 " left out: ", gap.offset,
                 gap.offset + gap.size);
    else if (problem->offset != FLOW_ERROR_NO_OFFSET)
        snprintf(place, sizeof place, "at byte %" PRIu64 ": ", problem->offset);
    snprintf(text, sizeof text, "%s: %s%s%s%s", capture, place, problem->key_path,
             problem->key_path[0] ? ": " : "", problem->message);
    say(context, text);
}

static void report_request(void *context, uint64_t inode, const struct flow_error *error)
{
    char text[512];
    char place[48] = "";
    if (error->offset != FLOW_ERROR_NO_OFFSET)
        snprintf(place, sizeof place, " at byte %" PRIu64, error->offset);
    snprintf(text, sizeof text, "inode %" PRIx64 "%s: %s%s%s", inode, place, error->key_path,
             error->key_path[0] ? ": " : "", error->message);
    say(context, text);
}

/* Lets go of the terminal and tells the waiting command that the mount can be used. */
static void tell_ready(void *context)
{
    struct server *server = context;
    if (server->ready_pipe < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (chdir("/") < 0 || null < 0)
        syslog(LOG_WARNING, "cannot leave the terminal: %s", strerror(errno));
    for (int descriptor = 0; null >= 0 && descriptor < 3; descriptor++)
        dup2(null, descriptor);
    if (null > 2)
        close(null);
    unsigned char code = EXIT_MOUNTED;
    if (write(server->ready_pipe, &code, 1) < 0)
        syslog(LOG_WARNING, "cannot tell that the mount is ready: %s", strerror(errno));
    close(server->ready_pipe);
    server->ready_pipe = -1;
}

static void note_query(void *context, const char *line)
{
    const struct server *server = context;
    control_note(server->control, line);
}

/* The mistake is shown in its place in the expression. */
static void say_mistake(const char *option, const char *expression, const struct flow_error *error)
{
    fprintf(stderr, "flowfs: %s: %s\n", option, error->message);
    if (error->offset <= strlen(expression))
        fprintf(stderr, "  %s\n  %*s^\n", expression, (int)error->offset, "");
}

static bool set_filter(struct server *server)
{
    struct flow_error error = {0};
    const char *expression = server->options.filter;
    if (!expression)
        return true;
    server->filter = filter_parse(bytes_of(expression), filter_case_of_environment(), &error);
    if (server->filter && collection_set_filter(server->collection, server->filter, &error))
        return true;
    say_mistake("--filter", expression, &error);
    return false;
}

static enum exit_code open_views(struct server *server)
{
    struct flow_error error = {0};
    server->views = views_open(server->collection, note_query, server, &error);
    if (!server->views) {
        fprintf(stderr, "flowfs: %s\n", error.message);
        return EXIT_CAPTURE;
    }
    for (int i = 0; i < server->options.query_count; i++) {
        const char *expression = server->options.queries[i];
        if (views_keep_query(server->views, bytes_of(expression), &error))
            continue;
        say_mistake("--query", expression, &error);
        return EXIT_USAGE;
    }
    control_set_views(server->control, server->views);
    return EXIT_MOUNTED;
}

static enum exit_code index_captures(struct server *server)
{
    struct flow_error error = {0};
    server->collection =
        collection_open(server->options.decode_limit, report_capture, server, &error);
    if (!server->collection) {
        fprintf(stderr, "flowfs: %s\n", error.message);
        return EXIT_CAPTURE;
    }
    if (!set_filter(server))
        return EXIT_USAGE;
    server->control = control_open(server->collection, server->options.format_version, &error);
    if (!server->control) {
        fprintf(stderr, "flowfs: %s\n", error.message);
        return EXIT_CAPTURE;
    }
    for (int i = 0; i < server->options.capture_count; i++) {
        const char *path = server->options.captures[i];
        if (collection_add(server->collection, path, &error))
            continue;
        fprintf(stderr, "flowfs: cannot read %s: %s\n", path, error.message);
        return EXIT_CAPTURE;
    }
    return open_views(server);
}

/* A second mount would have the first one's root for the files of its `@staging`. */
static bool is_mounted_already(const char *mountpoint)
{
    char control[PATH_MAX];
    int length = snprintf(control, sizeof control, "%s/%s/%s", mountpoint, CONTROL_DIRECTORY_NAME,
                          control_file_name(CONTROL_CAPTURES));
    return length < (int)sizeof control && access(control, F_OK) == 0;
}

static enum exit_code make_mountpoint(struct server *server)
{
    const struct options *options = &server->options;
    struct stat status;
    if (mkdir(options->mountpoint, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "flowfs: cannot make the mount point %s: %s\n", options->mountpoint,
                strerror(errno));
        return EXIT_MOUNTPOINT;
    }
    if (stat(options->mountpoint, &status) < 0) {
        fprintf(stderr, "flowfs: cannot use the mount point %s: %s%s\n", options->mountpoint,
                strerror(errno),
                errno == ENOTCONN ? " (an earlier mount died there: umount it first)" : "");
        return EXIT_MOUNTPOINT;
    }
    if (!S_ISDIR(status.st_mode)) {
        fprintf(stderr, "flowfs: the mount point %s is no folder\n", options->mountpoint);
        return EXIT_MOUNTPOINT;
    }
    if (is_mounted_already(options->mountpoint)) {
        fprintf(stderr,
                "flowfs: the mount point %s is a mount of flowfs already; unmount it, or choose "
                "another folder\n",
                options->mountpoint);
        return EXIT_MOUNTPOINT;
    }
    server->mountpoint = realpath(options->mountpoint, NULL);
    if (!server->mountpoint) {
        fprintf(stderr, "flowfs: cannot use the mount point %s: %s\n", options->mountpoint,
                strerror(errno));
        return EXIT_MOUNTPOINT;
    }
    return EXIT_MOUNTED;
}

/* Before the mount covers it. */
static enum exit_code open_staging_folder(struct server *server)
{
    const char *path = server->options.staging;
    if (server->options.read_only)
        return EXIT_MOUNTED;
    if (path && mkdir(path, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "flowfs: cannot make the staging folder %s: %s\n", path, strerror(errno));
        return EXIT_MOUNTPOINT;
    }
    if (!path)
        path = server->mountpoint;
    server->staging_folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (server->staging_folder >= 0)
        return EXIT_MOUNTED;
    fprintf(stderr, "flowfs: cannot use the staging folder %s: %s\n", path, strerror(errno));
    return EXIT_MOUNTPOINT;
}

static void report_staging(void *context, const char *line)
{
    say(context, line);
}

static void staging_changed(void *context)
{
    ll_notify_staging(context);
}

/* umount returns before the process that served is done: it packs what was edited last. So a folder
 * that is in use is waited for, for a while. */
static struct stage *wait_for_stage(const struct stage_options *options, struct flow_error *error)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000000};
    struct stage *stage = stage_open(options, error);
    for (int i = 0; i < STAGING_PATIENCE && !stage && error->code == EBUSY; i++) {
        nanosleep(&pause, NULL);
        *error = (struct flow_error){0};
        stage = stage_open(options, error);
    }
    return stage;
}

/* A mount point that cannot be written to is as good as any for what was captured; a staging folder
 * that was asked for must be usable. */
static enum exit_code open_stage(struct server *server)
{
    struct flow_error error = {0};
    const struct options *options = &server->options;
    struct stage_options stage_options = {
        .folder = server->staging_folder,
        .shared = options->staging,
        .format_version = options->format_version,
        .report = report_staging,
        .report_context = server,
        .changed = staging_changed,
        .changed_context = &server->mount,
    };
    if (server->staging_folder < 0)
        return EXIT_MOUNTED;
    server->mount.stage = wait_for_stage(&stage_options, &error);
    server->mount.tree.has_staging = server->mount.stage;
    if (server->mount.stage)
        return EXIT_MOUNTED;
    if (options->staging) {
        fprintf(stderr, "flowfs: cannot use the staging folder %s: %s\n", options->staging,
                error.message);
        return EXIT_MOUNTPOINT;
    }
    char text[512];
    snprintf(text, sizeof text, "there is no @staging (--staging names a folder for it): %s",
             error.message);
    say(server, text);
    return EXIT_MOUNTED;
}

/* What cannot be made durable now is told; the staged files themselves are where they were. */
static void close_stage(struct server *server)
{
    struct flow_error error = {0};
    if (stage_close(server->mount.stage, &error))
        return;
    char text[512];
    snprintf(text, sizeof text, "not all of @staging could be packed: %s", error.message);
    say(server, text);
}

/* What mount and df show as the source; commas and backslashes would end the option. */
static void append_source(struct buffer *arguments, const struct options *options)
{
    const char *source = options->capture_count == 1 ? options->captures[0] : "flowfs";
    buffer_append_text(arguments, "fsname=");
    for (; *source; source++) {
        if (*source == ',' || *source == '\\')
            buffer_append_byte(arguments, '\\');
        buffer_append_byte(arguments, (uint8_t)*source);
    }
}

static struct fuse_session *open_session(struct server *server)
{
    struct buffer options = BUFFER_INIT;
    struct fuse_session *session = NULL;
    char *arguments[] = {(char[]){"flowfs"}, (char[]){"-o"}, NULL, NULL, NULL};
    append_source(&options, &server->options);
    buffer_append_text(&options, ",subtype=flowfs,default_permissions,noexec");
    if (server->options.mount_options[0])
        buffer_append_byte(&options, ',');
    buffer_append_text(&options, server->options.mount_options);
    /* Last, over the `suid,dev` that mount(8) always passes. */
    buffer_append_text(&options, server->options.read_only ? ",ro" : ",rw");
    buffer_append_text(&options, ",nosuid,nodev");
    buffer_append_byte(&options, '\0');
    arguments[2] = (char *)options.data;
    arguments[3] = server->options.debug ? (char[]){"-d"} : NULL;
    struct fuse_args fuse_arguments = FUSE_ARGS_INIT(server->options.debug ? 4 : 3, arguments);
    if (!options.failed)
        session =
            fuse_session_new(&fuse_arguments, &ll_operations, sizeof ll_operations, &server->mount);
    fuse_opt_free_args(&fuse_arguments);
    buffer_free(&options);
    return session;
}

/* From before the mount is there until somebody waits for them, signals that ask us to end are kept
 * waiting: one that ended the program at once would leave a dead mount behind. Threads inherit
 * this. */
static void hold_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static void tell_added(void *context, uint32_t first, uint32_t first_host)
{
    ll_notify_added(context, first, first_host);
}

static void stop_following(void *context)
{
    struct server *server = context;
    follow_stop(server->follow);
    server->follow = NULL;
}

static int serve(struct server *server)
{
    struct flow_error error = {0};
    struct follow_events events = {tell_added, &server->mount};
    if (!server->options.no_follow)
        server->follow = follow_start(server->collection, events, &error);
    if (error.code)
        report_capture(server, "captures", &error, (struct capture_extent){0});
    return ll_loop(&server->mount, server->options.single_threaded);
}

static enum exit_code mount_and_serve(struct server *server)
{
    enum exit_code code = open_stage(server);
    if (code != EXIT_MOUNTED)
        return code;
    code = EXIT_MOUNT;
    server->mount.session = open_session(server);
    if (!server->mount.session) {
        fprintf(stderr, "flowfs: cannot set up FUSE with these mount options\n");
        return code;
    }
    hold_signals();
    ll_refusals_init(&server->mount.refusals);
    if (fuse_session_mount(server->mount.session, server->mountpoint) == 0) {
        int result = serve(server);
        code = result < 0 ? EXIT_MOUNT : EXIT_MOUNTED;
        if (result < 0)
            syslog(LOG_ERR, "the mount ended: %s", strerror(-result));
        fuse_session_unmount(server->mount.session);
    } else {
        fprintf(stderr, "flowfs: cannot mount at %s\n", server->mountpoint);
    }
    ll_refusals_end(&server->mount.refusals);
    fuse_session_destroy(server->mount.session);
    return code;
}

static enum exit_code run(struct server *server)
{
    struct flow_error error = {0};
    enum exit_code code = index_captures(server);
    if (code == EXIT_MOUNTED)
        code = make_mountpoint(server);
    if (code == EXIT_MOUNTED)
        code = open_staging_folder(server);
    struct tree *tree = &server->mount.tree;
    if (code == EXIT_MOUNTED) {
        tree->cache =
            flow_cache_open(server->collection, (size_t)server->options.cache_size, &error);
        tree->collection = server->collection;
        tree->control = server->control;
        tree->views = server->views;
        tree->show_control = server->options.show_control;
        tree->owner = getuid();
        tree->group = getgid();
        tree->umask = umask(0);
        umask(tree->umask);
        control_set_abandoned(server->control, ll_is_abandoned, &server->mount);
        placement_init(&server->mount.placement);
        server->mount.read_only = server->options.read_only;
        server->mount.ready = tell_ready;
        server->mount.ready_context = server;
        server->mount.ending = stop_following;
        server->mount.ending_context = server;
        server->mount.report = report_request;
        server->mount.report_context = server;
        if (!tree->cache)
            fprintf(stderr, "flowfs: %s\n", error.message);
        code = tree->cache ? mount_and_serve(server) : EXIT_CAPTURE;
    }
    close_stage(server);
    if (server->staging_folder >= 0)
        close(server->staging_folder);
    flow_cache_close(tree->cache);
    views_close(server->views);
    control_close(server->control);
    server->control = NULL;
    collection_close(server->collection);
    filter_free(server->filter);
    free(server->mountpoint);
    return code;
}

/* Waits for the child's word. If it dies without one, mounting has failed. */
static int wait_for_child(int pipe_end)
{
    unsigned char code = EXIT_MOUNT;
    ssize_t got;
    do
        got = read(pipe_end, &code, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? code : EXIT_MOUNT;
}

static int run_in_background(struct server *server)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        perror("flowfs: pipe");
        return EXIT_MOUNT;
    }
    pid_t child = fork();
    if (child < 0) {
        perror("flowfs: fork");
        return EXIT_MOUNT;
    }
    if (child > 0) {
        close(ends[1]);
        return wait_for_child(ends[0]);
    }
    close(ends[0]);
    setsid();
    server->ready_pipe = ends[1];
    unsigned char code = (unsigned char)run(server);
    if (server->ready_pipe >= 0 && write(server->ready_pipe, &code, 1) < 0)
        perror("flowfs: pipe");
    return code;
}

int main(int argc, char **argv)
{
    struct server server = {.ready_pipe = -1, .staging_folder = -1};
    int code;
    if (!options_parse(&server.options, argc, argv))
        return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* of a limit that we were started with, writes are to fail instead */
    openlog("flowfs", LOG_PID, LOG_DAEMON);
    if (server.options.help) {
        fputs(options_help, stdout);
        code = EXIT_MOUNTED;
    } else if (server.options.version) {
        printf("flowfs %s, libfuse %s\n", FLOWFS_VERSION, fuse_pkgversion());
        code = EXIT_MOUNTED;
    } else {
        code = server.options.foreground ? (int)run(&server) : run_in_background(&server);
    }
    options_free(&server.options);
    return code;
}
