"""Whatever is done to sets, in whatever order: what is served of them at the next look is what flowcat packs of the
folders behind them at that moment, or the mistakes that it finds there."""

import ctypes
import errno
import os
import random
import shutil
import subprocess
import time

import pytest
from conftest import LONGER, wait_until
from staged import FLOWCAT, Staged

SETS = ("one", "two", "three")
FILES = (
    "request.headers",
    "response.headers",
    "request.body",
    "response.body",
    "response.body.raw",
    "response.trailers",
    "error",
    "flow.json",
    "messages/0001-client.txt",
    "messages/2-server.bin",
    "notes.txt",
    ".hidden",
    "response.body~",
)
CONTENTS = (
    b"GET http://example.com/a HTTP/1.1\nHost: example.com\n",
    b"GET http://example.com/b HTTP/1.1\nHost: example.com\n",
    b"HTTP/1.1 200 OK\nContent-Length: 5\n",
    b"HTTP/1.1 404 OK\nContent-Length: 5\n",
    b"hello",
    b"HELLO",
    b"",
    b"no line of any kind\n",
    b"A: b\n",
    b"{}",
    b"longer " * 3000,
)
EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)


def rename2(source, target, flags):
    if libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


class Chaos:
    """Random operations on the sets, the same for the same seed."""

    def __init__(self, staged, seed):
        self.random = random.Random(seed)
        self.root, self.sources = staged.root, staged.mounted.flows()
        self.number = 0

    def sets(self):
        return [self.root / name for name in SETS if (self.root / name).is_dir()]

    def flows(self):
        return [
            path.parent
            for each in self.sets()
            for path in each.rglob("*")
            if path.name in ("request.headers", "flow.json")
        ]

    def any_flow(self):
        return self.random.choice(self.flows() or [self.root / "one"])

    def any_file(self):
        files = [path for path in self.any_flow().rglob("*") if path.is_file()]
        return self.random.choice(files) if files else self.root / "one" / "request.headers"

    def new_place(self):
        self.number += 1
        folder = self.root / self.random.choice(SETS) / self.random.choice(["", "", "deep", "deep/er", ".git"])
        return folder / f"flow {self.number}"

    def step(self):
        name = self.random.choice([each for each in dir(self) if each.startswith("do_")])
        try:
            getattr(self, name)()
        except FileExistsError:
            pass
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, shutil.Error):
            pass
        except OSError as error:
            assert error.errno in (errno.ENOTEMPTY, errno.EINVAL, errno.EROFS, errno.EEXIST), (name, error)
        return name

    def do_copy(self):
        shutil.copytree(self.random.choice(self.sources), self.new_place(), copy_function=shutil.copyfile)

    do_copy_more = do_copy_most = do_copy

    def do_copy_again(self):
        shutil.copytree(self.any_flow(), self.new_place(), symlinks=True)

    do_copy_again_more = do_copy_again

    def do_write(self):
        path = self.any_flow() / self.random.choice(FILES)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.random.choice(CONTENTS))

    do_write_more = do_write_most = do_write

    def do_append(self):
        with open(self.any_file(), "ab") as file:
            file.write(self.random.choice(CONTENTS))

    def do_overwrite(self):
        """In place and of the same size, with the time put back: nothing but the change time tells."""
        path = self.any_file()
        before = path.stat()
        content = bytearray(path.read_bytes())
        if content:
            content[self.random.randrange(len(content))] = self.random.choice(b"09az \n")
            with open(path, "r+b") as file:
                file.write(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    do_overwrite_more = do_overwrite

    def do_truncate(self):
        path = self.any_file()
        os.truncate(path, self.random.randrange(path.stat().st_size + 2))

    def do_remove(self):
        self.any_file().unlink()

    def do_remove_flow(self):
        shutil.rmtree(self.any_flow())

    def do_rename_file(self):
        os.rename(self.any_file(), self.any_flow() / self.random.choice(FILES))

    def do_rename_flow(self):
        os.rename(self.any_flow(), self.new_place())

    def do_exchange_files(self):
        rename2(self.any_file(), self.any_file(), EXCHANGE)

    def do_exchange_flows(self):
        rename2(self.any_flow(), self.any_flow(), EXCHANGE)

    def do_exchange_sets(self):
        rename2(self.root / self.random.choice(SETS), self.root / self.random.choice(SETS), EXCHANGE)

    def do_rename_set(self):
        os.rename(self.root / self.random.choice(SETS), self.root / self.random.choice(SETS))

    def do_make_set(self):
        (self.root / self.random.choice(SETS)).mkdir()

    def do_remove_set(self):
        if self.random.random() < 0.2:
            shutil.rmtree(self.root / self.random.choice(SETS))

    def do_link(self):
        os.link(self.any_file(), self.any_flow() / self.random.choice(FILES))

    def do_symlink(self):
        os.symlink("summary.json", self.any_flow() / self.random.choice(FILES))

    def do_swap_by_rename(self):
        path = self.any_file()
        beside = path.with_name(".new")
        beside.write_bytes(self.random.choice(CONTENTS))
        os.replace(beside, path)

    def do_mend(self):
        """Takes out what is told to be wrong."""
        for folder in self.sets():
            errors = folder.with_name(f"{folder.name}.errors")
            for line in errors.read_text().splitlines() if errors.exists() else ():
                path = folder / line.split(": ")[0].rstrip("0123456789:")
                shutil.rmtree(path.parent.parent if path.parent.name == "messages" else path.parent, ignore_errors=True)

    do_mend_more = do_mend

    def do_time(self):
        os.utime(self.any_file(), (self.random.randrange(2**31), self.random.randrange(2**31)))

    def do_mode(self):
        os.chmod(self.any_file(), self.random.choice([0o600, 0o644, 0o400]))


def check(staged, name):
    """The set as the mount has it, and as flowcat finds it in the folder behind."""
    folder, listing = staged.backing / name, os.listdir(staged.root)
    flow_file, errors = staged.root / f"{name}.mitm", staged.root / f"{name}.errors"
    if not folder.is_dir():
        assert not {flow_file.name, errors.name} & set(listing) and not flow_file.exists() and not errors.exists()
        return "missing"
    result = subprocess.run([FLOWCAT, "-s", "--pack", folder], capture_output=True, timeout=60)
    told = result.stderr.decode(errors="replace").splitlines()
    if result.returncode and "there is no flow in" in told[0]:
        # One that never had a flow has no flow file.
        assert (flow_file.name in listing) == flow_file.exists()
        assert not flow_file.exists() or flow_file.read_bytes() == b""
        assert errors.name not in listing and not errors.exists()
        return "empty"
    if result.returncode == 0:
        assert flow_file.read_bytes() == result.stdout
        assert flow_file.stat().st_size == len(result.stdout)
        assert flow_file.name in listing and errors.name not in listing and not errors.exists()
        return "packed"
    assert result.returncode == 2
    with pytest.raises(OSError) as caught:
        flow_file.read_bytes()
    assert caught.value.errno == errno.EBADMSG
    assert errors.read_text().splitlines() == [line.removeprefix(f"flowcat: {folder}/") for line in told[:-1]]
    assert errors.name in listing and flow_file.name not in listing
    return "broken"


@pytest.mark.parametrize("seed", range(1, 4))
def test_random_changes(mount, tmp_path, seed):
    staged = Staged(mount, tmp_path, name="one")
    chaos = Chaos(staged, seed)
    seen, done = [], []
    for _ in range(int(120 * LONGER)):
        done.append(chaos.step())
        try:
            seen.append(check(staged, chaos.random.choice(SETS)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {done[-5:]}, {len(done)} steps") from error
    assert {"missing", "packed", "broken"} <= {check(staged, name) for name in SETS} | set(seen)
    # On disk at the end is what was served, or the last good one.
    served = {name: (staged.root / f"{name}.mitm").read_bytes() for name in SETS if check(staged, name) == "packed"}
    staged.mounted.end()
    for name, content in served.items():
        assert (staged.backing / f"{name}.mitm").read_bytes() == content
    staged.again()
    for name in SETS:
        check(staged, name)


def test_same_size_and_time(mount, tmp_path):
    """An edit that changes nothing but the content, long after the set was packed."""
    staged = Staged(mount, tmp_path, name="one")
    check(staged, "one")
    time.sleep(0.1)
    for content in (b"HELLO", b"hello", b"hELLO"):
        check(staged, "one")
        before = staged.body.stat()
        with open(staged.body, "r+b") as file:
            file.write(content)
        os.utime(staged.body, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert staged.body.stat().st_mtime_ns == before.st_mtime_ns
        assert staged.content().startswith(content)
        time.sleep(0.1)


def test_quick_edits(mount, tmp_path):
    """Edits of one size so near to each other that the file's time may be the same."""
    staged = Staged(mount, tmp_path, name="one")
    with open(staged.body, "r+b", buffering=0) as file:
        for number in range(300):
            content = b"%05d" % number
            os.pwrite(file.fileno(), content, 0)
            assert b"%s\nworld" % content in staged.flow_file.read_bytes()


def test_changes_behind_the_mount(mount, tmp_path):
    """Somebody else writes to the folder of staging: it is seen soon."""
    staged = Staged(mount, tmp_path, name="one")
    assert check(staged, "one") == "packed"
    folder = staged.backing / "one" / staged.flow(1).name
    for content in CONTENTS[:2]:
        (folder / "request.headers").write_bytes(content)
        wait_until(lambda: content.split()[1].rpartition(b"/")[2] in staged.flow_file.read_bytes())
        wait_until(lambda: check(staged, "one") == "packed")
    (folder / "request.headers").write_bytes(b"nonsense\n")
    wait_until(lambda: staged.errors.exists())
    assert check(staged, "one") == "broken"
