"""What staging promises when things go wrong or many happen at once: a full disk, programs that write the same flow,
more open files than a process may have, a second mount, a signal, a forgotten unmount."""

import errno
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import CAPTURES, LONGER, is_mounted, needs_root, wait_until
from posix_calls import answer
from staged_sets import (body, capture, copy_flows, is_whole, pack, replace_file, rewrite_file, sync, version_of,
                         versions)
from tnetstring import read_flows


@pytest.fixture
def backing(tmp_path):
    """A staging folder that can be seen beside the mount."""
    path = tmp_path / "backing"
    path.mkdir()
    return path


@pytest.fixture
def staged(mount, backing, tmp_path):
    """A mount with a set of three flows, and the files of their response bodies by number."""
    mounted = mount(capture(tmp_path), options=["--staging", backing])
    (mounted.staging / "set").mkdir()
    mounted.files = copy_flows(mounted, mounted.staging / "set")
    return mounted


# ---- a full disk

@pytest.fixture
def small_disk(tmp_path):
    """1 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def cramped(mount, small_disk, tmp_path):
    """A set on the small disk, whose flow file is on the disk, too."""
    mounted = mount(capture(tmp_path), options=["--staging", small_disk])
    mounted.expected.append("No space left")
    (mounted.staging / "set").mkdir()
    mounted.files = copy_flows(mounted, mounted.staging / "set")
    sync(mounted.staging / "set")
    assert (small_disk / "set.mitm").read_bytes() == pack(small_disk / "set")
    return mounted


def fill(path, size=None):
    """Writes until there is no room, or until `size` bytes are written; returns how much that was."""
    written = 0
    with open(path, "wb", buffering=0) as file:
        while size is None or written < size:
            try:
                written += file.write(bytes(min(4096, (size or 1 << 30) - written)))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return written
    return written


@needs_root
def test_a_full_disk(cramped, small_disk):
    """Who writes is told; the flow file on the disk stays; and all goes on once there is room."""
    good = (small_disk / "set.mitm").read_bytes()
    filler = cramped.staging / ".filler"
    assert 500_000 < fill(filler) < 1 << 20
    assert os.statvfs(cramped.staging).f_bavail == 0
    with open(cramped.staging / "set" / "notes", "wb", buffering=0) as file:
        assert answer(file.write, b"x" * 10_000) == "ENOSPC"
    assert answer(os.mkdir, cramped.staging / "set" / "folder") in (None, "ENOSPC")
    file = os.open(cramped.files[1], os.O_WRONLY)
    assert answer(os.pwrite, file, body(1, 1, 8000), 8000) == "ENOSPC"
    assert answer(os.posix_fallocate, file, 0, 100_000) == "ENOSPC"
    os.close(file)
    assert open(cramped.files[1], "rb").read() == body(0, 1)
    # What is there can still be made shorter: that needs no room, but its flow file does.
    rewrite_file(cramped.files[2], body(1, 2, 100))
    assert (small_disk / "set.mitm").read_bytes() == good
    filler.unlink()
    replace_file(cramped.files[3], body(1, 3))
    sync(cramped.staging / "set")
    assert versions((small_disk / "set.mitm").read_bytes()) == {1: 0, 2: 1, 3: 1}
    assert (cramped.staging / "set.mitm").read_bytes() == (small_disk / "set.mitm").read_bytes()
    assert {name for name in os.listdir(small_disk) if name[0] == "."} == {".flowfs-sets"}


@needs_root
def test_no_room_for_the_flow_file_alone(cramped, small_disk):
    """The flows fit, what is made of them does not: the last good file stays, and nothing old is told as new."""
    for number in (1, 2):
        replace_file(cramped.files[number], body(1, number, 300_000))
    assert open(cramped.files[2], "rb").read() == body(1, 2, 300_000)
    # With one of them it may still have been packed.
    good = (small_disk / "set.mitm").read_bytes()
    assert versions(good) in ({1: 0, 2: 0, 3: 0}, {1: 1, 2: 0, 3: 0})
    for _ in range(3):
        assert answer(lambda: (cramped.staging / "set.mitm").read_bytes()) == "ENOSPC"
        assert answer(sync, cramped.staging / "set") == "ENOSPC"
    assert (small_disk / "set.mitm").read_bytes() == good
    is_whole(small_disk / "set.mitm")
    # Nothing half-made is left to take the room.
    assert os.statvfs(small_disk).f_bavail * 4096 > (1 << 20) - 600_000 - len(good) - 100_000
    rewrite_file(cramped.files[1], body(2, 1, 10_000))
    assert versions((cramped.staging / "set.mitm").read_bytes()) == {1: 2, 2: 1, 3: 0}
    sync(cramped.staging / "set")
    assert (small_disk / "set.mitm").read_bytes() == pack(small_disk / "set")


@needs_root
def test_no_room_behind_a_mapping(cramped):
    """What a mapping could not be written to is told by msync."""
    path = cramped.staging / ".sparse"
    with open(path, "w+b") as file:
        os.ftruncate(file.fileno(), 100_000)
        fill(cramped.staging / ".filler")
        with mmap.mmap(file.fileno(), 100_000) as mapped:
            mapped[:] = b"m" * 100_000
            assert answer(mapped.flush) in ("ENOSPC", "EIO")
        answer(os.fsync, file.fileno())
    (cramped.staging / ".filler").unlink()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = b"n" * 100_000
        mapped.flush()
    assert path.read_bytes() == b"n" * 100_000


@needs_root
def test_unmounting_a_full_disk(cramped, small_disk):
    """It ends, and says that it could not write; the old flow file is whole."""
    # The flow has room on the disk, but not its flow file beside it.
    good = (small_disk / "set.mitm").read_bytes()
    replace_file(cramped.files[1], body(1, 1, 600_000))
    fill(cramped.staging / ".filler")
    cramped.process.send_signal(signal.SIGTERM)
    cramped.process.wait(20)
    assert "No space left" in cramped.said.read_text()
    assert (small_disk / "set.mitm").read_bytes() == good
    assert (small_disk / "set" / os.path.relpath(cramped.files[1], cramped.staging / "set")).read_bytes() \
        == body(1, 1, 600_000)
    cramped.kill()


# ---- always current

def test_each_edit_is_in_the_flow_file_at_once(staged, backing):
    """Also one that leaves size and modification time as they were, by whatever call it is made."""
    draw = random.Random(1)
    path = staged.files[1]

    def in_place(path, data, synced):
        with open(path, "r+b") as file:
            file.write(data)

    def mapped(path, data, synced):
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[:] = data

    def copied(path, data, synced):
        with open(staged.staging / "source", "wb") as file:
            file.write(data)
        with open(staged.staging / "source", "rb") as source, open(path, "r+b") as target:
            assert os.copy_file_range(source.fileno(), target.fileno(), len(data)) == len(data)

    def exchanged(path, data, synced):
        other = path + ".other"
        rewrite_file(other, data, False)
        os.rename(path, path + ".old")
        os.rename(other, path)
        os.unlink(path + ".old")

    rewrite_file(path, body(0, 1, 1000))
    ways = [in_place, mapped, copied, exchanged, replace_file, rewrite_file]
    for version in range(1, int(150 * LONGER)):
        times = os.stat(path)
        way = draw.choice(ways)
        way(path, body(version, 1, 1000), False)
        if draw.random() < 0.5:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        found = versions((staged.staging / "set.mitm").read_bytes())
        assert found[1] == version, way.__name__
    assert (staged.staging / "set.mitm").read_bytes() == pack(backing / "set")


def test_what_is_read_stays_one_version(staged):
    """Who has a flow file open keeps the version that it was."""
    files = []
    for version in range(1, 6):
        replace_file(staged.files[2], body(version, 2), False)
        files.append(open(staged.staging / "set.mitm", "rb"))
    assert [versions(file.read())[2] for file in files] == [1, 2, 3, 4, 5]
    for file in files:
        file.close()


def test_a_pause_brings_the_flow_file_to_disk(staged, backing):
    """Without fsync and without anybody who looks."""
    sync(staged.staging / "set")
    rewrite_file(staged.files[1], body(9, 1), False)
    wait_until(lambda: versions((backing / "set.mitm").read_bytes())[1] == 9, 5)
    is_whole(backing / "set.mitm")


@pytest.mark.parametrize("synced", ["set.mitm", "set", "."])
def test_fsync_brings_the_flow_file_to_disk(staged, backing, synced):
    for version in range(1, 6):
        rewrite_file(staged.files[1], body(version, 1), False)
        sync(staged.staging / synced)
        assert versions((backing / "set.mitm").read_bytes())[1] == version


# ---- many at once

def in_background(function, *arguments):
    """A process of its own: returns its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        function(*arguments)
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("write", [replace_file, rewrite_file])
def test_two_programs_write_one_flow_at_once(staged, backing, write):
    """Every flow file that is read meanwhile is whole, with what one of them wrote."""
    memory = mmap.mmap(-1, 24)  # the last version of each, and whether to stop

    def write_often(place, version):
        while not memory[16]:
            write(staged.files[1], body(version, 1, 30_000 if write is replace_file else 1500), version % 10 == 0)
            memory[place:place + 8] = version.to_bytes(8, "little")
            version += 1

    writers = [in_background(write_often, place, first) for place, first in ((0, 1000), (8, 500_000))]
    path = staged.staging / "set.mitm"
    seen = set()
    enough = 20 * max(0.5, LONGER)
    end = time.monotonic() + 20
    while len(seen) < enough and time.monotonic() < end:
        flows = read_flows(path.read_bytes())
        assert len(flows) == 3
        seen |= {version_of(flow["response"]["content"], 1) for flow in flows if flow["id"][-1] == "1"}
    memory[16] = 1
    assert [os.waitpid(process, 0)[1] for process in writers] == [0, 0]
    assert len(seen) >= enough
    assert write is rewrite_file or None not in seen
    last = versions(path.read_bytes())[1]
    assert last in [int.from_bytes(memory[place:place + 8], "little") for place in (0, 8)]
    assert path.read_bytes() == pack(backing / "set")


def test_writers_and_readers_at_once(staged, backing):
    """Threads that write, move, add and remove flows, and others that read all there is."""
    stop = threading.Event()
    failures = []

    def again(function):
        def loop():
            turn = 0
            while not stop.is_set():
                turn += 1
                try:
                    function(turn)
                except Exception as failure:
                    failures.append(repr(failure))
                    return
        return threading.Thread(target=loop)

    folder = staged.staging / "set"
    flow = os.path.dirname(staged.files[1])

    def edit(turn):
        replace_file(staged.files[2], body(turn, 2), turn % 20 == 0)

    def add(turn):
        shutil.copytree(flow, folder / f"more {turn}", copy_function=shutil.copyfile)
        os.rename(folder / f"more {turn}", folder / f"moved {turn}")
        shutil.rmtree(folder / f"moved {turn}")

    def other_sets(turn):
        os.mkdir(staged.staging / f"other{turn}")
        shutil.copytree(flow, staged.staging / f"other{turn}" / "flow", copy_function=shutil.copyfile)
        os.rename(staged.staging / f"other{turn}", staged.staging / "renamed")
        versions((staged.staging / "renamed.mitm").read_bytes())
        shutil.rmtree(staged.staging / "renamed")

    def read(turn):
        found = answer((staged.staging / "set.mitm").read_bytes)
        # A flow that is being copied into the set is not whole.
        assert found == "EBADMSG" or versions(found)[3] == 0

    def walk(turn):
        for path, _, names in os.walk(staged.staging):
            for name in names:
                answer(lambda: open(os.path.join(path, name), "rb").read())

    def control(turn):
        for name in ("flows.jsonl", "flows.mitm"):
            result = answer(lambda: (folder / ".flowfs" / name).read_bytes())
            assert isinstance(result, bytes) or result in ("EBADMSG", "ENOENT"), result

    threads = [again(each) for each in (edit, add, other_sets, read, read, walk, control)]
    for thread in threads:
        thread.start()
    stop.wait(3 * max(0.5, LONGER))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert (staged.staging / "set.mitm").read_bytes() == pack(backing / "set")


def test_appends_at_once(staged):
    """Each write of a file opened with O_APPEND is at its end, whoever else appends."""
    path = str(staged.staging / "log")

    def append(letter):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for _ in range(300):
            os.write(file, letter * 97 + b"\n")
        os.close(file)

    processes = [in_background(append, letter) for letter in (b"a", b"b", b"c")]
    assert all(os.waitpid(process, 0)[1] == 0 for process in processes)
    lines = open(path, "rb").read().splitlines()
    assert sorted(lines) == sorted([letter * 97 for letter in (b"a", b"b", b"c")] * 300)


# ---- many files

@pytest.fixture
def many_files_here():
    """This process may have many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 7000:
        pytest.skip(f"a process may have no more than {hard} files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def limited(mount):
    """A daemon that may have 1,024 files open, and no more if it asks."""
    return mount(CAPTURES / "tcp.mitm", launcher=["prlimit", "--nofile=1024:1024", "setpriv",
                                                  "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"])


def test_more_open_files_than_the_daemon_may_have(limited, many_files_here):
    folder = limited.staging / "set"
    folder.mkdir()
    files = [os.open(folder / f"{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(5000)]
    for number, file in enumerate(files):
        os.write(file, b"%d" % number)
    for number in range(0, 5000, 7):
        os.rename(folder / f"{number}", folder / f"renamed {number}")
    os.mkdir(folder / "deep")
    for number in range(1, 5000, 7):
        os.rename(folder / f"{number}", folder / "deep" / f"{number}")
    for number in range(2, 5000, 70):
        os.unlink(folder / f"{number}")
    for number, file in enumerate(files):
        os.pwrite(file, b"!", 10)
        assert os.pread(file, 100, 0) == (b"%d" % number).ljust(10, b"\0") + b"!"
    os.rename(folder / "deep", folder / "elsewhere")
    for number in range(1, 5000, 7):
        os.fchmod(files[number], 0o640)
        assert os.fstat(files[number]).st_size == 11
        assert os.stat(folder / "elsewhere" / f"{number}").st_ino == os.fstat(files[number]).st_ino
    for file in files:
        os.close(file)


def test_many_unlinked_files_in_use(limited, many_files_here):
    """Those cannot be closed and found again by name: whatever cannot be kept is not removed."""
    files = []
    for number in range(2500):
        path = limited.staging / f"{number}"
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(file, b"%d" % number)
        files.append((file, answer(os.unlink, path)))
    assert all(result in (None, "EMFILE", "ENFILE") for _, result in files)
    assert sum(result is None for _, result in files) > 200
    for number, (file, result) in enumerate(files):
        assert os.pread(file, 100, 0) == b"%d" % number
        os.close(file)
    for name in os.listdir(limited.staging):
        os.unlink(limited.staging / name)


def test_nodes_are_forgotten(mount, tmp_path):
    """What the kernel no longer asks for costs nothing: descriptors and memory are those of before."""
    mounted = mount(CAPTURES / "tcp.mitm")
    descriptors = f"/proc/{mounted.process.pid}/fd"
    before = len(os.listdir(descriptors))
    for turn in range(3):
        folder = mounted.staging / f"{turn}"
        folder.mkdir()
        for number in range(500):
            (folder / f"{number}").write_bytes(b"x")
        shutil.rmtree(folder)
    wait_until(lambda: len(os.listdir(descriptors)) <= before + 4, 10)


# ---- mounts

def test_files_are_there_after_unmounting(mount, tmp_path):
    mounted = mount(capture(tmp_path))
    (mounted.staging / "set").mkdir()
    files = copy_flows(mounted, mounted.staging / "set")
    rewrite_file(files[1], body(5, 1), False)
    os.setxattr(files[1], "user.a", b"b")
    os.utime(files[2], (5, 6))
    os.symlink("set", mounted.staging / "link")
    mounted.end()
    assert sorted(os.listdir(mounted.path)) == [".flowfs-sets", "link", "set", "set.mitm"]
    assert (mounted.path / "set.mitm").read_bytes() == pack(mounted.path / "set")
    assert versions((mounted.path / "set.mitm").read_bytes()) == {1: 5, 2: 0, 3: 0}
    again = mount(capture(tmp_path), path=mounted.path)
    assert sorted(os.listdir(again.staging)) == ["link", "set", "set.mitm"]
    assert open(files[1], "rb").read() == body(5, 1)
    assert os.getxattr(files[1], "user.a") == b"b"
    assert os.stat(files[2]).st_mtime == 6
    assert (again.staging / "set.mitm").read_bytes() == (again.staging / "link" / ".." / "set.mitm").read_bytes()
    unchanged = os.stat(again.staging / "set.mitm").st_mtime_ns
    again.end()
    # Nothing had changed: the file on the disk is not written again.
    assert os.stat(mounted.path / "set.mitm").st_mtime_ns == unchanged


def test_two_mounts_of_one_staging_folder(staged, backing, run, tmp_path):
    second = run("-f", "--staging", backing, CAPTURES / "tcp.mitm", tmp_path / "second")
    assert second.returncode not in (0, 1)
    assert str(backing) in second.stderr or "staging" in second.stderr
    assert "another" in second.stderr
    assert not is_mounted(tmp_path / "second")
    rewrite_file(staged.files[1], body(3, 1), False)
    assert versions((staged.staging / "set.mitm").read_bytes())[1] == 3


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_writing(staged, backing, name):
    """What a write has returned from is on the disk, in the flow file as well, when the daemon has ended."""
    memory = mmap.mmap(-1, 8)

    def write():
        version = 1
        try:
            while True:
                replace_file(staged.files[1], body(version, 1), False)
                memory[:] = version.to_bytes(8, "little")
                version += 1
        except OSError:
            pass

    writer = in_background(write)
    time.sleep(0.3)
    staged.process.send_signal(name)
    assert staged.process.wait(20) == 0
    os.waitpid(writer, 0)
    version = int.from_bytes(memory[:], "little")
    assert version > 3
    found = versions((backing / "set.mitm").read_bytes())[1]
    assert version <= found <= version + 1
    assert (backing / "set.mitm").read_bytes() == pack(backing / "set")


def test_an_unmount_while_files_are_open(staged, backing):
    """umount refuses; `umount -l` ends it once the last file is closed, with all that was written."""
    with open(staged.files[1], "r+b", buffering=0) as file:
        assert subprocess.run(["umount", staged.path], capture_output=True).returncode != 0
        subprocess.run(["umount", "-l", staged.path], check=True)
        file.write(body(7, 1))
        file.truncate()
    assert staged.process.wait(20) == 0
    assert versions((backing / "set.mitm").read_bytes())[1] == 7


def test_a_staging_folder_that_cannot_be(run, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing" / "deeper", tmp_path / "file"):
        result = run("-f", "--staging", folder, CAPTURES / "tcp.mitm", tmp_path / "mnt")
        assert result.returncode == 3
        assert str(folder) in result.stderr
        assert not is_mounted(tmp_path / "mnt")


def test_locks_between_processes(staged):
    """flock and fcntl keep others out until they are given back, or their process is killed."""
    import fcntl
    path = staged.files[1]
    with open(path, "r+b") as file:
        for lock in (fcntl.flock, fcntl.lockf):
            reader, writer = os.pipe()
            other = os.fork()
            if other == 0:
                with open(path, "r+b") as mine:
                    lock(mine, fcntl.LOCK_EX)
                    os.write(writer, b"x")
                    signal.pause()
            os.read(reader, 1)
            assert answer(lock, file, fcntl.LOCK_EX | fcntl.LOCK_NB) in ("EAGAIN", "EACCES")
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
            lock(file, fcntl.LOCK_EX)
            lock(file, fcntl.LOCK_UN)
            os.close(reader)
            os.close(writer)
