"""What is made of a set: its flow file in each version, `.flowfs` of the set and of each flow in it, on disk and
at the next mount."""

import errno
import gzip
import itertools
import json
import os
import shutil
import warnings

import pytest
from conftest import CAPTURES, wait_until
from staged import BODY, Staged, flowcat, states, three_flows
from tnetstring import http_flow

OF_A_SET = {
    "flows.har": "har",
    "flows.jsonl": "jsonl",
    "flows.csv": "csv",
    "stats.txt": "stats",
    "stats.json": "stats_json",
    "flows.mitm": "mitm",
}
OF_A_FLOW = {
    "curl": "curl",
    "httpie": "httpie",
    "raw": "raw",
    "raw_request": "raw_request",
    "raw_response": "raw_response",
}


@pytest.fixture
def fix(mount, tmp_path):
    return Staged(mount, tmp_path)


def stream_flow(kind, number):
    state = {key: value for key, value in http_flow(number).items() if key not in ("request", "response", "websocket")}
    return {
        **state,
        "type": kind,
        "messages": [[True, b"ping", 1700000020.0 + number], [False, b"\0pong", 1700000021.0 + number]],
    }


def forms(folder, capture, names, more=()):
    """The files of `.flowfs` and what flowcat makes of a flow file of the same flows."""
    for name, form in {**names, **dict(more)}.items():
        expected = flowcat("-t", form, capture, codes=(0, 4))
        path = folder / ".flowfs" / name
        assert path.read_bytes() == expected, name
        assert path.stat().st_size == len(expected), name
    packed = (folder / ".flowfs" / "flows.mitm.gz").read_bytes()
    assert gzip.decompress(packed) == (folder / ".flowfs" / "flows.mitm").read_bytes()


def edit(fix):
    """Several edits, each of which shows in another of the forms."""
    (fix.flow(1) / "request.headers").write_text("PATCH http://edited.example/path?query HTTP/1.1\nX-New: 1\n")
    yield
    (fix.flow(1) / "response.headers").write_text("HTTP/1.1 418 Teapot\nContent-Type: application/json\n")
    yield
    (fix.flow(1) / "request.body").write_text("a body of the request")
    yield
    told = json.loads((fix.flow(2) / "flow.json").read_text())
    told.update(comment="edited")
    (fix.flow(2) / "flow.json").write_text(json.dumps(told))
    yield
    shutil.rmtree(fix.flow(3))
    yield


def test_order(fix):
    """By start time, then by the folder's path, name by name."""
    times = {"b/2": 5.0, "b/1": 5.0, "a": 5.0, "a-b": 5.0, "z": 1.5, "B": 5.0, "last": 1e10, "first": 0.25}
    shutil.rmtree(fix.flow(1))
    shutil.rmtree(fix.flow(2))
    shutil.rmtree(fix.flow(3))
    for name, time in times.items():
        shutil.copytree(fix.mounted.flows()[0], fix.set / name, copy_function=shutil.copyfile)
        told = json.loads((fix.set / name / "flow.json").read_text())
        told["request"]["timestamp_start"] = time
        told["comment"] = name
        (fix.set / name / "flow.json").write_text(json.dumps(told))
    expected = sorted(times, key=lambda name: (times[name], name.split("/")))
    assert [state["comment"] for state in fix.states()] == expected
    told = json.loads((fix.set / "z" / "flow.json").read_text())
    told["request"]["timestamp_start"] = 7
    (fix.set / "z" / "flow.json").write_text(json.dumps(told))
    times["z"] = 7
    assert [state["comment"] for state in fix.states()] == sorted(
        times, key=lambda name: (times[name], name.split("/"))
    )
    os.rename(fix.set / "a", fix.set / "c")
    assert [state["comment"] for state in fix.states()] == ["first", "B", "a-b", "b/1", "b/2", "a", "z", "last"]


def test_forms_of_a_set(fix):
    copy = fix.backing.parent / "fix.mitm"
    seen = set()
    for _ in itertools.chain([None], edit(fix)):
        copy.write_bytes(fix.pack())
        forms(fix.set, copy, OF_A_SET)
        seen.add((fix.set / ".flowfs" / "flows.har").read_bytes())
    assert len(seen) > 3
    assert ".flowfs" not in os.listdir(fix.set)
    assert set(os.listdir(fix.set / ".flowfs")) == {*OF_A_SET, "flows.mitm.gz"}
    lines = [json.loads(line) for line in (fix.set / ".flowfs" / "flows.jsonl").read_text().splitlines()]
    assert [(line["method"], line["status"], line["comment"]) for line in lines] == [
        ("PATCH", 418, ""),
        ("POST", 200, "edited"),
    ]


def test_forms_of_a_flow(fix):
    """The name of the capture in jsonl is that of flowcat's packed flows."""
    copy = fix.backing.parent / "packed.mitm"
    for _ in itertools.chain([None], edit(fix)):
        for number in (1, 2):
            copy.write_bytes(flowcat("--pack", fix.backing / "fix" / fix.flow(number).name))
            forms(fix.flow(number), copy, {**OF_A_SET, **OF_A_FLOW})
    assert set(os.listdir(fix.flow(1) / ".flowfs")) == {*OF_A_SET, *OF_A_FLOW, "flows.mitm.gz"}
    assert "edited.example" in (fix.flow(1) / ".flowfs" / "curl").read_text()
    assert (fix.flow(1) / ".flowfs" / "raw_response").read_bytes().startswith(b"HTTP/1.1 418 Teapot\r\n")
    # Without a response there is no such form.
    (fix.flow(1) / "response.headers").unlink()
    (fix.flow(1) / "response.body").unlink()
    with pytest.raises(FileNotFoundError):
        (fix.flow(1) / ".flowfs" / "raw_response").read_bytes()
    assert (fix.flow(1) / ".flowfs" / "raw_request").read_bytes().startswith(b"PATCH ")


def test_forms_of_a_broken_flow(fix):
    (fix.flow(1) / "request.headers").write_text("nonsense\n")
    for folder, name in ((fix.flow(1), "curl"), (fix.set, "flows.har"), (fix.flow(1), "flows.mitm")):
        with pytest.raises(OSError) as caught:
            (folder / ".flowfs" / name).read_bytes()
        assert caught.value.errno == errno.EBADMSG
    assert (fix.flow(2) / ".flowfs" / "curl").read_text().startswith("curl ")
    (fix.flow(1) / "request.headers").write_text("GET http://mended.example/ HTTP/1.1\n")
    assert "mended.example" in (fix.flow(1) / ".flowfs" / "curl").read_text()
    assert b"mended.example" in (fix.set / ".flowfs" / "flows.har").read_bytes()


def test_forms_of_a_folder_in_a_set(fix):
    """A folder that holds flows at any depth is no flow: it has no `.flowfs` that could claim to be one's."""
    deep = fix.set / "deep"
    deep.mkdir()
    os.rename(fix.flow(2), deep / "two")
    assert [state["request"]["path"] for state in fix.states()] == [b"/1", b"/2", b"/3"]
    assert (deep / "two" / ".flowfs" / "curl").read_text().startswith("curl ")


@pytest.mark.parametrize("version", ["17", "18", "19", "20", "21"])
def test_versions(mount, tmp_path, version):
    flows = [*three_flows(), stream_flow("tcp", 4)]
    if version != "17":
        flows.append(stream_flow("udp", 5))
    fix = Staged(mount, tmp_path, flows, options=("--format-version", version))
    found = fix.states()
    assert {state["version"] for state in found} == {int(version)} and len(found) == len(flows)
    assert sorted(found, key=lambda state: state["id"]) == sorted(
        states(flowcat("--format-version", version, fix.capture)), key=lambda state: state["id"]
    )
    # Edits, too, and what is made of it elsewhere.
    fix.body.write_bytes(b"edited")
    assert fix.content() == b"edited"
    assert (fix.set / ".flowfs" / "flows.mitm").read_bytes() == fix.pack()
    assert states((fix.flow(1) / ".flowfs" / "flows.mitm").read_bytes())[0]["version"] == int(version)
    if version == "17":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (flow,) = [flow for flow in fix.flows() if flow.id == fix.flow(1).name]
        assert (flow.response.content, flow.request.path) == (b"edited", "/1")
    fix.mounted.end()
    assert {state["version"] for state in states((fix.backing / "fix.mitm").read_bytes())} == {int(version)}


def test_udp_has_no_place_in_version_17(mount, tmp_path):
    """It is left out, and that is told."""
    fix = Staged(mount, tmp_path, [http_flow(1), stream_flow("udp", 2)], options=("--format-version", "17"))
    assert [state["type"] for state in fix.states()] == ["http"]
    told = fix.mounted.said.read_text()
    assert f"{fix.flow(2).name}: UDP flows" in told and "18 can hold them" in told


def test_remount(fix):
    """On disk there is what was served, and at the next mount it is served again."""
    fix.body.write_bytes(b"edited")
    expected = fix.pack()
    fix.mounted.end()
    assert (fix.backing / "fix.mitm").read_bytes() == expected
    assert sorted(name for name in os.listdir(fix.backing) if not name.startswith(".")) == ["fix", "fix.mitm"]
    inode = (fix.backing / "fix.mitm").stat().st_ino
    fix.again()
    assert fix.pack() == expected
    assert fix.flow_file.stat().st_ino & 2**63 - 1 == inode, "packed anew though nothing has changed"
    assert fix.content() == b"edited"
    # A set that was broken is so again.
    (fix.flow(1) / "request.headers").write_text("nonsense\n")
    told = fix.errors.read_text()
    fix.again()
    assert fix.errors.read_text() == told and not fix.flow_file.name in os.listdir(fix.root)
    assert (fix.backing / "fix.mitm").read_bytes() == expected


def test_edited_while_it_was_not_mounted(fix):
    """Between two mounts the files are like any others."""
    fix.pack()
    fix.mounted.end()
    folder = fix.backing / "fix" / fix.flow(1).name
    (folder / "response.body").write_bytes(b"edited away")
    shutil.copytree(fix.backing / "fix", fix.backing / "copy")
    shutil.rmtree(fix.backing / "copy" / fix.flow(2).name)
    fix.again()
    assert fix.content() == b"edited away"
    assert [state["request"]["path"] for state in states((fix.root / "copy.mitm").read_bytes())] == [b"/1", b"/3"]
    assert (fix.set / ".flowfs" / "flows.mitm").read_bytes() == fix.pack()


def test_in_the_folder_of_the_mount_point(mount, tmp_path):
    """Without --staging the sets are under the mount, and there after it is gone."""
    path = tmp_path / "mnt"
    mounted = mount(CAPTURES / "sample.mitm", path=path)
    (mounted.staging / "fix").mkdir()
    shutil.copytree(mounted.flows()[0], mounted.staging / "fix" / "one", copy_function=shutil.copyfile)
    expected = (mounted.staging / "fix.mitm").read_bytes()
    mounted.end()
    assert (path / "fix.mitm").read_bytes() == expected
    assert (path / "fix" / "one" / "request.headers").exists()
    mounted = mount(CAPTURES / "sample.mitm", path=path)
    assert (mounted.staging / "fix.mitm").read_bytes() == expected
    assert "fix" not in os.listdir(mounted.path)


def test_written_to_disk_when_writing_pauses(fix):
    on_disk = fix.backing / "fix.mitm"
    fix.body.write_bytes(b"and now wait")
    wait_until(lambda: on_disk.exists() and states(on_disk.read_bytes())[0]["response"]["content"] == b"and now wait")
    assert on_disk.read_bytes() == fix.pack()
    fix.body.write_bytes(b"synced")
    file = os.open(fix.body, os.O_RDONLY)
    os.fsync(file)
    os.close(file)
    folder = os.open(fix.set, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
    assert states(on_disk.read_bytes())[0]["response"]["content"] == b"synced"


def test_many_sets(fix):
    """Sets are apart from each other, and stand in the listing with what is made of them."""
    for number in range(1, 30):
        (fix.root / f"set {number}" / "one").mkdir(parents=True)
        (fix.root / f"set {number}" / "one" / "request.headers").write_text(
            f"GET http://example.com/{number} HTTP/1.1\n" if number % 5 else "x"
        )
    names = os.listdir(fix.root)
    for number in range(1, 30):
        assert f"set {number}" in names
        assert (f"set {number}.mitm" in names) == (number % 5 > 0)
        assert (f"set {number}.errors" in names) == (number % 5 == 0)
        if number % 5:
            assert states((fix.root / f"set {number}.mitm").read_bytes())[0]["request"]["path"] == b"/%d" % number
    assert len(fix.states()) == 3


def test_what_is_no_set(fix):
    """Plain files, hidden folders and empty ones."""
    (fix.root / "notes.txt").write_text("mine")
    (fix.root / ".hidden").mkdir()
    (fix.root / "empty").mkdir()
    (fix.root / ".hidden" / "request.headers").write_text("GET http://a/ HTTP/1.1\n")
    assert sorted(os.listdir(fix.root)) == [".hidden", "empty", "fix", "fix.mitm", "notes.txt"]
    assert not (fix.root / "empty.mitm").exists()
    (fix.root / "notes.txt").write_text("mine too")
    assert (fix.root / "notes.txt").read_text() == "mine too"
    # A set that is itself a flow.
    (fix.root / "empty" / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
    assert states((fix.root / "empty.mitm").read_bytes())[0]["request"]["host"] == "example.com"


def test_flow_files_of_others_are_kept(fix):
    """A NAME.mitm that stood there before the set did is not ours to write over."""
    (fix.root / "mine.mitm").write_bytes(b"precious")
    (fix.root / "mine").mkdir()
    (fix.root / "mine" / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
    assert states((fix.root / "mine.mitm").read_bytes())[0]["request"]["method"] == b"GET"
    assert (fix.root / "mine.mitm~").read_bytes() == b"precious"
    for attempt in (
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: os.rename(path, fix.root / "x"),
    ):
        with pytest.raises(OSError) as caught:
            attempt(fix.root / "mine.mitm")
        assert caught.value.errno == errno.EROFS


def test_a_flow_from_nothing(mount, tmp_path):
    fix = Staged(mount, tmp_path, options=("--format-version", "17"))
    (fix.set / "new").mkdir()
    (fix.set / "new" / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
    made = fix.flows()[-1]
    assert (made.request.url, made.request.headers["host"], made.response) == (
        "http://example.com/",
        "example.com",
        None,
    )
    (fix.set / "new" / "response.headers").write_text("HTTP/1.1 200\n")
    (fix.set / "new" / "response.body").write_bytes(BODY)
    made = fix.flows()[-1]
    assert (made.response.status_code, made.response.reason, made.response.content) == (200, "OK", BODY)
