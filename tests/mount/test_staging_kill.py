"""kill -9 while programs write: nothing that was fsynced is lost, and the flow file on disk is the old or the new.

FLOWFS_LONGER=10 does it ten times as often; a failure tells the seed, and FLOWFS_SEED=N takes another."""

import errno
import faulthandler
import mmap
import os
import random
import shutil
import signal
import struct
import time

import pytest
from conftest import LONGER, Mount
from staged_sets import (FLOWS, body, capture, copy_flows, is_whole, pack, replace_file, rewrite_file, sync, version_of,
                         versions)

KILLS = max(3, int(50 * LONGER))
SEED = int(os.environ.get("FLOWFS_SEED", 1))


class Told:
    """What a writer got done, told to the test from another process: it outlives both."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 64)

    def note(self, place, value):
        struct.pack_into("q", self.memory, place * 8, value)

    def get(self, place):
        return struct.unpack_from("q", self.memory, place * 8)[0]


STARTED, SYNCED, COMMITTED = range(3)


def write_mapped(path, data):
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), len(data))
        with mmap.mmap(file.fileno(), len(data)) as mapped:
            mapped[:] = data
            mapped.flush()


def add_flow(path, data):
    """A flow that is made anew beside the others, whole before it gets its name, and the one before it removed."""
    folder = os.path.dirname(path)
    version, number = int(data[8:14]), data[23:24].decode()

    def beside(name, of):
        return os.path.join(os.path.dirname(folder), f"{name} {number}-{of}")

    os.mkdir(beside(".new", version))
    for name in os.listdir(folder):
        copy = os.path.join(beside(".new", version), name)
        shutil.copyfile(os.path.join(folder, name), copy)
        sync(copy)
    os.rename(beside(".new", version), beside("added", version))
    replace_file(path, data)
    shutil.rmtree(beside("added", version - 1), ignore_errors=True)


WAYS = {"rename": replace_file, "truncate": rewrite_file, "mapped": write_mapped, "flows added": add_flow}


def write_until_dead(write, folder, files, first, told, seed):
    """Versions from `first` on, in all flows; now and then the set is synced. In a process of its own."""
    draw = random.Random(seed)
    version = first
    while True:
        told.note(STARTED, version)
        for number, path in files.items():
            write(path, body(version, number))
        told.note(SYNCED, version)
        if draw.random() < 0.3:
            sync(folder)
            told.note(COMMITTED, version)
        version += 1


def start_writer(*arguments):
    writer = os.fork()
    if writer:
        return writer
    faulthandler.disable()  # a mapping of a mount that is gone ends it
    try:
        write_until_dead(*arguments)
    except OSError as error:
        # The mount is gone. All else is a fault of ours or of staging.
        os._exit(0 if error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENOENT) else error.errno)
    finally:
        os._exit(1)


def check_disk(backing, files, told, way, previous):
    """What is on the disk, with nobody there any more: files as they were synced, a flow file old or new."""
    lowest, highest = told.get(SYNCED) or previous, told.get(STARTED) or previous
    for number, file in files.items():
        content = (backing / "set" / file).read_bytes()
        if way == "mapped":
            # A mapping is written page by page; whatever is there is of the versions around.
            continue
        version = version_of(content, number)
        assert version is not None or way == "truncate"
        assert version is None or lowest <= version <= highest
    committed = told.get(COMMITTED) or previous
    is_whole(backing / "set.mitm")
    if way == "mapped":
        return
    for version in versions((backing / "set.mitm").read_bytes()).values():
        assert committed <= version <= highest


@pytest.mark.parametrize("way", WAYS)
def test_killed_while_writing(tmp_path, way):
    source = capture(tmp_path)
    path, backing = tmp_path / "mnt", tmp_path / "backing"
    backing.mkdir()
    draw = random.Random(f"{SEED} {way}")
    version = 0
    files = {}
    mounted = Mount(path, [source], ["--staging", backing])
    try:
        (mounted.staging / "set").mkdir()
        for number, file in copy_flows(mounted, mounted.staging / "set").items():
            files[number] = os.path.relpath(file, mounted.staging / "set")
        sync(mounted.staging / "set")
        for turn in range(KILLS):
            told = Told()
            folder = mounted.staging / "set"
            writer = start_writer(WAYS[way], folder, {number: folder / file for number, file in files.items()},
                                  version + 1, told, turn)
            time.sleep(draw.choice([0.001, 0.01, 0.03, 0.06]) * draw.random() * 2)
            mounted.kill()
            _, status = os.waitpid(writer, 0)
            assert status == 0 or os.WTERMSIG(status) == signal.SIGBUS, os.strerror(os.WEXITSTATUS(status))
            check_disk(backing, files, told, way, version)
            version = told.get(STARTED) or version
            mounted = Mount(path, [source], ["--staging", backing])
            # Made anew from what is there, and with no leftovers beside.
            assert (mounted.staging / "set.mitm").read_bytes() == pack(backing / "set")
            assert sorted(os.listdir(mounted.staging)) == ["set", "set.mitm"]
            for number, file in files.items():
                replace_file(mounted.staging / "set" / file, body(version, number))
            sync(mounted.staging / "set")
        mounted.end()
    except BaseException:
        print(f"seed {SEED}, way {way}, kill {turn}")
        mounted.kill()
        raise
    assert sorted(os.listdir(backing)) == [".flowfs-sets", "set", "set.mitm"]
    assert versions((backing / "set.mitm").read_bytes())[1] == version
    assert len(files) == FLOWS
