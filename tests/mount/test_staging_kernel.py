"""What the kernel knows of staged files and when it is told; and the process behind the mount: limits that it was
started with, and the next one that takes its place."""

import errno
import mmap
import os
import subprocess
import threading

import pytest
from conftest import CAPTURES

SAMPLE = CAPTURES / "sample.mitm"


@pytest.fixture
def staged(mount):
    """A mount with a set of one flow that can be packed."""
    mounted = mount(SAMPLE)
    flow = mounted.staging / "set" / "flow"
    flow.mkdir(parents=True)
    (flow / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
    return mounted


def test_a_folder_that_stays_open_is_listed_anew(staged):
    """No path is walked, on which the kernel would ask for the folder's time."""
    top = os.open(staged.staging, os.O_RDONLY | os.O_DIRECTORY)
    headers = os.open(staged.staging / "set" / "flow" / "request.headers", os.O_RDWR)
    try:
        for _ in range(3):
            assert sorted(os.listdir(top)) == ["set", "set.mitm"]
            os.pwrite(headers, b"_", len("GET"))
            assert sorted(os.listdir(top)) == ["set", "set.errors"]
            os.pwrite(headers, b" ", len("GET"))
    finally:
        os.close(headers)
        os.close(top)


def test_a_new_file_is_not_taken_for_one_that_was_derived(staged):
    """Inode numbers come back: here that of NAME.errors, which the kernel knew."""
    headers = staged.staging / "set" / "flow" / "request.headers"
    for _ in range(5):
        good = headers.read_text()
        headers.write_text("broken")
        assert (staged.staging / "set.errors").stat().st_size > 0
        headers.write_text(good)
        assert (staged.staging / "set.mitm").stat().st_size > 0
        for number in range(50):
            path = staged.staging / f"new{number}"
            path.write_text("mine")
            assert path.read_text() == "mine"
            path.unlink()


def test_files_are_removed_while_they_are_read(staged):
    """The kernel forgets them as soon as the last read is answered."""
    def read_and_remove(number):
        page = mmap.mmap(-1, 4096)
        path = staged.staging / f"file{number}"
        for _ in range(200):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
            path.unlink()
            os.pwrite(file, page, 0)
            assert os.preadv(file, [page], 0) == 4096
            os.close(file)

    threads = [threading.Thread(target=read_and_remove, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_limit_for_files_is_an_error_for_who_writes(mount):
    mounted = mount(SAMPLE, launcher=("prlimit", "--fsize=100000"))
    with pytest.raises(OSError) as raised, open(mounted.staging / "large", "wb", buffering=0) as large:
        for _ in range(10):
            large.write(bytes(50000))
    assert raised.value.errno == errno.EFBIG
    assert (mounted.staging / "large").stat().st_size == 100000


def test_the_next_mount_waits_for_the_last_one(run, tmp_path):
    """umount returns while the set is still being packed."""
    mountpoint = tmp_path / "mnt"
    assert run(SAMPLE, mountpoint).returncode == 0
    for _ in range(5):
        for number in range(100):
            flow = mountpoint / "@staging" / "set" / str(number)
            flow.mkdir(parents=True, exist_ok=True)
            (flow / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
        subprocess.run(["umount", mountpoint], check=True)
        result = run(SAMPLE, mountpoint)
        assert result.returncode == 0 and result.stderr == ""
        assert sorted(os.listdir(mountpoint / "@staging")) == ["set", "set.mitm"]
