"""Mounts for the tests: each is unmounted and its daemon ended even when the test fails, and a daemon
that says something unexpected fails the test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FLOWFS = Path(os.environ.get("FLOWFS", PROJECT / "build" / "fs" / "flowfs"))
FLOWCAT = Path(os.environ.get("FLOWCAT", FLOWFS.parents[1] / "codec" / "flowcat"))
CAPTURES = PROJECT / "tests" / "captures"
CORPUS = Path(os.environ.get("FLOWFS_CORPUS", PROJECT.parent / "shared" / "corpus"))

# How much longer than usual the tests go on that repeat something at random; less than 1: shorter.
LONGER = float(os.environ.get("FLOWFS_LONGER", "1"))

# What flowfs may say on its own; all else, a sanitizer's report above all, is a failure.
EXPECTED = ("left out", "expected", "newer than", "ends after", "cannot be written in format version",
            "cannot be told in version")

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of captures at {CORPUS}")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) of a file system type needs root")


def is_mounted(path):
    with open("/proc/self/mounts") as mounts:
        return any(line.split()[1] == str(path).replace(" ", "\\040") for line in mounts)


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


class Mount:
    """flowfs in the foreground, so that what it says can be read and its end be waited for."""

    def __init__(self, path, captures, options=(), launcher=()):
        """launcher: a command that runs flowfs with the arguments after it, as `prlimit` does."""
        self.path = path
        self.expected = list(EXPECTED)
        self.over = False
        self.said = path.parent / (path.name + ".log")
        path.mkdir(exist_ok=True)
        with open(self.said, "wb") as log:
            self.process = subprocess.Popen([*launcher, FLOWFS, "-f", *options, *captures, path],
                                            stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: is_mounted(path) or self.process.poll() is not None)
        assert self.process.poll() is None, self.said.read_text()

    @property
    def staging(self):
        """The folder that can be written."""
        return self.path / "@staging"

    def kill(self):
        """kill -9: whatever is left is what reached the disk. The path can be mounted again."""
        self.over = True
        self.process.kill()
        self.process.wait()
        subprocess.run(["umount", "-l", self.path], check=False, stderr=subprocess.DEVNULL)

    def end(self):
        if self.over:
            return
        self.over = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            # If it hangs in the kernel, only this ends it.
            subprocess.run(["umount", "-f", self.path], check=False)
            self.process.kill()
            self.process.wait()
        mounted = is_mounted(self.path)
        if mounted:
            subprocess.run(["umount", "-l", self.path], check=False)
        unexpected = [line for line in self.said.read_text(errors="replace").splitlines()
                      if not any(word in line for word in self.expected)]
        assert not unexpected, "\n".join(unexpected)
        assert self.process.returncode == 0
        assert not mounted, "still mounted after SIGTERM"

    def hosts(self):
        """The directories of all hosts."""
        return sorted(path for path in self.path.iterdir() if path.name[0] not in "@.")

    def flows(self):
        """The directories of all flows."""
        return sorted(path for host in self.hosts() for path in host.iterdir())


@pytest.fixture
def mount(tmp_path):
    """mount(capture..., options=(), path=a new one): a Mount that is ended with the test."""
    mounts = []

    def make(*captures, options=(), path=None, launcher=()):
        mounts.append(Mount(path or tmp_path / f"mnt{len(mounts)}", captures, options, launcher))
        return mounts[-1]

    yield make
    for each in mounts:
        each.end()


@pytest.fixture
def run(tmp_path):
    """run(arguments...): flowfs as a command; what it mounts is unmounted with the test."""
    before = Path("/proc/self/mounts").read_text()

    def command(*arguments, **options):
        return subprocess.run([FLOWFS, *arguments], capture_output=True, text=True, timeout=60, **options)

    yield command
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line not in before and str(tmp_path) in line:
            subprocess.run(["umount", "-l", line.split()[1].replace("\\040", " ")], check=False)


@pytest.fixture(scope="module", params=["plain", "staging"])
def base(request):
    """A folder that any user can reach: a plain one, as the second opinion, and a set in staging."""
    folder = Path(tempfile.mkdtemp(prefix="flowfs-test-"))
    folder.chmod(0o755)
    mounted = None
    path = folder / "plain"
    if request.param == "staging":
        mounted = Mount(folder / "mnt", [CAPTURES / "tcp.mitm"], ["-o", "allow_other"])
        path = mounted.staging / "set"
    path.mkdir()
    yield path
    if mounted:
        mounted.end()
    shutil.rmtree(folder)


@pytest.fixture
def here(base, monkeypatch):
    """An empty working directory in base, where anybody may do anything; no umask."""
    path = Path(tempfile.mkdtemp(dir=base))
    path.chmod(0o777)
    monkeypatch.chdir(path)
    before = os.umask(0)
    yield path
    os.umask(before)
    shutil.rmtree(path)
