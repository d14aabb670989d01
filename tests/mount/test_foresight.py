"""What the kernel is given before it asks: fewer requests, the same content, and no hang however many
read and list at once."""

import ctypes
import multiprocessing
import os
import re
import signal
import stat
import subprocess
import time

import pytest
from conftest import CAPTURES, FLOWFS, PROJECT, is_mounted, wait_until
from tnetstring import http_flow, write

FLOWS = 1000
# Processes that list and read the same few flows: more than there are workers.
LISTERS = 4
READERS = 16
BUSY_FLOWS = 2
# Listings go on behind their end from here: no listing in the kernel has it, so we are asked.
NOWHERE = 1 << 30
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("captures") / "many.mitm"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--flows", str(FLOWS), path], check=True)
    return path


@pytest.fixture
def counted(tmp_path):
    """counted(capture, options): a mount, and a function that counts the requests since it was called last."""
    path, log = tmp_path / "counted", tmp_path / "requests.log"
    processes = []

    def make(capture, *options):
        path.mkdir()
        with open(log, "wb") as output:
            processes.append(subprocess.Popen([FLOWFS, "-d", *options, capture, path], stdout=output, stderr=output))
        wait_until(lambda: is_mounted(path))
        position = 0

        def count():
            nonlocal position
            text = log.read_bytes()[position:]
            position += len(text)
            kinds = re.findall(rb"opcode: (\w+)", text)
            return {kind.decode(): kinds.count(kind) / FLOWS for kind in set(kinds)}

        return path, count

    yield make
    for process in processes:
        process.terminate()
        assert process.wait(30) == 0


def walk(path):
    """The content of all files in it, as grep -r and du go about it: each directory is listed to its end, then
    each of its entries asked for its attributes, then read; links are not followed."""
    content = {}
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        place = os.path.join(path, name)
        mode = os.lstat(place).st_mode
        if stat.S_ISDIR(mode):
            content.update({f"{name}/{inner}": text for inner, text in walk(place).items()})
        elif stat.S_ISREG(mode):
            with open(place, "rb", buffering=0) as file:
                content[name] = file.read()
    return content


@pytest.mark.parametrize("options", [(), ("-o", "ro")])
def test_requests(counted, capture, options):
    path, count = counted(capture, *options)
    first = walk(path)
    fresh = count()
    assert walk(path) == first
    again = count()
    assert walk(path) == first
    at_last = count()
    folders = subprocess.check_output(["find", path, "-type", "d"]).count(b"\n") / FLOWS
    # Two to list a directory; a few until it is seen that files are read, and once in so many flows again.
    assert fresh["READDIRPLUS"] < 2.1 * folders and fresh["READ"] < 0.1 and fresh["LOOKUP"] < 0.1, fresh
    assert fresh.get("GETATTR", 0) < 0.1, fresh
    # Nobody asks for each directory.
    assert sum(again.values()) < 0.3, again
    assert sum(at_last.values()) < 0.1, at_last


def test_one_name(counted, capture):
    """Who reads the files of one name is given those, and no others."""
    path, count = counted(capture)
    flows = [os.path.join(path, host, flow) for host in os.listdir(path) if host[0] != "@"
             for flow in os.listdir(path / host)]
    for flow in flows:
        for name in os.listdir(flow):
            os.lstat(os.path.join(flow, name))
        with open(os.path.join(flow, "summary.json"), "rb") as file:
            file.read()
    assert count()["READ"] < 0.1
    for flow in flows:
        with open(os.path.join(flow, "flow.json"), "rb") as file:
            file.read()
    assert count()["READ"] > 0.99


@pytest.mark.parametrize("options", [(), ("-o", "ro"), ("--cache", "100K")])
def test_content(mount, capture, options):
    """The same as on a mount that gives nothing beforehand: with one worker."""
    captures = capture, CAPTURES / "encodings.mitm", CAPTURES / "sample.mitm"
    given, asked = mount(*captures, options=options), mount(*captures, options=("-s",))
    expected = walk(asked.path)
    assert len(expected) > 5 * FLOWS
    for _ in range(2):
        assert walk(given.path) == expected


def test_listing_while_flows_are_listed(mount, tmp_path):
    """A host's listing that the kernel has to begin anew meanwhile has each flow once."""
    (host,) = mount(write(tmp_path / "a.mitm", *map(http_flow, range(1, 501)))).hosts()
    expected = sorted(os.listdir(host))
    assert len(expected) == 500, "more than one reply holds"
    for _ in range(3):
        seen = []
        with os.scandir(host) as entries:
            for entry in entries:
                seen.append(entry.name)
                os.listdir(entry.path)
        assert sorted(seen) == expected


def ask_behind_the_end(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    buffer = ctypes.create_string_buffer(4096)
    os.lseek(descriptor, NOWHERE, os.SEEK_SET)
    LIBC.getdents64(descriptor, buffer, len(buffer))
    os.close(descriptor)


def work(job, flows, content, until):
    """Until the time, or the end of the mount. Exits with 1 if content is not as it should be."""
    while time.monotonic() < until:
        for flow in flows:
            try:
                job(flow, content)
            except OSError:
                return


def list_flow(flow, content):
    ask_behind_the_end(flow)


def read_flow(flow, content):
    for name, expected in content[flow].items():
        descriptor = os.open(os.path.join(flow, name), os.O_RDONLY)
        found = os.read(descriptor, len(expected) + 1)
        # The kernel forgets it, and asks us the next time.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        if found != expected:
            os._exit(1)


def start(mounted, seconds):
    """Processes that list and read a few flows, over and over."""
    flows = [str(flow) for flow in mounted.flows()[:BUSY_FLOWS]]
    content = {flow: walk(flow) for flow in flows}
    until = time.monotonic() + seconds
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(job, flows, content, until))
                 for job in LISTERS * [list_flow] + READERS * [read_flow]]
    for process in processes:
        process.start()
    return processes


def finish(processes, seconds):
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, end - time.monotonic()))
    hang = [process for process in processes if process.is_alive()]
    for process in hang:
        process.kill()
    assert not hang, f"{len(hang)} of {len(processes)} processes hang"
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_pages_in_use(mount):
    """Files are given while many read them: the kernel has their pages locked."""
    mounted = mount(CAPTURES / "sample.mitm")
    finish(start(mounted, 5), 30)


@pytest.mark.parametrize("end", ["signal", "umount"])
def test_end_while_in_use(mount, end):
    """No worker is left that waits for a page which nobody answers any more."""
    for _ in range(10):
        mounted = mount(CAPTURES / "sample.mitm")
        processes = start(mounted, 20)
        time.sleep(0.2)
        if end == "signal":
            mounted.process.send_signal(signal.SIGTERM)
        else:
            subprocess.run(["umount", "-l", mounted.path], check=True)
            for process in processes:
                process.terminate()
        assert mounted.process.wait(20) == 0
        for process in processes:
            process.join(20)
        assert not any(process.is_alive() for process in processes)
