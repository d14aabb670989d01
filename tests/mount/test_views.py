"""`@by` and `@query`: each view against its own definition, worked out from summary.json and flowcat."""

import collections
import json
import os
import re
import subprocess
import threading
from datetime import datetime, timezone

import pytest
from conftest import CAPTURES, FLOWFS, PROJECT, wait_until
from tnetstring import dumps, http_flow, write

FLOWCAT = FLOWFS.parent.parent / "codec" / "flowcat"
NAMES = ["sample.mitm", "http1.mitm", "http2.mitm", "encodings.mitm", "errors.mitm", "tcp.mitm", "types.mitm",
         "uploads.mitm", "websocket.mitm", "sample.har"]
QUERIES = ["~c 404", "~m POST", "~s & ~t png", "!~s", "~b fox", "~bq a | ~bs b", "~d shop", "/api/", "~all",
           "~websocket", "~tcp", "~dns", "~e", "~h gzip", "~hs 'content-type: text/.*'"]


def flows(mounted):
    return {path: json.loads((path / "summary.json").read_text()) for path in mounted.flows()}


def leaves(view):
    """What each link in a view's directory leads to, by the directory."""
    found = {}
    for folder, folders, names in os.walk(view):
        links = [os.path.join(folder, name) for name in folders + names]
        if not links or os.path.islink(links[0]):
            found[os.path.relpath(folder, view)] = sorted(os.path.realpath(link) for link in links)
    return found


def escaped(name):
    return name.replace("%", "%25").replace("/", "%2F")


def by(mounted, key, path=str):
    expected = collections.defaultdict(list)
    for flow, summary in flows(mounted).items():
        name = key(flow, summary)
        if name is not None:
            expected[name].append(path(flow))
    return {name: sorted(paths) for name, paths in expected.items()}


def day(_, summary):
    return datetime.fromtimestamp(summary["start_epoch"], timezone.utc).strftime("%Y-%m-%d")


def is_http(summary):
    return summary.get("method") is not None


def media_type(flow, summary):
    if not (flow / "response.body").exists():
        return None
    stated = (summary["response"]["content_type"] or "").split(";")[0].strip().lower()
    kind, _, subtype = stated.partition("/")
    return f"{kind.strip() or 'unknown'}/{subtype.strip() or 'unknown'}"


@pytest.mark.parametrize("name", NAMES)
def test_each_view_is_its_definition(mount, name):
    mounted = mount(CAPTURES / name)
    root = mounted.path / "@by"
    assert sorted(os.listdir(root)) == ["capture", "method", "status", "time", "type"]
    assert leaves(root / "time") == by(mounted, day)
    methods = by(mounted, lambda _, flow: flow.get("method"))
    assert leaves(root / "method") == (methods or {".": []})
    status = by(mounted, lambda _, flow: str(flow["status"] or "none") if is_http(flow) else None)
    assert leaves(root / "status") == (status or {".": []})
    assert leaves(root / "capture") == by(mounted, lambda _, flow: flow["capture"])
    types = by(mounted, media_type, lambda flow: str(flow / "response.body"))
    assert leaves(root / "type") == (types or {".": []})


def test_names_of_links(mount):
    mounted = mount(CAPTURES / "sample.mitm")
    for flow, summary in flows(mounted).items():
        when = datetime.fromtimestamp(summary["start_epoch"], timezone.utc)
        milliseconds = f"{int(summary['start_epoch'] * 1000 + 1e-4) % 1000:03}"
        path = summary["path"].split("?")[0].rstrip("/").replace("/", "_")
        status = f"_{summary['status']}" if summary["status"] else ""
        name = f"{when:%H-%M-%S}.{milliseconds}Z_{summary['method']}_{flow.parent.name}{path}{status}"
        link = mounted.path / "@by/time" / f"{when:%Y-%m-%d}" / name
        assert os.readlink(link) == f"../../../{flow.parent.name}/{flow.name}"
        assert link.lstat().st_size == len(os.readlink(link))
        assert link.lstat().st_mtime_ns == flow.stat().st_mtime_ns
        assert (mounted.path / "@by/method" / summary["method"] / f"{when:%Y-%m-%d}T{name}").resolve() == flow


def test_bodies_have_the_extension_of_their_type(mount):
    mounted = mount(CAPTURES / "sample.mitm")
    (logo,) = (mounted.path / "@by/type/image/png").iterdir()
    assert logo.name.endswith("logo.png_200.png") and logo.read_bytes().startswith(b"\x89PNG")
    assert all(path.name.endswith(".json") and json.loads(path.read_bytes()) is not None
               for path in (mounted.path / "@by/type/application/json").iterdir())


def test_equal_names_are_told_apart(mount, tmp_path):
    flow = [http_flow(1) for _ in range(3)]
    mounted = mount(write(tmp_path / "a.mitm", *flow), write(tmp_path / "b.mitm"))
    (folder,) = [path for path in (mounted.path / "@by/time").iterdir()]
    names = sorted(os.listdir(folder))
    assert [name[len(names[0]):] for name in names] == ["", "~2", "~3"]
    assert [os.path.basename(os.readlink(folder / name)).partition("~")[2] for name in names] == ["", "2", "3"]
    assert sorted(os.listdir(mounted.path / "@by/capture")) == ["a.mitm", "b.mitm"]
    assert os.listdir(mounted.path / "@by/capture/b.mitm") == []


def matching(expression, *captures):
    result = subprocess.run([FLOWCAT, "-f", expression, "-t", "jsonl", *captures], capture_output=True, timeout=60)
    assert result.returncode in (0, 1), result.stderr
    return sorted(json.loads(line)["id"] for line in result.stdout.splitlines())


def ids(folder):
    return sorted(json.loads((folder / name / "summary.json").read_text())["id"] for name in os.listdir(folder))


@pytest.mark.parametrize("name", ["sample.mitm", "types.mitm", "errors.mitm"])
def test_queries_find_what_flowcat_finds(mount, name):
    mounted = mount(CAPTURES / name)
    for expression in QUERIES:
        assert ids(mounted.path / "@query" / escaped(expression)) == matching(expression, CAPTURES / name), expression


def test_queries_are_listed(mount):
    mounted = mount(CAPTURES / "sample.mitm")
    root = mounted.path / "@query"
    assert os.listdir(root) == []
    for number in range(100, 170):
        assert (root / f"~c {number}").is_dir()
    assert sorted(os.listdir(root)) == [f"~c {number}" for number in range(106, 170)]
    assert (root / "~c 106").is_dir() and (root / "~c 99").is_dir()
    assert "~c 107" not in os.listdir(root) and "~c 106" in os.listdir(root)
    assert ids(root / "~c 107") == []
    assert ids(root / "~c 101") == matching("~c 101", CAPTURES / "sample.mitm")


def test_kept_queries(mount, tmp_path):
    mounted = mount(CAPTURES / "sample.mitm", options=("--query", "~c 404", "--query", "~u /api/"))
    root = mounted.path / "@query"
    assert sorted(os.listdir(root)) == ["~c 404", "~u %2Fapi%2F"]
    for number in range(100, 170):
        assert (root / f"~c {number}").is_dir()
    assert len(os.listdir(root)) == 66 and {"~c 404", "~u %2Fapi%2F", "~c 169"} <= set(os.listdir(root))
    assert ids(root / "~u %2Fapi%2F") == matching("~u /api/", CAPTURES / "sample.mitm") != []
    for wrong, message in [("~c x", "  ~c x\n     ^"), ("x" * 256, "found 256 bytes")]:
        failed = subprocess.run([FLOWFS, "--query", wrong, CAPTURES / "sample.mitm", tmp_path / "no"],
                                capture_output=True, text=True, timeout=20)
        assert failed.returncode == 1 and message in failed.stderr


def test_what_is_no_query(mount):
    mounted = mount(CAPTURES / "sample.mitm")
    root = mounted.path / "@query"
    for name in ("~b", "~nothing x", "(~q", "~u [", ".git", ".ignore"):
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                os.stat(root / name)
    assert os.listdir(root) == []
    errors = (mounted.path / ".flowfs/errors").read_text().splitlines()
    assert [line.split(": ")[0] for line in errors] == ["@query/~b", "@query/~nothing x", "@query/(~q", "@query/~u ["]
    assert all(re.search("at byte [0-9]+: .*expected", line) for line in errors[:3]), errors


def test_views_follow_a_growing_capture(mount, tmp_path):
    capture = write(tmp_path / "a.mitm", http_flow(1))
    mounted = mount(capture)
    query = mounted.path / "@query" / "~u 2$"
    method = mounted.path / "@by/method/GET"
    stats = mounted.path / "@query/~u 2$/.flowfs/flows.jsonl"
    assert len(os.listdir(query)) == 0 and len(os.listdir(method)) == 1
    assert stats.read_text() == ""
    with open(capture, "ab") as file:
        file.write(dumps(http_flow(2)) + dumps(http_flow(3)))
    wait_until(lambda: len(os.listdir(method)) == 3)
    assert len(os.listdir(query)) == 1 and len(list(query.iterdir())[0].joinpath("summary.json").read_text()) > 10
    wait_until(lambda: len(stats.read_text().splitlines()) == 1)


@pytest.mark.parametrize("place", ["@query/~m POST", "@by/method/POST", "@by/capture/sample.mitm", "@by/status/none"])
def test_control_files_of_views(mount, place):
    mounted = mount(CAPTURES / "sample.mitm")
    folder = mounted.path / place
    assert ".flowfs" not in os.listdir(folder)
    assert "flows.har" in os.listdir(folder / ".flowfs") and not (folder / ".flowfs/curl").exists()
    flow_ids = [json.loads(line)["id"] for line in (folder / ".flowfs/flows.jsonl").read_text().splitlines()]
    assert sorted(flow_ids) == ids(folder)
    assert len(flow_ids) >= 1
    packed = subprocess.run([FLOWCAT, "-t", "jsonl", folder / ".flowfs/flows.mitm"], capture_output=True, check=True)
    assert [json.loads(line)["id"] for line in packed.stdout.splitlines()] == flow_ids


def test_many_at_once(mount, tmp_path):
    """Several threads ask for the same and for different groups and queries."""
    mounted = mount(write(tmp_path / "a.mitm", *[http_flow(number) for number in range(500)]))
    wrong = []

    def ask(seed):
        for number in range(60):
            expression = f"~u /{(seed * number) % 90 + 10}$"
            if len(os.listdir(mounted.path / "@query" / escaped(expression))) != 1:
                wrong.append(expression)
            if len(os.listdir(mounted.path / "@by/method/GET")) != 500:
                wrong.append("GET")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_query_on_many_flows(mount, tmp_path):
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts/make-capture", "--flows", "100000", capture], check=True)
    mounted = mount(capture)
    for expression in ("~c 404", "~m POST & ~c 500"):
        links = os.listdir(mounted.path / "@query" / expression)
        count = subprocess.run([FLOWCAT, "-f", expression, "-t", "list", capture], capture_output=True, check=True)
        assert len(links) == len(count.stdout.splitlines()) > 0
