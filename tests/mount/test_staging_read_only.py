"""Everything but staging stays as it is: each call that would change something, on every kind of place."""

import errno
import mmap
import os
import shutil
import stat

import pytest
from conftest import CAPTURES, wait_until
from posix_calls import NOBODY, RENAME_EXCHANGE, RENAME_NOREPLACE, answer, fallocate, number, open_close, rename2

QUERY = "~m GET"


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """A capture of which a change would be seen."""
    path = tmp_path_factory.mktemp("captured") / "all.mitm"
    path.write_bytes((CAPTURES / "websocket.mitm").read_bytes() + (CAPTURES / "sample.mitm").read_bytes())
    return path


@pytest.fixture
def mounted(mount, captured):
    made = mount(captured, options=["--query", QUERY, "-o", "allow_other"])
    # A set in staging, so that there are derived files as well.
    flow = next(folder for folder in made.flows() if (folder / "response.body").exists())
    (made.staging / "set").mkdir()
    shutil.copytree(flow, made.staging / "set" / "flow", copy_function=shutil.copyfile)
    (made.staging / "broken" / "flow").mkdir(parents=True)
    (made.staging / "broken" / "flow" / "request.headers").write_text("no request\n")
    wait_until(lambda: (made.staging / "set.mitm").exists() and (made.staging / "broken.errors").exists())
    return made


def places(mounted):
    """By what they are: a directory, file or link of each kind."""
    chat = next(folder for folder in mounted.flows() if (folder / "messages").exists())
    link = next((mounted.path / "@by" / "method" / "GET").iterdir())
    group = mounted.path / "@by" / "method"
    return {
        "root": mounted.path,
        "host": chat.parent,
        "flow": chat,
        "file": chat / "flow.json",
        "messages": chat / "messages",
        "message": next((chat / "messages").iterdir()),
        "views": mounted.path / "@by",
        "view": group,
        "group": group / "GET",
        "link": link,
        "queries": mounted.path / "@query",
        "query": mounted.path / "@query" / QUERY,
        "link of a query": next((mounted.path / "@query" / QUERY).iterdir()),
        "control": mounted.path / ".flowfs",
        "control file": mounted.path / ".flowfs" / "captures.json",
        "flow file": mounted.path / ".flowfs" / "flows.mitm",
        "packed set": mounted.staging / "set.mitm",
        "errors of a set": mounted.staging / "broken.errors",
    }


KINDS = ["root", "host", "flow", "file", "messages", "message", "views", "view", "group", "link", "queries", "query",
         "link of a query", "control", "control file", "flow file", "packed set", "errors of a set"]


def open_and_write(path, flags):
    """That a file is opened to be written is not asked of flowfs, for speed: it is the first write that fails."""
    file = os.open(path, flags)
    try:
        os.write(file, b"written")
    finally:
        os.close(file)


def on_a_name(path, spare):
    """What can be done to something that exists, with a name in staging to spare."""
    nofollow = {"follow_symlinks": False}
    other = path.with_name("~none of them" if path.parent.name == "@query" else "other name")
    return {
        "chmod": lambda: os.chmod(path, 0o600) if not path.is_symlink() else os.lchown(path, 1, 1),
        "chown": lambda: os.chown(path, 1, 1, **nofollow),
        "utimensat": lambda: os.utime(path, (1, 1), **nofollow),
        "touch": lambda: os.utime(path, **nofollow),
        "setxattr": lambda: os.setxattr(path, "trusted.a", b"b", **nofollow),
        "removexattr": lambda: os.removexattr(path, "trusted.a", **nofollow),
        "remove": lambda: os.rmdir(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path),
        "rename": lambda: os.rename(path, other),
        "rename NOREPLACE": lambda: rename2(path, other, RENAME_NOREPLACE),
    }


def on_a_file(path, spare):
    return {
        "write": lambda: open_and_write(path, os.O_WRONLY),
        "write and read": lambda: open_and_write(path, os.O_RDWR),
        "append": lambda: open_and_write(path, os.O_WRONLY | os.O_APPEND),
        "write with O_CREAT": lambda: open_and_write(path, os.O_WRONLY | os.O_CREAT),
        "open to truncate": lambda: open_close(path, os.O_RDONLY | os.O_TRUNC),
        "truncate": lambda: os.truncate(path, 0),
        "link beside it": lambda: os.link(path, path.with_name("linked")),
    }


def in_a_directory(path, spare):
    # Most words are a query, and so a directory that is there; this is none.
    new = path / ("~none of them" if path.name == "@query" else "new name")
    return {
        "create": lambda: open_close(new, os.O_WRONLY | os.O_CREAT),
        "create O_EXCL": lambda: open_close(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        "mkdir": lambda: os.mkdir(new),
        "mkfifo": lambda: os.mkfifo(new),
        "mknod": lambda: os.mknod(new, stat.S_IFREG | 0o644),
        "symlink": lambda: os.symlink("a", new),
        "move in": lambda: os.rename(spare, new),
        "move a directory in": lambda: os.rename(spare.with_name("dir"), new),
    }


def fingerprint(top):
    """All that can be seen of a tree."""
    seen = []
    for folder, folders, names in os.walk(top):
        if folder == str(top):
            folders[:] = sorted([*(name for name in folders if name != "@staging"), *{".flowfs"} - {*folders}])
        folders.sort()
        for name in sorted(folders + names) + ["."]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            seen.append((path, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_nlink))
            if path.endswith("/.flowfs/errors"):
                seen.pop()  # it tells of queries that are none
            elif stat.S_ISREG(status.st_mode):
                seen.append(open(path, "rb").read())
            elif stat.S_ISLNK(status.st_mode):
                seen.append(os.readlink(path))
    return seen


# What saves and forgets queries: test_saved_queries.py.
SAVED_QUERIES = {("queries", "mkdir"), ("query", "remove")}


def test_nothing_else_can_be_written(mounted, captured):
    spare = mounted.staging / "spare"
    spare.write_text("to spare")
    (mounted.staging / "dir").mkdir()
    before, capture = fingerprint(mounted.path), captured.read_bytes()
    packed = (mounted.staging / "set.mitm").read_bytes()
    found = places(mounted)
    assert list(found) == KINDS
    for kind, path in found.items():
        attempts = on_a_name(path, spare) if kind != "root" else {}
        if path.is_dir() and not path.is_symlink():
            attempts |= in_a_directory(path, spare)
        elif not path.is_symlink():
            attempts |= on_a_file(path, spare)
        # Queries are kept and let go by these two, which changes nothing that was captured.
        for name in {"queries": ["mkdir"], "query": ["remove"]}.get(kind, []):
            del attempts[name]
        for name, attempt in attempts.items():
            if (kind, name) in SAVED_QUERIES:
                continue
            result = number(answer(attempt))
            assert result == "EROFS", f"{kind}: {name}"
    assert spare.read_text() == "to spare"
    assert captured.read_bytes() == capture
    assert fingerprint(mounted.path) == before
    assert (mounted.staging / "set.mitm").read_bytes() == packed


def test_between_the_tree_and_staging(mounted):
    """No file of the tree becomes one of staging by another name; what is there stays there, too."""
    spare = mounted.staging / "spare"
    spare.write_text("to spare")
    found = places(mounted)
    for kind in ("file", "message", "link", "control file"):
        assert answer(os.link, found[kind], mounted.staging / "new", follow_symlinks=False) == "EXDEV", kind
    for kind in ("file", "message", "flow", "host", "messages", "link", "query"):
        target = mounted.staging / "new"
        assert answer(os.rename, found[kind], target) in ("EXDEV", "EROFS"), kind
        assert answer(rename2, found[kind], spare, RENAME_EXCHANGE) in ("EXDEV", "EROFS"), kind
        assert os.path.lexists(found[kind]) and not target.exists()
    for kind in ("root", "host", "flow", "messages", "views", "group", "query", "control"):
        assert answer(os.link, spare, found[kind] / "new") in ("EXDEV", "EROFS"), kind
        assert answer(os.rename, spare, found[kind] / "new") in ("EXDEV", "EROFS"), kind
    assert spare.read_text() == "to spare"
    assert os.stat(spare).st_nlink == 1
    # Copies are another matter, by whatever call.
    with open(found["file"], "rb") as source, open(mounted.staging / "copy", "wb") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 1 << 20) == os.path.getsize(found["file"])
    assert (mounted.staging / "copy").read_bytes() == found["file"].read_bytes()
    with open(mounted.staging / "copy", "rb") as file, pytest.raises(OSError) as caught:
        os.copy_file_range(file.fileno(), os.open(found["file"], os.O_RDONLY), 10)
    assert caught.value.errno == errno.EBADF


def test_open_files_of_the_tree(mounted):
    path = places(mounted)["file"]
    with open(path, "rb") as file:
        assert answer(os.write, file.fileno(), b"x") == "EBADF"
        assert answer(os.ftruncate, file.fileno(), 0) == "EINVAL"
        assert answer(fallocate, file.fileno(), 0, 0, 10) == "EBADF"
        assert answer(os.fchmod, file.fileno(), 0o600) == "EROFS"
        assert answer(os.setxattr, file.fileno(), "user.a", b"b") == "EROFS"
        assert number(answer(mmap.mmap, file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)) == "EACCES"
        assert number(answer(os.fsync, file.fileno())) == 0
        # A private mapping is the program's own.
        with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as mapped:
            mapped[0] = 0
    assert path.read_bytes()[0] != 0


@pytest.mark.parametrize("kind", ["file", "derived"])
def test_a_mapping_does_not_change_what_others_read(mounted, kind):
    """The kernel lets a mapping be written before it asks; what came of that goes when we have said no."""
    path = mounted.staging / "set.mitm" if kind == "derived" else places(mounted)["file"]
    before = path.read_bytes()
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0] = 0
            assert answer(mapped.flush) == "EROFS"
        wait_until(lambda: path.read_bytes() == before, 5)


def test_another_user_is_told_of_permissions_first(mounted):
    """Where neither the user nor anybody may write, either is a true answer; never that it went well."""
    for kind, path in places(mounted).items():
        if path.is_dir() and not path.is_symlink():
            assert number(answer(os.mkdir, path / "new", user=NOBODY)) in ("EROFS", "EACCES"), kind
        else:
            assert number(answer(os.utime, path, (1, 1), follow_symlinks=False,
                                 user=NOBODY)) in ("EROFS", "EPERM", "EACCES"), kind


def test_a_mount_that_is_read_only(mount, captured, tmp_path):
    """-o ro: no staging at all, and nothing in the mount point's folder is touched."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    mounted = mount(captured, options=["-o", "ro"], path=path)
    assert "@staging" not in os.listdir(path)
    assert answer(os.stat, mounted.staging) == "ENOENT"
    assert answer(os.mkdir, path / "new") == "EROFS"
    assert os.statvfs(path).f_flag & os.ST_RDONLY
    mounted.end()
    assert os.listdir(path) == ["mine.txt"]
