"""System calls as the tests of POSIX behaviour make them: as some user, answered with a value or an errno's name."""

import ctypes
import errno
import os
import socket
import time
from contextlib import contextmanager

LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE, FALLOC_ZERO, FALLOC_INSERT = 1, 2, 8, 16, 32

ROOT = (0, 0)
NOBODY = (65534, 65534)
OTHER = (65533, 65533)
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


@contextmanager
def acting_as(user, groups=()):
    """This process as (user, group), with these groups besides; only root can become another."""
    if user == ROOT:
        yield
        return
    before = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(user[1])
    os.seteuid(user[0])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def answer(call, *arguments, user=ROOT, groups=(), **options):
    """What the call returns, or the name of the errno that it fails with."""
    with acting_as(user, groups):
        try:
            return call(*arguments, **options)
        except OSError as error:
            return errno.errorcode[error.errno]


def number(result):
    """0 for a call that went well, whatever it returned, or the errno's name."""
    return result if result in errno.errorcode.values() else 0


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def encoded(path):
    return os.fsencode(path)


def rename2(source, target, flags):
    checked(LIBC.renameat2(-100, encoded(source), -100, encoded(target), flags))


def utimensat(path, access, modification, follow=True):
    """Each time is (seconds, nanoseconds)."""
    times = (ctypes.c_long * 4)(*access, *modification)
    checked(LIBC.utimensat(-100, encoded(path), times, 0 if follow else 0x100))


def symlink(target, path):
    """As it is called: Python's own takes no empty target."""
    checked(LIBC.symlink(encoded(target), encoded(path)))


def link_open_file(file, path):
    checked(LIBC.linkat(-100, b"/proc/self/fd/%d" % file, -100, encoded(path), 0x400))


def fallocate(file, mode, offset, size):
    checked(LIBC.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(size)))


def create(path, mode=0o644, flags=0, data=b""):
    file = os.open(path, os.O_CREAT | os.O_WRONLY | flags, mode)
    os.write(file, data)
    os.close(file)


def open_close(path, flags, mode=0o644):
    os.close(os.open(path, flags | os.O_NONBLOCK, mode))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)


MAKERS = {
    "file": create,
    "dir": os.mkdir,
    "fifo": os.mkfifo,
    "socket": make_socket,
    "link": lambda path: os.symlink("nothing there", path),
}


def changed(action, *paths):
    """What the action brings to the present of each path's times: "mc" if modification and change time, "c", ""."""
    def times(path):
        status = os.lstat(path) if not isinstance(path, int) else os.fstat(path)
        return status.st_mtime_ns, status.st_ctime_ns

    before = [times(path) for path in paths]
    time.sleep(0.012)  # longer than the clock of file systems takes for a step
    action()
    after = [times(path) for path in paths]
    return ["m" * (new[0] > old[0]) + "c" * (new[1] > old[1]) for old, new in zip(before, after)]


def mode_of(path):
    return os.lstat(path).st_mode & 0o7777


def owner_of(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid
