"""In what staging differs from the folder that its files are in. Each difference has its reason here, and a test that
holds it to what is told: beside the same call on a plain folder, so that the list stays true.

    O_TMPFILE             EOPNOTSUPP: a file is made under a name; programs fall back to one
    collapse, insert      fallocate: EOPNOTSUPP, as FUSE has no request for them
    flags of files        chattr, immutable, append-only: ENOTTY or EOPNOTSUPP, as on most FUSE
    access control lists  EOPNOTSUPP: permission is owner, group, others
    execution             EACCES: the mount is noexec; nosuid and nodev as well
    holes                 are kept, but not told: SEEK_DATA and SEEK_HOLE see one piece of data, which is always true,
                          while the truth of another mapping's unwritten pages could not be known
    access times          are those that were set, or of when flowfs read: what the kernel has in its pages is read
                          without asking
    opening to write      what is read-only can be opened for it: the first write is EROFS
    other file systems    mounted in the backing folder: EXDEV
    names of ours         `.flowfs…` in the top: ENOENT, and EPERM to make one; NAME.mitm and NAME.errors of a set:
                          EROFS, though not before the first write
    removed files in use  each keeps a descriptor of the daemon's: from half of RLIMIT_NOFILE on, EMFILE to remove more
"""

import errno
import fcntl
import os
import stat
import struct

import pytest
from posix_calls import (FALLOC_COLLAPSE, FALLOC_INSERT, answer, create, fallocate, number, open_close)

NOT_SUPPORTED = errno.errorcode[errno.EOPNOTSUPP]
FS_IOC_GETFLAGS = 0x80086601


@pytest.fixture
def staged(here):
    """Whether this is staging; the plain folder is beside it to see that the difference is one."""
    return "@staging" in str(here)


def test_files_without_a_name(here, staged):
    result = number(answer(os.open, ".", os.O_TMPFILE | os.O_RDWR, 0o600))
    assert result == (NOT_SUPPORTED if staged else 0)
    assert os.listdir(".") == []


@pytest.mark.parametrize("mode", [FALLOC_COLLAPSE, FALLOC_INSERT])
def test_collapse_and_insert(here, staged, mode):
    create("file", data=bytes(1 << 20))
    with open("file", "r+b") as file:
        assert answer(fallocate, file.fileno(), mode, 4096, 4096) == (NOT_SUPPORTED if staged else None)
    assert os.path.getsize("file") == 1 << 20 or not staged


def test_flags_of_files(here, staged):
    create("file")
    with open("file", "rb") as file:
        result = number(answer(fcntl.ioctl, file, FS_IOC_GETFLAGS, bytes(8)))
    assert result in (("ENOTTY", NOT_SUPPORTED, "ENOSYS") if staged else (0,))


def test_access_control_lists(here, staged):
    create("file")
    # The owner, a user, the group, the mask and others.
    entries = [(1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    result = answer(os.setxattr, "file", "system.posix_acl_access", value)
    assert result == (NOT_SUPPORTED if staged else None)


def test_nothing_is_executed(here, staged):
    create("file", 0o755, data=b"#!/bin/sh\nexit 0\n")
    pid = os.fork()
    if pid == 0:
        try:
            os.execv("file", ["file"])
        except OSError as error:
            os._exit(error.errno)
    _, status = os.waitpid(pid, 0)
    assert os.WEXITSTATUS(status) == (errno.EACCES if staged else 0)


def test_devices(here, staged):
    """They can be made by root, as files that a copy may hold, but not used."""
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert os.lstat("null").st_rdev == os.makedev(1, 3)
    assert answer(open_close, "null", os.O_RDONLY) == ("EACCES" if staged else None)


def test_holes(here, staged):
    with open("file", "w+b", buffering=0) as file:
        file.truncate(8 << 20)
        os.pwrite(file.fileno(), b"a" * 4096, 1 << 20)
        os.fsync(file)
        found = os.lseek(file.fileno(), 0, os.SEEK_DATA), os.lseek(file.fileno(), 0, os.SEEK_HOLE)
        assert found == ((0, 8 << 20) if staged else (1 << 20, 0))
        assert answer(os.lseek, file.fileno(), 8 << 20, os.SEEK_DATA) == "ENXIO"
        # They cost no room all the same.
        assert os.fstat(file.fileno()).st_blocks * 512 < 1 << 20


def test_names_of_ours(here, staged):
    if not staged:
        pytest.skip("has no names of its own")
    top = here.parents[0].parent
    assert top.name == "@staging"
    for name in (".flowfs", ".flowfs-sets", ".flowfs-anything", ".flowfsx"):
        # What `.flowfs` there shows is read-only; it is listed nowhere.
        if name != ".flowfs":
            assert answer(os.lstat, top / name) == "ENOENT"
        for make in (create, os.mkdir, os.mkfifo, lambda path: os.symlink("a", path)):
            assert answer(make, top / name) in ("EPERM", "EEXIST", "EROFS", "EISDIR")
        create("file")
        assert answer(os.rename, "file", top / name) in ("EPERM", "EROFS")
        assert answer(os.link, "file", top / name) in ("EPERM", "EEXIST", "EROFS")
    assert not [name for name in os.listdir(top) if name.startswith(".flowfs")]
    # Deeper they are like any other, but for `.flowfs` itself.
    create(".flowfs-sets")
    assert os.listdir(".") in (["file", ".flowfs-sets"], [".flowfs-sets", "file"])


def test_derived_files(here, staged):
    if not staged:
        pytest.skip("derives nothing")
    top = here.parents[0].parent
    for name in ("set.mitm", "set.errors"):
        path = top / name
        create("file")
        assert answer(create, path, data=b"x") in ("EROFS", "EEXIST")
        assert answer(os.mkdir, path) in ("EROFS", "EEXIST")
        assert answer(os.rename, "file", path) == "EROFS"
        assert answer(os.unlink, path) in ("EROFS", "ENOENT")
        assert answer(os.truncate, path, 0) in ("EROFS", "ENOENT", "EBADMSG")
        assert answer(os.link, "file", path) in ("EROFS", "EEXIST")
