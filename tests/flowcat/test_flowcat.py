"""flowcat as a command: what it chooses, in which order, in which form, and what it says."""

import csv
import gzip
import io
import json
import os
import subprocess

import pytest
from conftest import CAPTURES, CORPUS, FLOWCAT, PROJECT, flowcat, needs_corpus
from mitmproxy.io import FlowReader, FlowWriter, tnetstring
from tnetstring import http_flow, records, write

SAMPLE = CAPTURES / "sample.mitm"
RECORDED = sorted(path for path in CAPTURES.glob("*.mitm") if path.name != "types.mitm")


def read_with_mitmproxy(data):
    return list(FlowReader(io.BytesIO(data)).stream())


def urls(*arguments):
    return [json.loads(line)["url"] for line in flowcat("-t", "jsonl", *arguments).stdout.splitlines()]


def states(text):
    """The flows as mitmproxy's own reader of tnetstrings has them; the order of members is no matter."""
    stream = io.BytesIO(text)
    found = []
    while stream.tell() < len(text):
        found.append(tnetstring.load(stream))
    return found


def without_connection_states(state):
    """Version 20 dropped whether a connection was open; what is read from a file is closed (0)."""
    return {**state, **{key: {**state[key], "state": 0} for key in ("client_conn", "server_conn")}}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_version_17_is_what_mitmproxy_writes(path):
    """Debian's mitmproxy recorded these: migrated to 21 and taken back, they say what it wrote."""
    original = path.read_bytes()
    assert flowcat("--format-version", "17", path).stdout == original
    newest = flowcat(path).stdout
    assert {state["version"] for state in states(newest)} == {21}
    old = subprocess.run([FLOWCAT, "--format-version", "17"], input=newest, capture_output=True, check=True).stdout
    assert states(old) == [without_connection_states(state) for state in states(original)]
    again = io.BytesIO()
    writer = FlowWriter(again)
    for flow in read_with_mitmproxy(old):
        writer.add(flow)
    assert states(again.getvalue()) == states(old)


@pytest.mark.parametrize("version", [18, 19, 20, 21])
def test_versions_say_which_they_are(version):
    text = flowcat("--format-version", version, SAMPLE).stdout
    assert [state["version"] for state in states(text)] == [version] * 21
    newest = subprocess.run([FLOWCAT], input=text, capture_output=True, check=True).stdout
    assert states(newest) == states(flowcat(SAMPLE).stdout)


def test_what_version_17_does_not_know(tmp_path):
    """mitmproxy 8 refuses a whole file for a member that it does not know: it is left out, and told."""
    flow = {**http_flow(1), "from_the_future": {"a": 1}, "another": "b"}
    write(tmp_path / "new.mitm", flow)
    result = flowcat("--format-version", "17", tmp_path / "new.mitm")
    assert [each.id for each in read_with_mitmproxy(result.stdout)] == [flow["id"]]
    for name in ("from_the_future", "another"):
        assert f'its member "{name}" is unknown in version 17 and is left out' in result.stderr.decode()
    (kept,) = states(flowcat("--format-version", "18", tmp_path / "new.mitm").stdout)
    assert kept["from_the_future"] == {"a": 1}


def test_metadata_that_version_17_refuses(tmp_path):
    """Its reader takes what JSON could hold, and of bytes refuses the whole file."""
    metadata = {"kept": [1, None, "s", {"a": True}], "bytes": b"x", "nested": [1, {"deep": [b"x"]}]}
    flow = {**http_flow(1), "metadata": metadata}
    write(tmp_path / "new.mitm", flow)
    result = flowcat("--format-version", "17", tmp_path / "new.mitm")
    (read,) = read_with_mitmproxy(result.stdout)
    assert read.metadata == {"kept": metadata["kept"]}
    assert result.stderr.decode().count("has bytes in it") == 2


@needs_corpus
def test_all_types_in_version_17():
    written = flowcat("--format-version", "17", CORPUS / "all-types-21.mitm", code=4)  # UDP is left out
    kept = [json.loads(line) for line in flowcat("-t", "jsonl", CORPUS / "all-types-21.mitm").stdout.splitlines()]
    assert [flow.id for flow in read_with_mitmproxy(written.stdout)] == [
        flow["id"] for flow in kept if flow["type"] != "udp"]


def test_udp_has_no_place_in_version_17():
    result = flowcat("--format-version", "17", CAPTURES / "types.mitm", code=4)
    assert b"18 can hold them" in result.stderr
    assert all(flow.type != "udp" for flow in read_with_mitmproxy(result.stdout))
    flowcat("--format-version", "18", CAPTURES / "types.mitm")


def test_filter():
    assert urls("-f", "~c 500", SAMPLE) == ["https://api.example/api/error"]
    assert len(urls("-f", "~bs 'quick brown fox'", SAMPLE)) == 3
    assert urls("-f", "~c 500 & ~m POST", SAMPLE) == []
    both = urls("-f", "~c 500 | ~c 404", SAMPLE)
    assert both == [url for url in urls(SAMPLE) if url.endswith(("error", "missing"))]


def test_bad_filter_is_shown_in_its_place():
    result = flowcat("-f", "~c 500 & (~m POST", SAMPLE, code=1)
    assert result.stdout == b""
    message, expression, mark = result.stderr.decode().splitlines()[:3]
    assert expression.strip() == "~c 500 & (~m POST"
    assert 0 <= mark.index("^") - 2 <= len("~c 500 & (~m POST")


@needs_corpus
def test_filters_of_the_corpus():
    """What mitmproxy says of each expression, through the whole command."""
    cases = json.loads((CORPUS / "filters.expected.json").read_text())["expressions"]
    for case in cases[::7]:
        for name, matches in ((case["matches"] or {}).items() if case["error"] is None else ()):
            lines = flowcat("-t", "jsonl", "-f", case["expr"], CORPUS / name).stdout.splitlines()
            assert [json.loads(line)["number"] - 1 for line in lines] == matches, (case["expr"], name)
        if case["error"] is not None:
            flowcat("-f", case["expr"], SAMPLE, code=1)


def test_sort_merges(tmp_path):
    a = write(tmp_path / "a.mitm", *[http_flow(number) for number in (5, 3, 9)])
    b = write(tmp_path / "b.mitm", *[http_flow(number) for number in (4, 8, 1)])
    paths = [url.rsplit("/", 1)[1] for url in urls("-s", a, b)]
    assert paths == ["1", "3", "4", "5", "8", "9"]
    records = flowcat("-s", a, b).stdout
    assert len(records) == len(a.read_bytes()) + len(b.read_bytes())
    assert flowcat(a, b).stdout == a.read_bytes() + b.read_bytes()


def test_gzip_and_standard_input(tmp_path):
    packed = flowcat("-z", SAMPLE).stdout
    assert packed == flowcat("-z", SAMPLE).stdout
    assert gzip.decompress(packed) == flowcat(SAMPLE).stdout
    back = subprocess.run([FLOWCAT, "-"], input=packed, capture_output=True, check=True).stdout
    assert back == flowcat(SAMPLE).stdout


def test_csv():
    rows = list(csv.DictReader(io.StringIO(flowcat("-t", "csv", SAMPLE).stdout.decode(), newline="")))
    assert list(rows[0]) == ["timestamp", "method", "url", "host", "status_code", "request_size", "response_size",
                             "response_time", "error"]
    summaries = [json.loads(line) for line in flowcat("-t", "jsonl", SAMPLE).stdout.splitlines()]
    for row, summary in zip(rows, summaries, strict=True):
        assert row["url"] == summary["url"]
        assert row["timestamp"] == summary["start"]
        assert row["status_code"] == str(summary["status"] or "")
        assert row["error"] == (summary["error"] or "")
        assert row["response_time"] == ("" if summary["duration_ms"] is None else f"{summary['duration_ms']:.3f}")


def test_csv_quotes(tmp_path):
    odd = 'a,"b"\r\nc'
    path = write(tmp_path / "a.mitm", http_flow(1, error={"msg": odd, "timestamp": 1.0}))
    (row,) = csv.DictReader(io.StringIO(flowcat("-t", "csv", path).stdout.decode(), newline=""))
    assert row["error"] == odd


def test_stats_agree_with_a_second_count():
    stats = json.loads(flowcat("-t", "stats_json", SAMPLE).stdout)
    summaries = [json.loads(line) for line in flowcat("-t", "jsonl", SAMPLE).stdout.splitlines()]
    assert stats["flows"] == len(summaries)
    methods = [summary["method"] for summary in summaries]
    assert {name: entry["flows"] for name, entry in stats["methods"].items()} == {
        name: methods.count(name) for name in methods}
    assert stats["first"] == min(summary["start"] for summary in summaries)
    assert stats["last"] == max(summary["start"] for summary in summaries)
    wire = sum((summary["response"] or {}).get("size_on_wire") or 0 for summary in summaries)
    decoded = sum((summary["response"] or {}).get("size") or 0 for summary in summaries)
    assert (stats["bytes"]["response_on_wire"], stats["bytes"]["response_decoded"]) == (wire, decoded)
    durations = sorted(summary["duration_ms"] for summary in summaries if summary["duration_ms"] is not None)
    assert stats["duration_ms"]["max"] == durations[-1]
    assert stats["duration_ms"]["p50"] == durations[-(-len(durations) * 50 // 100) - 1]
    assert stats["slowest"][0]["duration_ms"] == durations[-1]
    assert stats["errors"] == sum(summary["error"] is not None for summary in summaries)
    assert b"21" in flowcat("-t", "stats", SAMPLE).stdout.splitlines()[0]


def test_list_is_short_and_right(tmp_path):
    sizes = {0: "0", 999: "999", 1000: "1.0k", 1150: "1.2k", 9949: "9.9k", 9950: "10k", 10_500: "10k",
             999_499: "999k", 999_500: "1.0M", 3_449_000: "3.4M"}
    times = {0.0: "0ms", 0.0004: "0ms", 0.0006: "1ms", 9.999: "9999ms", 9.9996: "10s", 75.0: "75s"}
    flows = [http_flow(1, response={"content": bytes(size), "timestamp_end": 1700000001.5}) for size in sizes]
    flows += [http_flow(1, response={"timestamp_end": 1700000001.5 + time}) for time in times]
    rows = [line.split() for line in
            flowcat("-t", "list", write(tmp_path / "a.mitm", *flows)).stdout.decode().splitlines()]
    assert [row[4] for row in rows][:len(sizes)] == list(sizes.values())
    assert [row[5] for row in rows][len(sizes):] == list(times.values())


def test_list_holds_no_orders_to_a_terminal(tmp_path):
    path = write(tmp_path / "a.mitm", http_flow(1, request={"path": b"/\x1b[31mred\n"}))
    line = flowcat("-t", "list", path).stdout
    assert b"\x1b" not in line and line.count(b"\n") == 1


def test_broken_captures_are_refused_and_recovered(tmp_path):
    whole = write(tmp_path / "a.mitm", *[http_flow(number) for number in range(1, 6)]).read_bytes()
    part = len(whole) // 5
    broken = tmp_path / "broken.mitm"
    broken.write_bytes(whole[:part] + b"garbage" + whole[part : 4 * part + 10])
    result = flowcat(broken, code=2)
    assert result.stdout == b"" and b"--recover" in result.stderr
    result = flowcat("--recover", broken)
    assert b"left out" in result.stderr
    assert len(result.stdout) == 4 * part


def test_output_is_replaced_only_when_all_went_well(tmp_path):
    target = tmp_path / "out.mitm"
    target.write_bytes(b"before")
    target.chmod(0o640)
    broken = tmp_path / "broken.mitm"
    broken.write_bytes(b"garbage")
    flowcat("-o", target, broken, code=2)
    assert target.read_bytes() == b"before"
    flowcat("-o", target, SAMPLE)
    assert target.read_bytes() == flowcat(SAMPLE).stdout
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mitm", "out.mitm"]
    flowcat("-o", tmp_path / "none" / "out.mitm", SAMPLE, code=3)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk():
    with open("/dev/full", "wb") as full:
        result = subprocess.run([FLOWCAT, SAMPLE], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == 3
    assert b"No space left" in result.stderr


def test_closed_pipe_is_quiet(tmp_path):
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--flows", "500", capture], check=True)
    result = subprocess.run(f"{FLOWCAT} {capture} | head -c 10 >/dev/null", shell=True, capture_output=True, timeout=60)
    assert result.stderr == b""


def test_usage():
    assert b"usage" in flowcat("--help").stdout
    assert b"flowcat" in flowcat("--version").stdout
    flowcat("--nonsense", code=1)
    flowcat("-t", "nonsense", SAMPLE, code=1)
    flowcat("--format-version", "16", SAMPLE, code=1)
    flowcat("/nonexistent", code=2)
    names = [line.split()[0].decode() for line in flowcat("--list-formats").stdout.splitlines()]
    assert names[0] == "mitm" and {"jsonl", "csv", "stats", "list", "curl", "httpie", "raw"} <= set(names)
    for name in names:
        flowcat("-t", name, "-f", "~s & ~http & !~e & !~websocket", SAMPLE)


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.mitm")), ids=lambda path: path.stem)
def test_unpack_and_pack(path, tmp_path):
    """Folders hold all of a flow: packed again they give its own bytes."""
    flowcat("--unpack", tmp_path / "flows", path)
    assert flowcat("--pack", tmp_path / "flows").stdout == flowcat("-s", path).stdout


@needs_corpus
@pytest.mark.parametrize("name", ["all-types-21.mitm", "dumpfile-7-websocket.mitm", "chrome.har", "diff_data.mitm"])
def test_unpack_and_pack_the_corpus(name, tmp_path):
    flowcat("--unpack", tmp_path / "flows", CORPUS / name)
    packed = flowcat("--pack", tmp_path / "flows").stdout
    # Flows of one time come in the order of their names, so the records are compared as a set.
    assert sorted(records(packed)) == sorted(records(flowcat(CORPUS / name).stdout))


def test_packing_an_edit(tmp_path):
    path = write(tmp_path / "a.mitm", http_flow(1, response={"headers": [[b"Content-Length", b"5"]]}))
    flowcat("--unpack", tmp_path / "flows", path)
    (folder,) = (tmp_path / "flows").glob("*/*")
    (folder / "response.body").write_bytes(b"longer than before")
    (folder / "response.body~").write_bytes(b"what an editor left")
    (flow,) = read_with_mitmproxy(flowcat("--pack", "--format-version", "17", tmp_path / "flows").stdout)
    assert flow.response.content == b"longer than before"
    assert flow.response.headers["content-length"] == "18"


def test_packing_a_mistake(tmp_path):
    path = write(tmp_path / "a.mitm", http_flow(1))
    flowcat("--unpack", tmp_path / "flows", path)
    (folder,) = (tmp_path / "flows").glob("*/*")
    headers = folder / "request.headers"
    headers.write_bytes(headers.read_bytes() + b"no field\n")
    result = flowcat("--pack", "-o", tmp_path / "out.mitm", tmp_path / "flows", code=2)
    assert f"{headers}:3: " in result.stderr.decode()
    assert not (tmp_path / "out.mitm").exists()


def test_packing_from_nothing(tmp_path):
    folder = tmp_path / "flows" / "mine"
    folder.mkdir(parents=True)
    (folder / "request.headers").write_text("GET http://example.com/ HTTP/1.1\n")
    (flow,) = read_with_mitmproxy(flowcat("--pack", "--format-version", "17", tmp_path / "flows").stdout)
    assert (flow.request.method, flow.request.url) == ("GET", "http://example.com/")
    assert flow.response is None
    flowcat("--pack", tmp_path / "nothing", code=2)


def test_unpacking_twice_loses_nothing(tmp_path):
    flowcat("--unpack", tmp_path / "flows", SAMPLE)
    assert b"File exists" in flowcat("--unpack", tmp_path / "flows", SAMPLE, code=3).stderr
