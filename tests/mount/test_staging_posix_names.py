"""Staging as POSIX has a file system, what is about names: each case once on a plain folder and once on staging, as in
test_staging_posix.py."""

import itertools
import os
import stat
import subprocess

import pytest
from conftest import needs_root
from posix_calls import (MAKERS, NOBODY, OTHER, RENAME_EXCHANGE, RENAME_NOREPLACE, acting_as, answer, changed, create,
                         link_open_file, owner_of, rename2, symlink)


# ---- link

@pytest.mark.parametrize("kind", ["file", "fifo", "socket", "link"])
def test_link(here, kind):
    MAKERS[kind]("first")
    os.mkdir("dir")
    inode = os.lstat("first").st_ino
    assert changed(lambda: os.link("first", "dir/second", follow_symlinks=False), "first", "dir") == ["c", "mc"]
    os.link("dir/second", "third", follow_symlinks=False)
    for name in ("first", "dir/second", "third"):
        status = os.lstat(name)
        assert (status.st_ino, status.st_nlink) == (inode, 3)
    os.lchown("third", 5, 6)
    assert owner_of("first") == (5, 6)
    assert changed(lambda: os.unlink("first"), "third", ".") == ["c", "mc"]
    assert os.lstat("third").st_nlink == 2
    os.unlink("third")
    assert os.lstat("dir/second").st_nlink == 1


def test_link_errors(here):
    create("file")
    os.mkdir("dir")
    assert answer(os.link, "dir", "new") == "EPERM"
    os.mkdir("closed")
    os.chmod("closed", 0o755)
    os.chown("file", *NOBODY)
    assert answer(os.link, "file", "closed/new", user=NOBODY) == "EACCES"
    assert answer(os.link, "file", "/dev/shm/flowfs-test-link") == "EXDEV"
    assert answer(os.link, "/proc/self/status", "new") == "EXDEV"
    assert changed(lambda: answer(os.link, "file", "dir"), "file", "dir") == ["", ""]
    with open("file", "w") as file:
        link_open_file(file.fileno(), "linked")
        os.unlink("linked")
        os.unlink("file")
        assert answer(link_open_file, file.fileno(), "new") == "ENOENT"


# ---- mkdir, rmdir

def test_mkdir_and_rmdir(here):
    os.mkdir("outer")
    assert os.stat("outer").st_nlink == 2
    os.mkdir("outer/inner")
    assert os.stat("outer").st_nlink == 3
    assert os.stat("outer/inner/..").st_ino == os.stat("outer").st_ino
    assert answer(os.rmdir, "outer") == "ENOTEMPTY"
    assert answer(os.rmdir, "outer/inner/..") == "ENOTEMPTY"
    assert answer(os.rmdir, "outer/inner/.") == "EINVAL"
    assert changed(lambda: answer(os.rmdir, "outer"), "outer", ".") == ["", ""]
    assert changed(lambda: os.rmdir("outer/inner"), "outer") == ["mc"]
    assert os.stat("outer").st_nlink == 2
    assert answer(os.rmdir, "outer/inner") == "ENOENT"
    for kind in MAKERS.keys() - {"dir"}:
        MAKERS[kind](f"outer/{kind}")
        assert answer(os.rmdir, f"outer/{kind}") == "ENOTDIR"
        assert answer(os.rmdir, "outer") == "ENOTEMPTY"
        os.unlink(f"outer/{kind}")
    os.symlink("outer", "link")
    assert answer(os.rmdir, "link") == "ENOTDIR"
    os.chmod(".", 0o755)
    assert answer(os.rmdir, "outer", user=NOBODY) == "EACCES"
    os.rmdir("outer/")


def test_a_removed_directory_in_use(here):
    os.mkdir("dir")
    directory = os.open("dir", os.O_RDONLY)
    os.rmdir("dir")
    assert os.fstat(directory).st_nlink == 0
    assert os.listdir(directory) == []
    assert answer(os.mkdir, "new", dir_fd=directory) == "ENOENT"
    assert answer(os.open, "new", os.O_CREAT, dir_fd=directory) == "ENOENT"
    os.close(directory)


# ---- mkfifo, mknod

def test_fifo_carries_data(here):
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    os.close(writer)


def test_mknod(here):
    for kind in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        os.mknod("it", kind | 0o640)
        assert os.lstat("it").st_mode == kind | 0o640
        os.unlink("it")
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        assert answer(os.mknod, "it", kind | 0o640, os.makedev(1, 3), user=NOBODY) == "EPERM"
    assert answer(os.mknod, "it", stat.S_IFDIR | 0o755) == "EPERM"
    assert answer(os.mknod, "it", stat.S_IFLNK | 0o755) == "EINVAL"
    assert os.listdir(".") == []


# ---- symlink

def test_symlink(here):
    os.mkdir("dir")
    for size in (1, 59, 60, 255, 4095):
        assert changed(lambda: os.symlink("t" * size, "dir/link"), "dir") == ["mc"]
        status = os.lstat("dir/link")
        assert (stat.S_ISLNK(status.st_mode), status.st_mode & 0o777, status.st_size) == (True, 0o777, size)
        assert os.readlink("dir/link") == "t" * size
        os.unlink("dir/link")
    assert answer(os.symlink, "t" * 4096, "link") == "ENAMETOOLONG"
    assert answer(symlink, "", "link") == "ENOENT"
    os.symlink(b"\xff not UTF-8", "link")
    assert os.readlink(b"link") == b"\xff not UTF-8"
    create("file")
    os.mkfifo("fifo")
    for name in ("file", "fifo", "dir"):
        assert answer(os.readlink, name) == "EINVAL"


# ---- unlink

@pytest.mark.parametrize("kind", MAKERS.keys() - {"dir"})
def test_unlink(here, kind):
    MAKERS[kind]("it")
    assert changed(lambda: os.unlink("it"), ".") == ["mc"]
    assert answer(os.lstat, "it") == answer(os.unlink, "it") == "ENOENT"
    MAKERS[kind]("it")
    os.chmod(".", 0o755)
    os.lchown("it", *NOBODY)
    assert answer(os.unlink, "it", user=NOBODY) == "EACCES"


def test_unlink_a_directory(here):
    os.mkdir("dir")
    assert answer(os.unlink, "dir") == "EISDIR"
    assert os.listdir(".") == ["dir"]


def test_an_unlinked_file_in_use(here):
    file = os.open("file", os.O_RDWR | os.O_CREAT)
    os.write(file, b"before ")
    os.unlink("file")
    assert os.fstat(file).st_nlink == 0
    os.write(file, b"and after")
    create("file", data=b"another")
    assert os.pread(file, 100, 0) == b"before and after"
    os.ftruncate(file, 6)
    os.fchmod(file, 0o600)
    os.utime(file, ns=(10**18, 10**18 + 1))
    os.setxattr(file, "user.a", b"b")
    os.fsync(file)
    status = os.fstat(file)
    assert (status.st_size, status.st_mode & 0o777, status.st_mtime_ns) == (6, 0o600, 10**18 + 1)
    assert os.getxattr(file, "user.a") == b"b"
    again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    assert os.read(again, 100) == b"before"
    os.close(again)
    os.close(file)
    with open("file", "rb") as other:
        assert other.read() == b"another"


# ---- rename

@pytest.mark.parametrize("kind", MAKERS)
def test_rename(here, kind):
    """The name changes, in a folder and to another, and nothing else of it; the folders' times tell."""
    MAKERS[kind]("it")
    os.mkdir("folder")
    before = os.lstat("it")
    assert changed(lambda: os.rename("it", "other"), ".") == ["mc"]
    assert changed(lambda: os.rename("other", "folder/it"), "folder", ".") == ["mc", "mc"]
    after = os.lstat("folder/it")
    assert answer(os.lstat, "it") == answer(os.lstat, "other") == "ENOENT"
    for field in ("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
        assert getattr(before, field) == getattr(after, field)
    assert after.st_ctime_ns > before.st_ctime_ns
    assert changed(lambda: answer(os.rename, "folder/it", "nowhere/it"), "folder/it", "folder") == ["", ""]


@pytest.mark.parametrize("source, target", itertools.product(MAKERS, MAKERS))
def test_rename_over(here, source, target):
    os.mkdir("folder")
    MAKERS[source]("it")
    MAKERS[target]("folder/there")
    inode, replaced = os.lstat("it").st_ino, os.lstat("folder/there").st_ino
    expected = {(True, False): "ENOTDIR", (False, True): "EISDIR"}.get((source == "dir", target == "dir"))
    assert answer(rename2, "it", "folder/there", RENAME_NOREPLACE) == "EEXIST"
    assert os.lstat("folder/there").st_ino == replaced
    rename2("it", "folder/there", RENAME_EXCHANGE)
    assert (os.lstat("folder/there").st_ino, os.lstat("it").st_ino) == (inode, replaced)
    rename2("it", "folder/there", RENAME_EXCHANGE)
    assert answer(os.rename, "it", "folder/there") == expected
    if expected:
        assert (os.lstat("it").st_ino, os.lstat("folder/there").st_ino) == (inode, replaced)
    else:
        assert os.lstat("folder/there").st_ino == inode
        assert os.listdir(".") == ["folder"]


def test_rename_flags(here):
    create("file")
    assert answer(rename2, "file", "missing", RENAME_EXCHANGE) == "ENOENT"
    assert answer(rename2, "missing", "file", RENAME_EXCHANGE) == "ENOENT"
    assert answer(rename2, "missing", "new", RENAME_NOREPLACE) == "ENOENT"
    assert answer(rename2, "file", "new", RENAME_EXCHANGE | RENAME_NOREPLACE) == "EINVAL"
    assert answer(rename2, "file", "new", 64) == "EINVAL"
    assert rename2("file", "new", RENAME_NOREPLACE) is None
    assert os.listdir(".") == ["new"]


def test_rename_over_a_file_with_several_names(here):
    create("file", data=b"new")
    create("first", data=b"old")
    os.link("first", "second")
    assert changed(lambda: os.rename("file", "first"), "second") == ["c"]
    assert os.stat("second").st_nlink == 1
    assert open("second").read() == "old"
    assert open("first").read() == "new"
    os.link("first", "third")
    # Two names of one file: nothing is done, and that is success.
    os.rename("first", "third")
    assert os.stat("first").st_ino == os.stat("third").st_ino


def test_rename_directories(here):
    os.makedirs("a/b/c")
    os.makedirs("x/full/inner")
    assert answer(os.rename, "a", "a/b/new") == "EINVAL"
    assert answer(os.rename, "a", "a/b") == "EINVAL"
    assert answer(os.rename, "a/b", "a") == "ENOTEMPTY"
    assert answer(os.rename, "a", "x/full") == "ENOTEMPTY"
    assert answer(rename2, "a", "a/b/c", RENAME_EXCHANGE) == "EINVAL"
    for name in (".", "..", "a/.", "a/.."):
        assert answer(os.rename, name, "new") == "EBUSY"
        assert answer(os.rename, "a", name) in ("EBUSY", "EINVAL", "ENOTEMPTY")
    os.rename("a/b", "x/b")
    assert (os.stat("a").st_nlink, os.stat("x").st_nlink) == (2, 4)
    assert os.stat("x/b/..").st_ino == os.stat("x").st_ino
    assert os.listdir("x/b") == ["c"]
    os.mkdir("empty")
    os.rename("x/b", "empty")
    assert os.listdir("empty") == ["c"]
    rename2("empty", "x/full", RENAME_EXCHANGE)
    assert (os.listdir("empty"), os.listdir("x/full")) == (["inner"], ["c"])


def test_rename_in_use(here):
    """Files that are open, and directories that are somebody's, go on under the new name."""
    os.makedirs("dir/inner")
    create("file", data=b"old")
    create("new", data=b"new")
    with open("file", "r+b", buffering=0) as replaced, open("new", "r+b", buffering=0) as moved:
        directory = os.open("dir/inner", os.O_RDONLY)
        os.rename("new", "file")
        os.rename("dir", "renamed")
        create("renamed/inner/a")
        assert os.listdir(directory) == ["a"]
        moved.write(b"NEW!")
        replaced.write(b"OLD!")
        assert os.pread(replaced.fileno(), 9, 0) == b"OLD!"
        os.close(directory)
    assert open("file", "rb").read() == b"NEW!"


def test_rename_permissions(here):
    for name in ("open", "closed"):
        os.mkdir(name)
        create(f"{name}/file")
        os.chown(f"{name}/file", *NOBODY)
        os.mkdir(f"{name}/dir", 0o755)
    os.chmod("open", 0o777)
    os.chmod("closed", 0o755)
    assert answer(os.rename, "open/file", "closed/new", user=NOBODY) == "EACCES"
    assert answer(os.rename, "closed/file", "open/new", user=NOBODY) == "EACCES"
    assert answer(rename2, "closed/file", "open/file", RENAME_EXCHANGE, user=NOBODY) == "EACCES"
    # A directory that goes elsewhere is written: its `..` changes.
    os.mkdir("other", 0o777)
    assert answer(os.rename, "open/dir", "other/dir", user=NOBODY) == "EACCES"
    assert answer(os.rename, "open/dir", "open/renamed", user=NOBODY) is None
    assert answer(os.rename, "open/file", "other/file", user=NOBODY) is None


@needs_root
def test_another_file_system(here):
    """What is mounted in staging is none of ours."""
    create("file")
    os.mkdir("mounted")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "mounted"], check=True)
    try:
        create("mounted/file")
        assert answer(os.rename, "file", "mounted/new") == "EXDEV"
        assert answer(os.rename, "mounted/file", "new") == "EXDEV"
        assert answer(os.link, "file", "mounted/new") == "EXDEV"
        assert answer(os.rmdir, "mounted") == "EBUSY"
        assert answer(os.rename, "mounted", "new") == "EBUSY"
    finally:
        subprocess.run(["umount", "mounted"], check=True)


# ---- sticky directories: only the owner of a file, or of the directory, takes it away

@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("owner, directory_owner, allowed", [
    (NOBODY, OTHER, True), (OTHER, NOBODY, True), (NOBODY, NOBODY, True), (OTHER, OTHER, False), ((0, 0), OTHER, False)])
def test_sticky(here, kind, owner, directory_owner, allowed):
    for name in ("sticky", "plain"):
        os.mkdir(name, 0o777)
    os.chown("sticky", *directory_owner)
    os.chmod("sticky", 0o1777)
    make = lambda path: (MAKERS[kind](path), os.lchown(path, *owner))
    expected = (None,) if allowed else ("EPERM", "EACCES")
    remove = os.rmdir if kind == "dir" else os.unlink

    make("sticky/it")
    assert answer(remove, "sticky/it", user=NOBODY) in expected
    make("sticky/it") if allowed else None
    moved = answer(os.rename, "sticky/it", "plain/it", user=NOBODY)
    # Who owns the folder still needs to write to a directory that goes elsewhere.
    assert moved in expected or (kind == "dir" and owner != NOBODY and moved == "EACCES")
    for path in ("sticky/it", "plain/it"):
        if os.path.lexists(path):
            remove(path)
    make("sticky/it")
    assert answer(os.rename, "sticky/it", "sticky/other", user=NOBODY) in expected
    os.rename("sticky/other", "sticky/it") if allowed else None
    # As the target that is replaced.
    with acting_as(NOBODY):
        MAKERS[kind]("plain/mine")
    assert answer(os.rename, "plain/mine", "sticky/it", user=NOBODY) in expected


@pytest.mark.parametrize("call", ["link", "open O_CREAT", "fifo"])
def test_protected_by_the_kernel(here, call):
    """fs.protected_hardlinks and its like: what the kernel decides from owner and mode, and the same in both."""
    setting = {"link": "hardlinks", "open O_CREAT": "regular", "fifo": "fifos"}[call]
    protected = int(open(f"/proc/sys/fs/protected_{setting}").read())
    os.mkdir("sticky", 0o1777)
    os.chmod("sticky", 0o1777)
    os.mkfifo("sticky/it", 0o666) if call == "fifo" else create("sticky/it", 0o666)
    os.chmod("sticky/it", 0o606 if call == "link" else 0o666)
    os.chown("sticky/it", *OTHER)
    if call == "link":
        os.chmod("sticky/it", 0o4644)
        result = answer(os.link, "sticky/it", "sticky/new", user=NOBODY)
        assert result == ("EPERM" if protected else None)
    else:
        result = answer(lambda: os.close(os.open("sticky/it", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK)), user=NOBODY)
        assert result == ("EACCES" if protected else None)


# ---- listings

def test_listing(here):
    """Every name once with its type and number, also while names come and go."""
    for kind, make in MAKERS.items():
        make(kind)
    with os.scandir(".") as entries:
        for entry in entries:
            assert entry.inode() == os.lstat(entry.name).st_ino
            assert entry.is_dir(follow_symlinks=False) == (entry.name == "dir")
            assert entry.is_symlink() == (entry.name == "link")
    for number in range(2000):
        create(f"dir/{number}")
    kept = {str(number) for number in range(0, 2000, 2)}
    seen = []
    with os.scandir("dir") as entries:
        for turn, entry in enumerate(entries):
            seen.append(entry.name)
            if turn < 1000:
                answer(os.unlink, f"dir/{turn * 2 + 1}")
                create(f"dir/new {turn}")
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)
    assert set(os.listdir("dir")) == kept | {f"new {turn}" for turn in range(1000)}


def test_a_listing_from_the_start_again(here):
    directory = os.open(".", os.O_RDONLY)
    create("a")
    assert os.listdir(directory) == ["a"]
    create("b")
    os.unlink("a")
    assert os.listdir(directory) == ["b"]
    os.close(directory)
