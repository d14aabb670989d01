"""Staging as POSIX has a file system: each case once on a plain folder, which is the second opinion, and once on
staging. What pjdfstest looks at is looked at here, section by section; test_staging_differences.py has what differs.

Left out, because it is decided before a file system is asked or cannot be had on FUSE: EFAULT, ETXTBSY (the mount
is noexec), EMLINK, flags of files (chattr), chflags, birth times."""

import errno
import os
import stat

import pytest
from posix_calls import (FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO, MAKERS, NOBODY, OTHER, UTIME_NOW, UTIME_OMIT,
                         acting_as, answer, changed, create, fallocate, mode_of, number, open_close, owner_of, umask,
                         utimensat)

NOT_SUPPORTED = errno.errorcode[errno.EOPNOTSUPP]  # of two names for one number

# Calls that find an existing file by its name, and those that make a new name.
FINDING = {
    "chmod": lambda path: os.chmod(path, 0o644),
    "chown": lambda path: os.chown(path, 0, 0),
    "getxattr": lambda path: os.getxattr(path, "user.a"),
    "link from": lambda path: os.link(path, "new"),
    "list": os.listdir,
    "open": lambda path: open_close(path, os.O_RDONLY),
    "open to write": lambda path: open_close(path, os.O_WRONLY | os.O_TRUNC),
    "readlink": os.readlink,
    "rename from": lambda path: os.rename(path, "new"),
    "rmdir": os.rmdir,
    "setxattr": lambda path: os.setxattr(path, "user.a", b"b"),
    "stat": os.stat,
    "statvfs": os.statvfs,
    "truncate": lambda path: os.truncate(path, 10),
    "unlink": os.unlink,
    "utimensat": os.utime,
}
MAKING = {
    "link to": lambda path: os.link("file", path),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o644),
    "open O_CREAT": lambda path: open_close(path, os.O_WRONLY | os.O_CREAT),
    "open O_EXCL": lambda path: open_close(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "rename to": lambda path: os.rename("file", path),
    "symlink": lambda path: os.symlink("file", path),
}


# ---- paths: the same for every call

@pytest.mark.parametrize("call", FINDING.keys() | MAKING.keys())
def test_paths(here, call):
    function = {**FINDING, **MAKING}[call]
    create("file")
    os.mkdir("closed", 0o600)
    os.symlink("loop", "loop")
    os.symlink("file", "to file")
    os.symlink("nowhere/at all", "dangling")
    chain = "/".join(["d" * 200] * 20)

    def fails(path, **options):
        return answer(function, path, **options)

    assert fails("file/x") == "ENOTDIR"
    assert fails("to file/x") == "ENOTDIR"
    assert fails("n" * 256) == "ENAMETOOLONG"
    assert fails("n" * 256 + "/x") == "ENAMETOOLONG"
    assert fails(f"{chain}/{'d' * 200}/x") == "ENAMETOOLONG"
    assert fails("missing/x") == "ENOENT"
    assert fails("dangling/x") == "ENOENT"
    assert fails("loop/x") == "ELOOP"
    assert fails("closed/x", user=NOBODY) == "EACCES"
    assert fails("") == "ENOENT"
    if call in FINDING:
        assert fails("missing") == "ENOENT"
        assert fails("n" * 255) == "ENOENT"
    else:
        assert fails("n" * 255) is None
        assert "n" * 255 in os.listdir(".")
        assert fails("missing/") in ("ENOENT", "EISDIR", "ENOTDIR") or call == "mkdir"
    if call in FINDING.keys() - {"link from", "readlink", "rename from", "rmdir", "unlink"}:
        assert fails("loop") == "ELOOP"
        assert fails("dangling") == "ENOENT"


@pytest.mark.parametrize("call", MAKING.keys() - {"rename to", "open O_CREAT"})
@pytest.mark.parametrize("kind", MAKERS)
def test_what_exists_is_not_made(here, call, kind):
    create("file")
    MAKERS[kind]("there")
    before = os.lstat("there")
    assert answer(MAKING[call], "there") == "EEXIST"
    assert os.lstat("there") == before


@pytest.mark.parametrize("call", MAKING)
def test_making_needs_a_writable_folder(here, call):
    """And search permission; the folder's times tell of what was made."""
    create("file", 0o666)
    os.chown("file", *NOBODY)
    for mode, expected in ((0o755, "EACCES"), (0o776, "EACCES"), (0o777, None)):
        os.mkdir("folder")
        os.chmod("folder", mode)
        assert answer(MAKING[call], "folder/new", user=NOBODY) == expected
        if expected is None:
            assert os.listdir("folder") == ["new"]
            assert owner_of("folder/new") == NOBODY
        else:
            os.rmdir("folder")
    create("file") if call == "rename to" else None
    assert changed(lambda: MAKING[call]("folder/other"), "folder") == ["mc"]
    create("file")
    assert changed(lambda: answer(MAKING[call], "missing/new"), ".") == [""]


@pytest.mark.parametrize("call", ["open O_CREAT", "mkdir", "mkfifo", "mknod"])
def test_modes_of_what_is_made(here, call):
    """As asked for without the umask's; in a folder with setgid the group is the folder's."""
    make = {"open O_CREAT": create, "mkdir": os.mkdir, "mkfifo": os.mkfifo,
            "mknod": lambda path, mode: os.mknod(path, stat.S_IFREG | mode)}[call]
    for mask in (0, 0o022, 0o077, 0o151, 0o777):
        for mode in (0o755, 0o642, 0o151, 0o777, 0):
            with umask(mask):
                make("new", mode)
            assert mode_of("new") == mode & ~mask
            os.rmdir("new") if call == "mkdir" else os.unlink("new")
    os.mkdir("shared")
    os.chown("shared", 0, 65533)
    os.chmod("shared", 0o2777)
    with acting_as(NOBODY):
        make("shared/new", 0o755)
    assert owner_of("shared/new") == (65534, 65533)
    assert mode_of("shared/new") == (0o2755 if call == "mkdir" else 0o755)
    os.mkdir("own", 0o755)
    os.chown("own", 1, 65533)
    with acting_as(NOBODY):
        assert answer(make, "own/new", 0o755) == "EACCES"
    os.chmod("own", 0o777)
    with acting_as(OTHER, [65534]):
        make("own/new", 0o755)
    assert owner_of("own/new") == OTHER


# ---- chmod

@pytest.mark.parametrize("kind", ["file", "dir", "fifo", "socket"])
def test_chmod(here, kind):
    MAKERS[kind]("it")
    os.symlink("it", "link")
    for mode in (0o111, 0o7777, 0, 0o4755, 0o2070, 0o1777, 0o644):
        assert changed(lambda: os.chmod("it", mode), "it") == ["c"]
        assert mode_of("it") == mode
    os.chmod("link", 0o600)
    assert (mode_of("it"), mode_of("link")) == (0o600, 0o777)
    assert changed(lambda: answer(os.chmod, "it", 0o777, user=NOBODY), "it") == [""]
    assert answer(os.chmod, "it", 0o777, user=NOBODY) == "EPERM"
    os.chown("it", *NOBODY)
    assert answer(os.chmod, "it", 0o4711, user=NOBODY) is None
    assert mode_of("it") == 0o4711


def test_chmod_setgid_needs_the_group(here):
    create("file")
    os.chown("file", 65534, 65533)
    with acting_as(NOBODY):
        os.chmod("file", 0o2755)
    assert mode_of("file") == 0o755
    with acting_as(NOBODY, [65533]):
        os.chmod("file", 0o2755)
    assert mode_of("file") == 0o2755


# ---- chown

@pytest.mark.parametrize("kind", MAKERS)
def test_chown(here, kind):
    MAKERS[kind]("it")
    assert changed(lambda: os.lchown("it", 123, 456), "it") == ["c"]
    assert owner_of("it") == (123, 456)
    os.lchown("it", -1, 457)
    assert owner_of("it") == (123, 457)
    os.lchown("it", 124, -1)
    assert owner_of("it") == (124, 457)
    if kind != "link":
        os.symlink("it", "link")
        os.chown("link", 7, 8)
        assert (owner_of("it"), owner_of("link")) == ((7, 8), (0, 0))
    assert answer(os.lchown, "it", 65534, -1, user=NOBODY) == "EPERM"
    os.lchown("it", *NOBODY)
    assert answer(os.lchown, "it", 65533, -1, user=NOBODY) == "EPERM"
    assert answer(os.lchown, "it", -1, 65533, user=NOBODY) == "EPERM"
    assert answer(os.lchown, "it", -1, 65533, user=NOBODY, groups=[65533]) is None
    assert owner_of("it") == (65534, 65533)
    assert answer(os.lchown, "it", 65534, 65534, user=NOBODY) is None


def test_chown_takes_setuid_away(here):
    for user in (NOBODY, (0, 0)):
        create("file")
        os.chown("file", *NOBODY)
        os.chmod("file", 0o6555)
        with acting_as(user, [65533]):
            os.chown("file", -1, 65533)
        assert mode_of("file") == 0o555
        os.unlink("file")
    os.mkdir("dir")
    os.chmod("dir", 0o6755)
    os.chown("dir", 1, 1)
    assert mode_of("dir") == 0o6755


@pytest.mark.parametrize("way", ["write", "truncate", "fallocate", "mapped"])
def test_writing_takes_setuid_away(here, way):
    """Whose file it is or not: only root's writes leave it."""
    create("file", data=b"text" * 2000)
    os.chmod("file", 0o6777)
    with acting_as(NOBODY):
        file = os.open("file", os.O_RDWR)
        if way == "write":
            os.write(file, b"x")
        elif way == "truncate":
            os.ftruncate(file, 3)
        elif way == "fallocate":
            fallocate(file, 0, 0, 20_000)
        else:
            # What is mapped is written by the kernel's own hand: setuid stays, as elsewhere.
            import mmap
            with mmap.mmap(file, 8000) as mapped:
                mapped[5] = 5
        os.close(file)
    assert mode_of("file") == (0o6777 if way == "mapped" else 0o777)
    os.chmod("file", 0o6777)
    with open("file", "r+b") as file:
        file.write(b"y")
    assert mode_of("file") == 0o6777


# ---- truncate, ftruncate

def by_name(path, size):
    os.truncate(path, size)


def by_file(path, size):
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), size)


@pytest.mark.parametrize("truncate", [by_name, by_file])
def test_truncate(here, truncate):
    data = os.urandom(10_000)
    create("file", data=data)
    for size in (20_000, 567, 4096, 12_345, 0, 1 << 33, 5):
        assert changed(lambda: truncate("file", size), "file") == ["mc"]
        data = data[:size] if size < 1 << 20 else data
        assert os.path.getsize("file") == size
        with open("file", "rb") as file:
            expected = data + bytes(max(0, min(size, 30_000) - len(data)))
            assert file.read(30_000) == expected[:30_000]
        data = expected
    assert answer(truncate, "file", -1) == "EINVAL"
    assert answer(truncate, "file", 1 << 62) == "EFBIG"
    assert os.path.getsize("file") == 5


def test_truncate_errors(here):
    create("file", 0o644)
    os.mkdir("dir")
    os.mkfifo("fifo")
    assert answer(os.truncate, "dir", 1) == "EISDIR"
    assert answer(os.truncate, "fifo", 1) == "EINVAL"
    assert answer(os.truncate, "file", 1, user=NOBODY) == "EACCES"
    file = os.open("file", os.O_RDONLY)
    assert answer(os.ftruncate, file, 0) == "EINVAL"
    os.close(file)
    assert changed(lambda: answer(os.truncate, "file", 1, user=NOBODY), "file") == [""]
    # An open file can be cut even when its name no longer allows writing.
    os.chown("file", *NOBODY)
    with acting_as(NOBODY):
        file = os.open("file", os.O_RDWR)
        os.chmod("file", 0)
        os.ftruncate(file, 100)
        os.close(file)
    assert os.path.getsize("file") == 100


# ---- posix_fallocate, fallocate

def test_fallocate(here):
    data = os.urandom(30_000)
    create("file", data=data)
    file = os.open("file", os.O_RDWR)
    assert changed(lambda: os.posix_fallocate(file, 10_000, 40_000), "file") == ["mc"]
    assert os.pread(file, 60_000, 0) == data + bytes(20_000)
    assert os.fstat(file).st_blocks * 512 >= 50_000
    fallocate(file, FALLOC_KEEP_SIZE, 0, 100_000)
    assert os.fstat(file).st_size == 50_000
    assert os.fstat(file).st_blocks * 512 >= 100_000
    fallocate(file, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 5000, 10_000)
    fallocate(file, FALLOC_ZERO, 20_000, 1000)
    fallocate(file, FALLOC_ZERO, 49_000, 2000)
    assert os.pread(file, 60_000, 0) == (data[:5000] + bytes(10_000) + data[15_000:20_000] + bytes(1000)
                                         + data[21_000:] + bytes(21_000))
    for mode, offset, size, expected in ((0, 0, 0, "EINVAL"), (0, -1, 5, "EINVAL"), (0, 0, -5, "EINVAL"),
                                         (FALLOC_PUNCH_HOLE, 0, 5, NOT_SUPPORTED), (0, 1 << 62, 5, "EFBIG")):
        assert answer(fallocate, file, mode, offset, size) == expected
    os.close(file)
    file = os.open("file", os.O_RDONLY)
    assert answer(os.posix_fallocate, file, 0, 5) == "EBADF"
    os.close(file)


# ---- open

def test_open_flags(here):
    create("file", data=b"text")
    os.mkdir("dir")
    os.symlink("file", "link")
    os.symlink("later", "dangling")
    assert answer(open_close, "dangling", os.O_RDWR | os.O_CREAT | os.O_EXCL) == "EEXIST"
    assert answer(open_close, "link", os.O_RDONLY | os.O_NOFOLLOW) == "ELOOP"
    assert answer(open_close, "file", os.O_RDONLY | os.O_DIRECTORY) == "ENOTDIR"
    assert answer(open_close, "file/", os.O_RDONLY) == "ENOTDIR"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_CREAT):
        assert answer(open_close, "dir", flags) == "EISDIR"
    assert answer(open_close, "new/", os.O_RDWR | os.O_CREAT) == "EISDIR"
    open_close("dangling", os.O_RDWR | os.O_CREAT)
    assert "later" in os.listdir(".")
    assert changed(lambda: open_close("file", os.O_RDWR | os.O_CREAT, 0o777), "file", ".") == ["", ""]
    assert mode_of("file") == 0o644
    assert changed(lambda: open_close("file", os.O_WRONLY | os.O_TRUNC), "file") == ["mc"]
    assert os.path.getsize("file") == 0


def test_open_special_files(here):
    os.mkfifo("fifo")
    MAKERS["socket"]("socket")
    assert answer(open_close, "fifo", os.O_WRONLY) == "ENXIO"
    assert answer(open_close, "fifo", os.O_RDONLY) is None
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        assert answer(open_close, "socket", flags) == "ENXIO"


@pytest.mark.parametrize("user", [NOBODY, (OTHER[0], NOBODY[1]), OTHER])
def test_open_permissions(here, user):
    """Each class of users by its own bits, for each way to open."""
    shift = {NOBODY: 6, (OTHER[0], NOBODY[1]): 3, OTHER: 0}[user]
    create("file")
    os.mkdir("dir")
    os.chown("file", *NOBODY)
    os.chown("dir", *NOBODY)
    for bits in range(8):
        # The other classes may what this one may not.
        mode = 0o777 & ~(7 << shift) & ~((7 - bits ^ 7) << (shift + 3) % 9) | bits << shift
        os.chmod("file", mode)
        os.chmod("dir", mode)
        for flags, needed in ((os.O_RDONLY, 4), (os.O_WRONLY, 2), (os.O_RDWR, 6), (os.O_RDONLY | os.O_TRUNC, 6),
                              (os.O_WRONLY | os.O_APPEND, 2)):
            expected = None if bits & needed == needed else "EACCES"
            assert answer(open_close, "file", flags, user=user) == expected, oct(mode)
        assert number(answer(os.listdir, "dir", user=user)) == (0 if bits & 4 else "EACCES")
        assert number(answer(os.stat, "dir/.", user=user)) == (0 if bits & 1 else "EACCES")
        assert answer(create, "dir/new", user=user) == (None if bits & 3 == 3 else "EACCES")
        assert number(answer(os.setxattr, "file", "user.a", b"", user=user)) == (0 if bits & 2 else "EACCES")
        assert number(answer(os.getxattr, "file", "user.a", user=user)) in ((0, "ENODATA") if bits & 4 else ("EACCES",))
        with acting_as(user):
            for asked in range(8):
                assert os.access("file", asked, effective_ids=True) == (bits & asked == asked) or asked & 1
        if bits & 3 == 3:
            os.unlink("dir/new")


def test_a_file_without_permissions_can_be_used_by_who_made_it(here):
    with acting_as(NOBODY):
        file = os.open("file", os.O_RDWR | os.O_CREAT, 0)
        assert mode_of("file") == 0
        assert os.write(file, b"text") == 4
        assert os.pread(file, 10, 0) == b"text"
        os.close(file)
        assert answer(open_close, "file", os.O_RDONLY) == "EACCES"


def test_large_offsets(here):
    for place in ((1 << 31) - 2, (1 << 32) - 2, (1 << 40) + 1):
        file = os.open("file", os.O_RDWR | os.O_CREAT)
        assert os.pwrite(file, b"text", place) == 4
        assert os.pread(file, 10, place) == b"text"
        assert os.fstat(file).st_size == place + 4
        os.close(file)
        os.unlink("file")
    file = os.open("file", os.O_RDWR | os.O_CREAT)
    assert answer(os.pwrite, file, b"text", (1 << 63) - 2) in ("EFBIG", "EINVAL")
    assert answer(os.pwrite, file, b"text", 1 << 60) == "EFBIG"
    os.close(file)
    assert os.path.getsize("file") == 0


def test_append(here):
    """Whatever place is named, and however many there are."""
    create("file", data=b"0")
    files = [os.open("file", os.O_RDWR | os.O_APPEND) for _ in range(3)]
    for turn in range(9):
        os.lseek(files[turn % 3], 0, os.SEEK_SET)
        os.write(files[turn % 3], b"%d" % turn)
    os.pwrite(files[0], b"end", 0)
    assert os.pread(files[1], 100, 0) == b"0012345678end"
    for file in files:
        os.close(file)


# ---- utimensat

@pytest.mark.parametrize("kind", MAKERS)
def test_utimensat(here, kind):
    MAKERS[kind]("it")
    for access, modification in (((1, 2), (3, 4)), ((10**9, 999_999_999), (5, 0)), ((5, 0), (2**31 + 5, 1)),
                                 ((2**32 + 7, 8), (2**33, 999_999_999)), ((0, 0), (-5, 10))):
        assert "c" in changed(lambda: utimensat("it", access, modification, follow=False), "it")[0]
        status = os.lstat("it")
        assert (divmod(status.st_atime_ns, 10**9), divmod(status.st_mtime_ns, 10**9)) == (access, modification)
    utimensat("it", (1, 1), (0, UTIME_OMIT), follow=False)
    assert (os.lstat("it").st_atime_ns, os.lstat("it").st_mtime_ns) == (10**9 + 1, -5 * 10**9 + 10)
    utimensat("it", (0, UTIME_OMIT), (2, 2), follow=False)
    assert (os.lstat("it").st_atime_ns, os.lstat("it").st_mtime_ns) == (10**9 + 1, 2 * 10**9 + 2)
    before = os.lstat("it").st_ctime_ns
    utimensat("it", (0, UTIME_NOW), (0, UTIME_NOW), follow=False)
    assert os.lstat("it").st_mtime_ns >= before
    assert abs(os.lstat("it").st_atime_ns - os.lstat("it").st_mtime_ns) < 10**9
    assert answer(utimensat, "it", (0, 10**9), (0, 0), follow=False) == "EINVAL"


def test_utimensat_permissions(here):
    create("file")
    os.symlink("file", "link")
    utimensat("link", (7, 7), (8, 8))
    assert (os.stat("file").st_mtime, os.lstat("link").st_mtime > 1000) == (8.0 + 8e-9, True)
    os.chown("file", *NOBODY)
    now, fixed = (0, UTIME_NOW), (5, 5)
    assert answer(utimensat, "file", fixed, fixed, user=NOBODY) is None
    assert answer(utimensat, "file", fixed, fixed, user=OTHER) == "EPERM"
    assert answer(utimensat, "file", now, now, user=OTHER) == "EACCES"
    os.chmod("file", 0o666)
    assert answer(utimensat, "file", now, now, user=OTHER) is None
    assert answer(utimensat, "file", now, fixed, user=OTHER) == "EPERM"
    assert answer(utimensat, "file", (0, UTIME_OMIT), (0, UTIME_OMIT), user=OTHER) is None


def test_times_of_use(here):
    create("file", data=b"a")
    with open("file", "r+b", buffering=0) as file:
        assert changed(lambda: file.write(b"b"), "file", ".") == ["mc", ""]
        assert changed(lambda: file.read(1), "file") == [""]
        assert changed(lambda: os.fsync(file), "file") == [""]
    assert changed(lambda: os.setxattr("file", "user.a", b"b"), "file") == ["c"]
    assert changed(lambda: os.removexattr("file", "user.a"), "file") == ["c"]


# ---- extended attributes

def test_extended_attributes(here):
    create("file")
    os.mkdir("dir")
    for name in ("file", "dir"):
        os.setxattr(name, "user.a", b"1", os.XATTR_CREATE)
        assert answer(os.setxattr, name, "user.a", b"2", os.XATTR_CREATE) == "EEXIST"
        assert answer(os.setxattr, name, "user.b", b"2", os.XATTR_REPLACE) == "ENODATA"
        os.setxattr(name, "user.b", b"\0" * 500)
        os.setxattr(name, "trusted.c", b"")
        assert {each for each in os.listxattr(name) if each[:4] != "secu"} == {"user.a", "user.b", "trusted.c"}
        assert os.getxattr(name, "user.b") == b"\0" * 500
        assert answer(os.setxattr, name, "user." + "n" * 251, b"") == "ERANGE"
        assert answer(os.setxattr, name, "user.c", bytes(70_000)) == "E2BIG"
        assert answer(os.setxattr, name, "odd.c", b"") == NOT_SUPPORTED
        assert answer(os.getxattr, name, "user.none") == "ENODATA"
        assert answer(os.removexattr, name, "user.none") == "ENODATA"
        os.removexattr(name, "user.a")
        assert answer(os.getxattr, name, "user.a") == "ENODATA"
    os.symlink("file", "link")
    os.mkfifo("fifo")
    assert answer(os.setxattr, "link", "user.a", b"", follow_symlinks=False) == "EPERM"
    assert answer(os.setxattr, "fifo", "user.a", b"") == "EPERM"
    assert answer(os.getxattr, "file", "trusted.c", user=NOBODY) == "ENODATA"
