"""Random operations on staging and on a plain folder: what a program sees is the same in both.

Each run is drawn from its seed alone, so a failure tells the command that does it again.
FLOWFS_LONGER=10 does ten times as many operations."""

import os
import subprocess
import threading

import pytest
from conftest import CAPTURES, FLOWFS, LONGER

DRIVER = FLOWFS.parents[1] / "tests" / "mount" / "random_operations"
OPERATIONS = int(25_000 * LONGER)


def tree(base):
    """The folder for the driver: what it does may reach into the one around it, and no further."""
    path = base / "set" / "tree"
    path.mkdir(parents=True)
    for folder in (path, path.parent):
        folder.chmod(0o777)
    return path


def drive(*arguments, operations=OPERATIONS, timeout=600):
    command = [DRIVER, "--operations", operations, *arguments]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, errors="replace",
                          timeout=timeout * max(1, LONGER))


def succeeds(*arguments, **options):
    result = drive(*arguments, **options)
    assert result.returncode == 0, result.stdout + result.stderr


class Onlookers:
    """Others look at the set's flow file and listing all the while: they are answered, or told of a mistake."""

    def __init__(self, staging):
        self.staging = staging
        self.done = threading.Event()
        self.looks = 0
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.done.wait(0.002):
            self.looks += 1
            assert "set" in os.listdir(self.staging)
            for name in ("set.mitm", "set.errors"):
                try:
                    (self.staging / name).read_bytes()
                except OSError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        assert self.looks > 10


@pytest.fixture
def plain(tmp_path):
    return tree(tmp_path / "plain")


@pytest.mark.parametrize("seed, options", [
    (1, []),
    (2, ["--drop-every", 4000]),
    (3, ["--user", 65534]),
    (4, ["--drop-every", 900]),
])
def test_random_operations(mount, plain, seed, options):
    mounted = mount(CAPTURES / "tcp.mitm", options=["-o", "allow_other"])
    succeeds("--seed", seed, *options, plain, tree(mounted.staging))
    mounted.end()
    # What is left in the mount point's own folder is what was there.
    succeeds(plain, mounted.path / "set" / "tree", operations=0)


def test_random_operations_while_others_look(mount, plain, tmp_path):
    backing = tmp_path / "backing"
    backing.mkdir()
    mounted = mount(CAPTURES / "tcp.mitm", options=["--staging", backing])
    staged = tree(mounted.staging)
    with Onlookers(mounted.staging):
        succeeds("--seed", 5, "--drop-every", 5000, plain, staged)
        # Each write has reached the folder behind when it returns.
        succeeds(plain, backing / "set" / "tree", operations=0)


def test_several_at_once(mount, tmp_path):
    """Programs in different folders of one staging, with few and with many threads to serve them."""
    mounted = mount(CAPTURES / "tcp.mitm")
    pairs = [(tree(tmp_path / f"plain{number}"), tree(mounted.staging / f"part{number}")) for number in range(4)]
    runs = [subprocess.Popen([str(each) for each in (DRIVER, "--seed", 100 + number, "--operations",
                                                     OPERATIONS // 5, *pair)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for number, pair in enumerate(pairs)]
    for each in runs:
        said, _ = each.communicate(timeout=600)
        assert each.returncode == 0, said.decode(errors="replace")


def test_the_driver_sees_a_difference(tmp_path):
    """A plain folder beside another is the same, and one wrong result is found and can be had again."""
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    succeeds("--seed", 7, first, second, operations=5000)
    (second / "a").with_name("more").write_text("x")
    assert drive(first, second, operations=0).returncode == 1
    first, second = tree(tmp_path / "c"), tree(tmp_path / "d")
    spoiled = drive("--seed", 7, "--spoil", 300, first, second, operations=5000)
    assert spoiled.returncode == 1
    assert "Different after operation 300" in spoiled.stdout
    assert "random_operations --seed 7 --operations 300" in spoiled.stdout
