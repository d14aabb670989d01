"""flowfs as a command: what it takes, what it says, how it ends."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import CAPTURES, CORPUS, FLOWFS, is_mounted, needs_corpus, needs_root, wait_until
from tnetstring import dumps, http_flow, write


def count(path):
    return sum(len(list(host.iterdir())) for host in path.iterdir() if host.name[0] != "@")


def test_ready_when_it_returns(run, tmp_path):
    mountpoint = tmp_path / "made"
    assert run(CAPTURES / "sample.mitm", mountpoint).returncode == 0
    assert (mountpoint / "shop.example").is_dir()
    assert is_mounted(mountpoint)
    subprocess.run(["umount", mountpoint], check=True)
    assert list(mountpoint.iterdir()) == []


def test_mount_flags(mount):
    mounted = mount(CAPTURES / "tcp.mitm")
    with open("/proc/self/mounts") as mounts:
        (line,) = [line.split() for line in mounts if line.split()[1] == str(mounted.path)]
    assert line[0] == str(CAPTURES / "tcp.mitm")
    assert line[2] == "fuse.flowfs"
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(line[3].split(","))
    assert "allow_other" not in line[3]


@pytest.mark.parametrize("arguments, code, words", [
    ([], 1, "CAPTURE"),
    ([CAPTURES / "tcp.mitm"], 1, "MOUNTPOINT"),
    (["--no-such-option", "a", "b"], 1, "no-such-option"),
    (["--cache", "many", "a", "b"], 1, "expected a size"),
    (["{tmp}/nothing.mitm", "{tmp}/mnt"], 2, "No such file"),
    ([CAPTURES / "damaged" / "no-capture.mitm", "{tmp}/mnt"], 2, "neither"),
    (["{tmp}/emptydir", "{tmp}/mnt"], 2, "no capture"),
    ([CAPTURES / "tcp.mitm", "{tmp}/missing/mnt"], 3, "mount point"),
    ([CAPTURES / "tcp.mitm", "{tmp}/file"], 3, "no folder"),
    (["-o", "no_such_option", CAPTURES / "tcp.mitm", "{tmp}/mnt"], 4, "no_such_option"),
])
def test_errors(run, tmp_path, arguments, code, words):
    (tmp_path / "emptydir").mkdir()
    (tmp_path / "file").touch()
    result = run(*[str(each).format(tmp=tmp_path) for each in arguments])
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert "flowfs" in result.stderr
    assert not is_mounted(tmp_path / "mnt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(run, tmp_path):
    path = write(tmp_path / "a.mitm", http_flow())
    path.chmod(0)
    result = run(path, tmp_path / "mnt")
    assert result.returncode == 2
    assert "Permission denied" in result.stderr


def test_help_and_version(run):
    assert run("--help").stdout.startswith("usage: flowfs")
    assert run("-h").stdout == run("--help").stdout
    assert run("-V").stdout.startswith("flowfs ")


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_standard_input(run, tmp_path, pack):
    data = pack((CAPTURES / "sample.mitm").read_bytes())
    result = subprocess.run([FLOWFS, "-", tmp_path / "mnt"], input=data, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert count(tmp_path / "mnt") == 21


def test_several_captures(mount):
    """Flows of all captures are there; the same flow twice is there twice."""
    mounted = mount(CAPTURES / "tcp.mitm", CAPTURES / "sample.mitm", CAPTURES / "sample.mitm.gz")
    assert count(mounted.path) == 2 + 21 + 21
    for flow in mounted.flows():
        if flow.name.endswith("~2"):
            first = flow.with_name(flow.name[:-2])
            assert (flow / "request.headers").read_bytes() == (first / "request.headers").read_bytes()
            assert json.loads((flow / "summary.json").read_text())["capture"] == "sample.mitm.gz"
    assert sum(flow.name.endswith("~2") for flow in mounted.flows()) == 21


def test_folder_of_captures(mount, tmp_path):
    folder = tmp_path / "captures"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(CAPTURES / "sample.mitm", folder / "b.mitm")
    shutil.copy(CAPTURES / "sample.har", folder / "deeper" / "c.har")
    shutil.copy(CAPTURES / "tcp.mitm", folder / "a.mitm")
    (folder / "notes.txt").write_text("no capture\n")
    (folder / "data.json").write_text('{"a": 1}\n')
    (folder / ".hidden.mitm").write_bytes(b"x")
    mounted = mount(folder)
    captures = [json.loads((flow / "summary.json").read_text())["capture"] for flow in mounted.flows()]
    assert set(captures) == {"a.mitm", "b.mitm", "deeper/c.har"}
    assert len(captures) == count(mounted.path)


@pytest.mark.parametrize("name, flows", [
    ("sample.mitm.gz", 21), ("sample.har", 18), ("slack.har", 5), ("bom.har", 3), ("sample.zhar", 4)])
def test_kinds_of_captures(mount, name, flows):
    assert count(mount(CAPTURES / name).path) == flows


def test_har_is_the_same_at_every_mount(mount):
    first, second = mount(CAPTURES / "sample.har"), mount(CAPTURES / "sample.har")
    assert [flow.name for flow in first.flows()] == [flow.name for flow in second.flows()]


def test_bad_har_entry(mount):
    """It is skipped and reported; what is missing in others costs nobody their flow."""
    mounted = mount(CAPTURES / "missing.har")
    assert count(mounted.path) == 3
    said = mounted.said.read_text()
    assert "missing.har" in said and "left out" in said and "request" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("options", [(), ("-s",)])
def test_signals_unmount(mount, number, options):
    mounted = mount(CAPTURES / "tcp.mitm", options=options)
    mounted.process.send_signal(number)
    assert mounted.process.wait(20) == 0
    assert not is_mounted(mounted.path)


@pytest.mark.parametrize("options", [(), ("-s",)])
def test_signals_that_were_ignored_unmount(mount, options):
    """As nohup and shells in the background start it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        mounted = mount(CAPTURES / "tcp.mitm", options=options)
    finally:
        signal.signal(signal.SIGHUP, before)
    mounted.process.send_signal(signal.SIGHUP)
    assert mounted.process.wait(20) == 0
    assert not is_mounted(mounted.path)


def test_unmounting_ends_the_daemon(mount):
    mounted = mount(CAPTURES / "tcp.mitm")
    subprocess.run(["umount", mounted.path], check=True)
    assert mounted.process.wait(20) == 0


def test_mounted_already(mount, run):
    """A mount upon a mount would take the lower one's root for its staging folder."""
    mounted = mount(CAPTURES / "tcp.mitm")
    result = run(CAPTURES / "sample.mitm", mounted.path)
    assert result.returncode == 3
    assert "is a mount of flowfs already; unmount it" in result.stderr
    assert count(mounted.path) == 2


def test_relative_paths(run, tmp_path):
    """The daemon leaves its directory; what it was given from there stays right."""
    shutil.copy(CAPTURES / "tcp.mitm", tmp_path / "a.mitm")
    assert run("a.mitm", "mnt", cwd=tmp_path).returncode == 0
    assert count(tmp_path / "mnt") == 2
    subprocess.run(["umount", "mnt"], check=True, cwd=tmp_path)


@pytest.fixture
def in_path():
    """mount(8) finds file systems by name in the system's directories."""
    link = "/usr/local/bin/flowfs"
    if os.path.lexists(link):
        pytest.skip(f"{link} is there already")
    os.symlink(FLOWFS, link)
    yield
    os.unlink(link)


@needs_root
def test_mount_by_type(in_path, run, tmp_path):
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = ["mount", "-t", "fuse.flowfs", CAPTURES / "sample.mitm", mountpoint, "-o", "cache=8M"]
    subprocess.run(command, check=True, timeout=60)
    assert count(mountpoint) == 21
    subprocess.run(["umount", mountpoint], check=True)


@needs_root
def test_mount_from_fstab(in_path, run, tmp_path):
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    table = tmp_path / "fstab"
    table.write_text(f"{CAPTURES / 'sample.mitm'} {mountpoint} fuse.flowfs noauto,allow_other 0 0\n")
    subprocess.run(["mount", "-T", table, mountpoint], check=True, timeout=60)
    assert count(mountpoint) == 21
    subprocess.run(["umount", mountpoint], check=True)


def test_growing_capture(mount, tmp_path):
    """A capture that is being written: new flows and hosts appear, be they written in pieces."""
    data = (CAPTURES / "sample.mitm").read_bytes()
    path = tmp_path / "grow.mitm"
    path.write_bytes(data[:20000])
    mounted = mount(path)
    before = count(mounted.path)
    assert 0 < before < 21
    with open(path, "ab", buffering=0) as file:
        for at in range(20000, len(data), 7001):
            assert not (mounted.path / "late.example").exists()
            file.write(data[at : at + 7001])
            time.sleep(0.02)
        wait_until(lambda: count(mounted.path) == 21)
        from tnetstring import dumps

        file.write(dumps(http_flow(1, b"late.example")))
        wait_until((mounted.path / "late.example").exists)
    assert (next((mounted.path / "late.example").iterdir()) / "response.body").read_bytes() == b"hello"


def test_no_follow(mount, tmp_path):
    path = write(tmp_path / "a.mitm", http_flow(1))
    mounted = mount(path, options=("--no-follow",))
    with open(path, "ab") as file:
        file.write((CAPTURES / "tcp.mitm").read_bytes())
    time.sleep(0.5)
    assert count(mounted.path) == 1


def test_filter(mount, tmp_path):
    """Only what matches is there, also of what a capture grows by."""
    mounted = mount(CAPTURES / "sample.mitm", options=("--filter", "~c 500 | ~bs 'quick brown fox'"))
    urls = {json.loads((flow / "summary.json").read_text())["path"] for flow in mounted.flows()}
    assert urls == {"/api/error", "/encoding/br", "/encoding/gzip", "/encoding/zstd"}
    capture = write(tmp_path / "a.mitm", http_flow(1), http_flow(2, response={"status_code": 404}))
    mounted = mount(capture, options=("--filter", "~c 404"))
    assert len(mounted.flows()) == 1
    with open(capture, "ab") as file:
        file.write(dumps(http_flow(3)) + dumps(http_flow(4, response={"status_code": 404})))
    wait_until(lambda: len(mounted.flows()) == 2)
    numbers = [json.loads((flow / "summary.json").read_text())["number"] for flow in mounted.flows()]
    assert sorted(numbers) == [2, 4]


@needs_corpus
def test_filter_keeps_handshakes(mount):
    """A WebSocket flow of an old version is read with its handshake, which matches less."""
    capture = CORPUS / "dumpfile-7-websocket.mitm"

    def sockets(mounted):
        summaries = [json.loads((flow / "summary.json").read_text()) for flow in mounted.flows()]
        return sorted((each["number"], each["url"], each["messages"]["from_client"])
                      for each in summaries if each["type"] == "websocket")

    all_of_them = sockets(mount(capture))
    assert all_of_them and sockets(mount(capture, options=("--filter", "~websocket"))) == all_of_them


def test_bad_filter(run, tmp_path):
    result = run("--filter", "~c 500 & (~m POST", CAPTURES / "sample.mitm", tmp_path / "mnt")
    assert result.returncode == 1
    assert "^" in result.stderr and "~c 500 & (~m POST" in result.stderr
