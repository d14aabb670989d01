"""`.flowfs`: never listed, always there; its files are flowcat's, and what they show is right."""

import errno
import gzip
import io
import json
import os
import shutil
import subprocess
import threading
import time

import pytest
from conftest import CAPTURES, FLOWFS, PROJECT, wait_until
from mitmproxy.io import FlowReader
from tnetstring import dumps, http_flow, write

FLOWCAT = FLOWFS.parent.parent / "codec" / "flowcat"
EVERYWHERE = {"flows.mitm", "flows.mitm.gz", "flows.har", "flows.jsonl", "flows.csv", "stats.json", "stats.txt"}
OF_A_FLOW = {"curl", "httpie", "raw", "raw_request", "raw_response"}
OF_THE_ROOT = {"captures.json", "errors", "README"}


def flowcat(*arguments):
    result = subprocess.run([FLOWCAT, *arguments], capture_output=True, timeout=60)
    assert result.returncode in (0, 4), result.stderr  # 4: HAR holds HTTP alone
    return result.stdout


@pytest.fixture
def sample(mount):
    return mount(CAPTURES / "sample.mitm")


def test_it_is_there_and_not_listed(sample):
    flow = sample.flows()[0]
    for folder in (sample.path, flow.parent, flow):
        assert ".flowfs" not in os.listdir(folder)
        assert (folder / ".flowfs").is_dir()
    assert set(os.listdir(sample.path / ".flowfs")) == EVERYWHERE | OF_THE_ROOT
    assert set(os.listdir(flow.parent / ".flowfs")) == EVERYWHERE
    assert set(os.listdir(flow / ".flowfs")) == EVERYWHERE | OF_A_FLOW
    assert not (flow / "messages" / ".flowfs").exists()
    assert not (sample.path / ".flowfs" / "curl").exists()
    found = subprocess.run(["find", sample.path, "-name", ".flowfs"], capture_output=True, check=True).stdout
    assert found == b""


def test_it_is_listed_if_one_asks(mount):
    mounted = mount(CAPTURES / "tcp.mitm", options=("--show-control",))
    assert ".flowfs" in os.listdir(mounted.path)
    (host,) = mounted.hosts()
    assert ".flowfs" in os.listdir(host)


@pytest.mark.parametrize("form, name", [("har", "flows.har"), ("jsonl", "flows.jsonl"), ("csv", "flows.csv"),
                                        ("stats", "stats.txt"), ("stats_json", "stats.json"), ("mitm", "flows.mitm")])
def test_same_bytes_as_flowcat(sample, form, name):
    path = sample.path / ".flowfs" / name
    content = path.read_bytes()
    assert content == flowcat("-s", "-t", form, CAPTURES / "sample.mitm")
    assert path.stat().st_size == len(content)


def test_sizes_are_right_and_gzip_unpacks(sample):
    folder = sample.path / ".flowfs"
    for name in os.listdir(folder):
        assert (folder / name).stat().st_size == len((folder / name).read_bytes()), name
    assert gzip.decompress((folder / "flows.mitm.gz").read_bytes()) == (folder / "flows.mitm").read_bytes()


@pytest.mark.parametrize("name", ["sample.mitm", "http2.mitm", "websocket.mitm", "tcp.mitm"])
def test_mitmproxy_reads_flows_of_every_folder(mount, name):
    mounted = mount(CAPTURES / name, options=("--format-version", "17"))
    with open(CAPTURES / name, "rb") as capture:
        ids = {flow.id for flow in FlowReader(capture).stream()}
    seen = set()
    for host in mounted.hosts():
        of_host = [flow.id for flow in FlowReader(io.BytesIO((host / ".flowfs/flows.mitm").read_bytes())).stream()]
        assert len(of_host) == len(os.listdir(host))
        seen |= set(of_host)
        for folder in host.iterdir():
            (flow,) = FlowReader(io.BytesIO((folder / ".flowfs/flows.mitm").read_bytes())).stream()
            assert flow.id == json.loads((folder / "summary.json").read_text())["id"]
    assert seen == ids
    stream = io.BytesIO((mounted.path / ".flowfs/flows.mitm").read_bytes())
    starts = [flow.timestamp_start for flow in FlowReader(stream).stream()]
    assert starts == sorted(starts) and len(starts) == len(ids)


def test_several_captures_are_merged(mount, tmp_path):
    a = write(tmp_path / "a.mitm", *[http_flow(number) for number in (5, 3)])
    b = write(tmp_path / "b.mitm", *[http_flow(number) for number in (4, 1)])
    root = mount(a, b).path / ".flowfs"
    lines = [json.loads(line) for line in (root / "flows.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/1", "/3", "/4", "/5"]
    captures = json.loads((root / "captures.json").read_text())
    assert [(each["name"], each["flows"], each["format"], each["gaps"]) for each in captures] == [
        ("a.mitm", 2, "mitm", 0), ("b.mitm", 2, "mitm", 0)]
    assert captures[0]["bytes"] == a.stat().st_size


def test_exports_of_a_flow(sample):
    for folder in sample.flows():
        summary = json.loads((folder / "summary.json").read_text())
        line = (folder / ".flowfs/curl").read_text()
        assert line.endswith("\n") and summary["url"].split("?")[0] in line
        raw = folder / ".flowfs/raw_response"
        if summary["status"] is None:
            assert not raw.exists()
        elif summary["response"]["size"] is not None:
            assert raw.read_bytes().startswith(b"%s %d" % (summary["http_version"].encode(), summary["status"]))


def test_it_follows_a_growing_capture(mount, tmp_path):
    capture = write(tmp_path / "a.mitm", http_flow(1))
    mounted = mount(capture)
    path = mounted.path / ".flowfs/flows.jsonl"
    host = mounted.hosts()[0] / ".flowfs/flows.mitm"
    assert len(path.read_text().splitlines()) == 1
    assert host.read_bytes() == capture.read_bytes()
    with open(capture, "ab") as file:
        file.write(dumps(http_flow(2)))
    wait_until(lambda: len(path.read_text().splitlines()) == 2)
    wait_until(lambda: host.read_bytes() == capture.read_bytes())
    assert path.stat().st_size == len(path.read_bytes())


def test_errors_are_kept(mount, tmp_path):
    whole = dumps(http_flow(1))
    capture = tmp_path / "a.mitm"
    capture.write_bytes(whole + b"garbage" + dumps(http_flow(2)))
    mounted = mount(capture)
    errors = mounted.path / ".flowfs/errors"
    first = errors.read_text()
    assert f"bytes {len(whole)} to {len(whole) + 7} left out" in first
    with open(capture, "ab") as file:
        file.write(b"more garbage" + dumps(http_flow(3)))
    wait_until(lambda: len(errors.read_text().splitlines()) == 2)
    assert errors.read_text().startswith(first)
    assert "copy their folders into @staging" in (mounted.path / ".flowfs/README").read_text()


def test_eight_readers(mount, tmp_path):
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--flows", "400", capture], check=True)
    mounted = mount(capture)
    wanted = {name: flowcat("-s", "-t", form, capture) for name, form in
              (("flows.har", "har"), ("flows.csv", "csv"), ("flows.mitm", "mitm"))}
    wrong = []

    def read():
        for name, content in wanted.items():
            if (mounted.path / ".flowfs" / name).read_bytes() != content:
                wrong.append(name)
        for host in mounted.hosts()[:40]:
            if len((host / ".flowfs/flows.jsonl").read_text().splitlines()) != len(os.listdir(host)):
                wrong.append(host)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong


def test_copying_converts(sample, tmp_path):
    shutil.copy(sample.path / "api.example/.flowfs/flows.har", tmp_path)
    entries = json.loads((tmp_path / "flows.har").read_text())["log"]["entries"]
    assert len(entries) == len(os.listdir(sample.path / "api.example"))


def test_who_waits_no_more_is_let_go(mount, tmp_path):
    """A conversion that takes long ends with the one who asked for it, and with the mount."""
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts/make-capture", "--flows", "20000", capture], check=True)
    mounted = mount(capture)
    for _ in range(2):
        asking = subprocess.Popen(["stat", mounted.path / ".flowfs/flows.mitm.gz"], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        assert asking.poll() is None, "made so fast that nothing is tested"
        asking.terminate()
        start = time.monotonic()
        asking.wait(20)
        assert time.monotonic() - start < 1.5
    asking = subprocess.Popen(["stat", mounted.path / ".flowfs/flows.mitm.gz"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    start = time.monotonic()
    mounted.end()
    assert time.monotonic() - start < 3
    assert asking.wait(20) != 0


def spooled(mounted):
    """How many files without a name the daemon has open."""
    folder = f"/proc/{mounted.process.pid}/fd"
    return sum("(deleted)" in os.readlink(f"{folder}/{number}") for number in os.listdir(folder))


def test_flow_files_are_read_out_of_the_captures(mount, tmp_path):
    """Where nothing must be converted flows.mitm takes no disk; its flows may stand in any order."""
    bodies = {number: os.urandom(number * 700) for number in range(1, 200)}
    flows = {number: http_flow(number, response={"content": body}) for number, body in bodies.items()}
    first = write(tmp_path / "a.mitm", *[flows[i] for i in range(199, 0, -2)])
    second = write(tmp_path / "b.mitm", *[flows[i] for i in range(2, 199, 2)])
    mounted = mount(first, second)
    file = mounted.path / ".flowfs/flows.mitm"
    expected = b"".join(dumps(flows[i]) for i in range(1, 200))
    assert file.stat().st_size == len(expected)
    assert file.read_bytes() == expected == flowcat("-s", first, second)
    with open(file, "rb", buffering=0) as opened:
        for offset in range(0, len(expected), 99991):
            assert os.pread(opened.fileno(), 50000, offset) == expected[offset:offset + 50000]
    host = mounted.path / "example.com/.flowfs/flows.mitm"
    query = mounted.path / "@query/~u .*1$/.flowfs/flows.mitm"
    assert host.read_bytes() == expected
    assert query.read_bytes() == b"".join(dumps(flows[i]) for i in range(1, 200) if str(i).endswith("1"))
    assert spooled(mounted) == 0
    assert gzip.decompress((mounted.path / ".flowfs/flows.mitm.gz").read_bytes()) == expected
    assert spooled(mounted) == 1


@pytest.mark.parametrize("version", [17, 21])
def test_flows_of_other_versions_are_converted(mount, tmp_path, version):
    old = tmp_path / "old.mitm"
    old.write_bytes(flowcat("--format-version", "17", CAPTURES / "sample.mitm"))
    new = write(tmp_path / "new.mitm", http_flow(1))
    mounted = mount(old, new, options=("--format-version", str(version)))
    expected = flowcat("-s", "--format-version", str(version), old, new)
    assert (mounted.path / ".flowfs/flows.mitm").read_bytes() == expected
    assert spooled(mounted) == 1
    capture = mounted.path / "@by/capture/old.mitm/.flowfs/flows.mitm"
    assert capture.read_bytes() == flowcat("-s", "--format-version", str(version), old)
    assert spooled(mounted) == (1 if version == 17 else 2)


def test_flow_file_of_a_capture_cut_short(mount, tmp_path):
    capture = write(tmp_path / "a.mitm", *[http_flow(i, response={"content": bytes(5000)}) for i in range(100)])
    mounted = mount(capture, options=("--no-follow",))
    file = mounted.path / ".flowfs/flows.mitm"
    size = file.stat().st_size
    assert size == capture.stat().st_size
    os.truncate(capture, size // 2)
    with pytest.raises(OSError) as failed, open(file, "rb") as opened:
        while opened.read(65536):
            pass
    assert failed.value.errno == errno.EIO
