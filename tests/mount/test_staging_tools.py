"""The tools that people edit with, on a set in staging: after each, NAME.mitm is at once what the edit means."""

import errno
import mmap
import os
import pty
import select
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from staged import BODY, Staged, states

EDITED = b"goodbye\nworld\n"
VIM = ("vim", "-N", "-u", "NONE", "-i", "NONE")


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def run(*command, **options):
    need(command[0])
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL, **options
    ).stdout


@pytest.fixture
def fix(mount, tmp_path):
    return Staged(mount, tmp_path)


def in_place(command):
    """The command with the file's path as its last word."""
    return lambda path: run(*command, str(path))


def shell(script):
    return lambda path: run("sh", "-ec", script, "sh", str(path))


def vim(*settings):
    return in_place(
        [
            *VIM,
            "-es",
            *[word for setting in settings for word in ("-c", f"set {setting}")],
            "-c",
            "%s/hello/goodbye/",
            "-c",
            "wq",
        ]
    )


def nano(*options):
    """nano wants a terminal: search and replace by its keys."""

    def edit(path):
        need("nano")
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm", LC_ALL="C")
            os.execvp("nano", ["nano", "--ignorercfiles", *options, str(path)])
        # ^\ replaces: what, with what, all; ^O writes, ^X ends.
        for keys in (b"\x1c", b"hello\r", b"goodbye\r", b"A", b"\x0f", b"\r", b"\x18"):
            settle(terminal)
            os.write(terminal, keys)
        end = time.monotonic() + 20
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            settle(terminal)
        os.close(terminal)

    return edit


def settle(terminal):
    """Reads what the program shows until it has nothing more to say."""
    try:
        while select.select([terminal], [], [], 0.15)[0] and os.read(terminal, 4096):
            pass
    except OSError:  # it has ended
        pass


def write_and_rename(path):
    """As most editors do: the new file beside it, synced, with the old one's mode, and then its name."""
    beside = path.with_name("." + path.name + ".new")
    with open(beside, "xb") as file:
        file.write(EDITED)
        os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def backup_and_write(path):
    """As emacs does: a lock that is a link to nowhere, the old file renamed away, a new one made."""
    lock = path.with_name(".#" + path.name)
    os.symlink("user@host.1234:5678", lock)
    os.rename(path, path.with_name(path.name + "~"))
    path.write_bytes(EDITED)
    lock.unlink()


def truncate_in_place(path):
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(EDITED[:4])
        file.flush()
        file.write(EDITED[4:])


def swap_file(path):
    """A swap file that is written all the time, while the file itself is written at the end."""
    swap = path.with_name("." + path.name + ".swp")
    with open(swap, "wb") as file:
        for _ in range(20):
            file.write(b"\0" * 4096)
            file.flush()
        os.fsync(file.fileno())
    with open(path, "wb") as file:
        file.write(EDITED)
    swap.unlink()


def mapped(path):
    """The file is made longer and then written as memory."""
    with open(path, "r+b") as file:
        file.truncate(len(EDITED))
        with mmap.mmap(file.fileno(), len(EDITED)) as memory:
            memory[:] = EDITED
            memory.flush()


def without_a_name(path):
    """A file that gets its name when it is whole; refused, as by many file systems, it is made beside it."""
    try:
        file = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o644)
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.EISDIR)
        write_and_rename(path)
        return
    os.write(file, EDITED)
    path.unlink()
    os.link(f"/proc/self/fd/{file}", path, follow_symlinks=True)
    os.close(file)


def exchange(path):
    beside = path.with_name("exchanged~")
    beside.write_bytes(EDITED)
    need("perl")
    # renameat2(AT_FDCWD, path, AT_FDCWD, beside, RENAME_EXCHANGE)
    run("perl", "-e", "exit(syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) == 0 ? 0 : 1)", path, beside)


EDITORS = {
    "vim": vim(),
    "vim, backup by rename": vim("backup", "writebackup", "backupcopy=no"),
    "vim, backup by copy": vim("backup", "writebackup", "backupcopy=yes"),
    "vim, no backup": vim("nowritebackup", "nobackup"),
    "vim, swap file beside it": vim("swapfile", "directory=."),
    "vim, synced": vim("fsync", "swapsync=fsync"),
    "ex": in_place(["ex", "-u", "NONE", "-i", "NONE", "-s", "-c", "%s/hello/goodbye/", "-c", "x"]),
    "nano": nano(),
    "nano, with backup": nano("--backup"),
    "sed -i": in_place(["sed", "-i", "s/hello/goodbye/"]),
    "sed -i.bak": in_place(["sed", "-i.bak", "s/hello/goodbye/"]),
    "perl -pi": in_place(["perl", "-pi", "-e", "s/hello/goodbye/"]),
    "perl -pi.orig": in_place(["perl", "-pi.orig", "-e", "s/hello/goodbye/"]),
    ">": shell(r'printf "goodbye\nworld\n" >"$1"'),
    "> and >>": shell(r'printf "good" >"$1"; printf "bye\n" >>"$1"; echo world >>"$1"'),
    "tee": shell(r'printf "goodbye\nworld\n" | tee "$1"'),
    "dd": shell(r'printf "goodbye\nworld\n" | dd of="$1" bs=3 status=none'),
    "dd in place": shell(r'printf "goodbye\nworld\n" | dd of="$1" conv=notrunc,fsync bs=1 status=none'),
    "mv over": shell(r'printf "goodbye\nworld\n" >"$1.tmp"; mv "$1.tmp" "$1"'),
    "cp over": shell(r't=$(mktemp); printf "goodbye\nworld\n" >"$t"; cp "$t" "$1"; rm "$t"'),
    "mv from outside": shell(r't=$(mktemp); printf "goodbye\nworld\n" >"$t"; mv "$t" "$1"'),
    "install": shell(r't=$(mktemp); printf "goodbye\nworld\n" >"$t"; install -m 644 "$t" "$1"; rm "$t"'),
    "ln -f": shell(r'printf "goodbye\nworld\n" >"$1.tmp"; ln -f "$1.tmp" "$1"; rm "$1.tmp"'),
    "rm and a new one": shell(r'rm "$1"; printf "goodbye\nworld\n" >"$1"'),
    "truncate and >>": shell(r'truncate -s 0 "$1"; printf "goodbye\nworld\n" >>"$1"'),
    "sponge-like": shell(r'new=$(sed s/hello/goodbye/ "$1"); echo "$new" >"$1"'),
    "write and rename": write_and_rename,
    "backup and write": backup_and_write,
    "truncate in place": truncate_in_place,
    "swap file": swap_file,
    "exchange": exchange,
    "mapped": mapped,
    "without a name": without_a_name,
}


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """One mount for all editors: each gets the body as it was."""
    from conftest import Mount

    mounts = []

    def make(*captures, options=(), path=None):
        mounts.append(Mount(path or tmp_path_factory.mktemp("mount") / "mnt", captures, options))
        return mounts[-1]

    yield Staged(make, tmp_path_factory.mktemp("edited"))
    for each in mounts:
        each.end()


@pytest.mark.parametrize("tool", EDITORS)
def test_editor(edited, tool):
    edited.body.write_bytes(BODY)
    before = edited.states()
    assert before[0]["response"]["content"] == BODY
    EDITORS[tool](edited.body)
    after = edited.states()
    assert edited.content() == EDITED
    assert edited.body.read_bytes() == (edited.backing / edited.body.relative_to(edited.root)).read_bytes() == EDITED
    # And nothing else changes, whatever the tool has left there.
    after[0]["response"].update({key: before[0]["response"][key] for key in ("content", "headers")})
    assert after == before


def test_appending(fix):
    """Each write is seen at the next look, while the file is still open."""
    with open(fix.body, "ab", buffering=0) as file:
        for number in range(20):
            file.write(b"%d\n" % number)
            assert fix.content() == BODY + b"".join(b"%d\n" % each for each in range(number + 1))
    run("sh", "-c", 'echo "X-New: 1" >>"$1"', "sh", fix.flow(1) / "request.headers")
    assert fix.states()[0]["request"]["headers"][-1] == [b"X-New", b"1"]


@pytest.mark.parametrize("command", ["cp -r", "cp -a", "cp -rp", "rsync -a", "rsync -a --inplace", "tar"])
def test_copies_in(fix, command):
    """Whatever copies a flow into another set, it is packed to the record that it was."""
    records = fix.pack()
    other = fix.root / "other"
    other.mkdir()
    for source in (fix.mounted.path, None):
        if command == "tar":
            need("tar")
            folder = next(each for each in fix.mounted.hosts()) if source else fix.set
            subprocess.run(f"tar -cf - -C '{folder}' . | tar -xf - -C '{other}'", shell=True, check=True, timeout=60)
        else:
            flows = fix.mounted.flows() if source else sorted(fix.set.iterdir())
            run(*command.split(), *map(str, flows), f"{other}/")
        assert (fix.root / "other.mitm").read_bytes() == records
        for each in other.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        assert (fix.root / "other.mitm").read_bytes() == b""


def test_copies_out(fix, tmp_path):
    """What is copied out of staging, by whatever, is what it is there."""
    expected = {path.relative_to(fix.set): path.read_bytes() for path in fix.set.rglob("*") if path.is_file()}
    run("cp", "-a", fix.set, tmp_path / "cp")
    run("rsync", "-a", f"{fix.set}/", tmp_path / "rsync")
    run("tar", "-cf", tmp_path / "all.tar", "-C", fix.set, ".")
    with tarfile.open(tmp_path / "all.tar") as tar:
        tar.extractall(tmp_path / "tar", filter="fully_trusted") if hasattr(tarfile, "data_filter") else tar.extractall(
            tmp_path / "tar"
        )
    for name in ("cp", "rsync", "tar"):
        folder = tmp_path / name
        assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == expected
    assert run("rsync", "-acn", "--itemize-changes", f"{fix.set}/", tmp_path / "cp") == ""
    run("mv", fix.set, tmp_path / "moved")
    assert not fix.set.exists() and not fix.flow_file.exists()
    assert {path.relative_to(tmp_path / "moved") for path in (tmp_path / "moved").rglob("*") if path.is_file()} == set(
        expected
    )


def test_rsync_follows_a_folder(fix, tmp_path):
    """Edited elsewhere and brought here again and again, with what is gone there deleted here."""
    away = tmp_path / "away"
    run("cp", "-r", fix.set, away)
    (away / fix.flow(1).name / "response.body").write_bytes(EDITED)
    shutil.rmtree(away / fix.flow(2).name)
    for options in (("-a", "--delete"), ("-ac", "--inplace", "--delete"), ("-a", "--delete-before", "--backup")):
        run("rsync", *options, f"{away}/", f"{fix.set}/")
        assert [state["request"]["path"] for state in fix.states()] == [b"/1", b"/3"]
        assert fix.content() == EDITED
        (away / fix.flow(1).name / "response.body").write_bytes(BODY * len(options))
        run("rsync", *options, f"{away}/", f"{fix.set}/")
        assert fix.content() == BODY * len(options)
        (away / fix.flow(1).name / "response.body").write_bytes(EDITED)


def test_moving_flows(fix):
    """Out of a set, between sets, to deeper folders and back, by one rename each."""
    original = fix.pack()
    (fix.root / "other").mkdir()
    run("mv", fix.flow(2), fix.root / "other")
    assert [state["request"]["path"] for state in fix.states()] == [b"/1", b"/3"]
    assert [state["request"]["path"] for state in states((fix.root / "other.mitm").read_bytes())] == [b"/2"]
    (fix.set / "deep" / "deeper").mkdir(parents=True)
    run("mv", fix.root / "other" / fix.flow(2).name, fix.set / "deep" / "deeper" / "named")
    assert fix.pack() == original
    assert (fix.root / "other.mitm").read_bytes() == b""
    run("mv", fix.set / "deep", fix.set / ".hidden")
    assert [state["request"]["path"] for state in fix.states()] == [b"/1", b"/3"]
    run("mv", fix.set / ".hidden", fix.set / "shown")
    assert fix.pack() == original
    # Out of the set and into it again where no set is: beside the sets' folders there is only the mount.
    run("mv", fix.set / "shown" / "deeper" / "named", fix.root / "other" / "back")
    run("rm", "-r", fix.flow(1), fix.flow(3))
    assert fix.pack() == b""
    run("mv", fix.root / "other", fix.set)
    assert [state["request"]["path"] for state in fix.states()] == [b"/2"]
    assert not (fix.root / "other.mitm").exists()


def test_links_between_sets(fix):
    """A body that two sets have in common by a hard link is edited in both."""
    shutil.copytree(fix.set, fix.root / "other", copy_function=os.link)
    other = fix.root / "other" / fix.body.relative_to(fix.set)
    assert os.stat(other).st_nlink == 2
    fix.pack()
    with open(other, "r+b") as file:
        file.write(b"HELLO")
    assert fix.content() == BODY.replace(b"hello", b"HELLO")
    assert (fix.root / "other.mitm").read_bytes() == fix.pack()
    fix.body.unlink()
    assert fix.content() == b""
    assert (fix.root / "other.mitm").read_bytes() != fix.pack()


def test_following_errors(fix):
    """tail -F, beside an editor."""
    need("tail")
    fix.pack()
    headers = fix.flow(2) / "request.headers"
    correct = headers.read_bytes()
    headers.write_bytes(b"first mistake\n")
    tail = subprocess.Popen(
        ["tail", "-F", "-s", "0.1", "--max-unchanged-stats=1", "-n", "+1", fix.errors],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert b"first mistake" in tail.stdout.readline()
        headers.write_bytes(b"second mistake\n")
        assert b"second mistake" in tail.stdout.readline()
        headers.write_bytes(correct)
        fix.pack()
        headers.write_bytes(b"third mistake\n")
        assert b"third mistake" in tail.stdout.readline()
    finally:
        tail.kill()
        tail.communicate()


def test_renaming_sets(fix):
    original = fix.pack()
    run("mv", fix.set, fix.root / "renamed")
    assert not fix.flow_file.exists()
    assert (fix.root / "renamed.mitm").read_bytes() == original
    fix.name, fix.set = "renamed", fix.root / "renamed"
    fix.body.write_bytes(EDITED)
    assert fix.content() == EDITED
    run("rm", "-r", fix.set)
    assert os.listdir(fix.root) == []
    assert [name for name in os.listdir(fix.backing) if not name.startswith(".flowfs")] == []


def git(folder, *arguments):
    return run(
        "git",
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.com",
        "-c",
        "init.defaultBranch=main",
        "-c",
        f"safe.directory={folder}",
        "-C",
        folder,
        *arguments,
    )


def test_git(fix):
    """A set kept in git: what is checked out is what is packed."""
    need("git")
    original = fix.pack()
    git(fix.set, "init", "-q")
    git(fix.set, "add", "-A")
    git(fix.set, "commit", "-qm", "As captured")
    assert git(fix.set, "status", "--porcelain") == ""
    assert fix.pack() == original
    fix.body.write_bytes(EDITED)
    assert git(fix.set, "status", "--porcelain") == f" M {fix.body.relative_to(fix.set)}\n"
    assert "+goodbye" in git(fix.set, "diff")
    git(fix.set, "commit", "-qam", "Edited")
    edited = fix.pack()
    assert fix.content() == EDITED
    git(fix.set, "checkout", "-q", "HEAD~1")
    assert fix.pack() == original
    git(fix.set, "checkout", "-q", "main")
    assert fix.pack() == edited
    git(fix.set, "checkout", "-q", "-b", "fewer")
    git(fix.set, "rm", "-rq", fix.flow(2).name)
    git(fix.set, "commit", "-qm", "Fewer")
    assert len(fix.states()) == 2
    git(fix.set, "checkout", "-q", "main")
    assert fix.pack() == edited
    git(fix.set, "gc", "-q", "--aggressive", "--prune=now")
    git(fix.set, "fsck", "--strict")
    assert fix.pack() == edited
    (fix.flow(3) / "request.headers").unlink()
    git(fix.set, "stash", "-q")
    assert fix.pack() == edited
    git(fix.set, "stash", "drop", "-q")
    git(fix.set, "revert", "-n", "HEAD")
    assert fix.pack() == original
    git(fix.set, "reset", "-q", "--hard")
    git(fix.root, "clone", "-q", str(fix.set), str(fix.root / "cloned"))
    assert (fix.root / "cloned.mitm").read_bytes() == edited


def refuses(path, code):
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    assert caught.value.errno == code


def test_a_mistake_is_told_and_mended(fix):
    good = fix.pack()
    os.sync()
    headers = fix.flow(2) / "request.headers"
    correct = headers.read_bytes()
    for bad, place, found in (
        (b"POST\n", 1, "POST"),
        (correct + b"no field\n", 4, "no field"),
        (b"", 1, "an empty file"),
    ):
        headers.write_bytes(bad)
        refuses(fix.flow_file, errno.EBADMSG)
        told = fix.errors.read_text()
        assert (
            told.startswith(f"{headers.relative_to(fix.set)}:{place}: found ")
            and found in told
            and ", expected " in told
        )
        assert told.count("\n") == 1
        assert fix.errors.name in os.listdir(fix.root) and fix.flow_file.name not in os.listdir(fix.root)
        with pytest.raises(OSError) as caught:
            (fix.set / ".flowfs" / "flows.har").read_bytes()
        assert caught.value.errno == errno.EBADMSG
        # The last good file stays on disk, and is not served.
        assert (fix.backing / "fix.mitm").read_bytes() == good
        assert (fix.backing / "fix.errors").read_text() == told
        headers.write_bytes(correct)
        assert fix.pack() == good
        assert not (fix.backing / "fix.errors").exists()


def test_all_mistakes_are_told(fix):
    fix.pack()
    for number in (1, 2, 3):
        (fix.flow(number) / "response.headers").write_bytes(b"no status\n")
    lines = fix.errors.read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{fix.flow(number).name}/response.headers" for number in (1, 2, 3)
    ]
    (fix.flow(1) / "response.headers").write_bytes(b"HTTP/1.1 200 OK\nContent-Length: 12\n")
    assert len(fix.errors.read_text().splitlines()) == 2
    shutil.rmtree(fix.flow(2))
    shutil.rmtree(fix.flow(3))
    assert [state["request"]["path"] for state in fix.states()] == [b"/1"]


def test_a_reader_keeps_what_it_opened(fix):
    """A file that is open is one version, from its first byte to its last."""
    good = fix.pack()
    with open(fix.flow_file, "rb", buffering=0) as file:
        assert file.read(100) == good[:100]
        fix.body.write_bytes(EDITED * 1000)
        assert len(fix.pack()) > len(good)
        assert file.read() == good[100:]
        (fix.flow(1) / "request.headers").write_bytes(b"")
        refuses(fix.flow_file, errno.EBADMSG)
        file.seek(0)
        assert file.read() == good
