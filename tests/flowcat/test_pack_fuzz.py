"""Folders of flows with random damage and random edits: what packs is what the files say, and packs to the same
when it is unpacked again; what does not is told in the form that all mistakes have."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from conftest import FLOWCAT, flowcat
from flow_strategy import flows, octets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tnetstring import dumps, loads

NAMES = ("request.headers", "request.body", "request.body.raw", "request.trailers", "response.headers", "response.body",
         "response.body.raw", "response.trailers", "error", "flow.json", "query.json", "answer.json", "messages/0001-client.txt",
         "messages/0001.5-server.bin", "messages/9-server.txt", "summary.json")
LINES = (b"GET http://example.com/ HTTP/1.1", b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Encoding: gzip", b"A: b", b"", b"x",
         b"Transfer-Encoding: chunked", b"CONNECT a:1 HTTP/1.1", b"HTTP/2.0 404 ", b"Content-Encoding: br, zstd", b"\xff: \xfe", b"POST /a HTTP/2.0")
TOLD = re.compile(r"((?:request|response)\.[a-z.]+|flow\.json|query\.json|answer\.json|error|messages(?:/[^:]+)?)(:\d+)*: ([a-z_0-9.]+: )?found .*")


@st.composite
def change(draw):
    kind = draw(st.sampled_from(["remove", "write", "line", "drop line", "swap", "byte", "cut", "append", "json"]))
    return kind, draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES)), draw(st.integers(0, 2000)), draw(
        st.one_of(st.sampled_from(LINES), octets))


# An edit that packs, for there are many that do not.
body_edit = st.tuples(st.just("write"), st.sampled_from(["request.body", "response.body"]), st.just(""), st.just(0), octets)
edits = st.one_of(st.lists(change(), min_size=1, max_size=6), st.lists(body_edit, min_size=1, max_size=2))


def apply(folder, kind, name, other, at, text):
    path = folder / name
    content = path.read_bytes() if path.exists() else b""
    lines = content.split(b"\n")
    if kind == "remove":
        path.unlink(missing_ok=True)
        return
    if kind == "swap":
        if not (folder / other).exists() or not path.exists():
            return
        content = (folder / other).read_bytes()
    elif kind == "write":
        content = text
    elif kind == "line":
        content = b"\n".join([*lines[: at % (len(lines) + 1)], text, *lines[at % (len(lines) + 1) :]])
    elif kind == "drop line":
        del lines[at % len(lines)]
        content = b"\n".join(lines)
    elif kind == "byte" and content:
        at %= len(content)
        content = content[:at] + (text[:1] or b"0") + content[at + 1 :]
    elif kind == "cut":
        content = content[: at % (len(content) + 1)]
    elif kind == "append":
        content += text
    elif kind == "json":
        # Another value where there was one.
        values = [b"null", b"0", b"-1.5e3", b"true", b'""', b'"x"', b"[]", b"{}", b'{"bytes": "x"}', b"[[1, 2]]", b'{"int": "007"}']
        places = [match.span(1) for match in re.finditer(rb': ([^\[{,\n]+)(?=[,\n])', content)]
        if places:
            start, end = places[at % len(places)]
            content = content[:start] + values[at % len(values)] + content[end:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def is_fields(headers):
    return isinstance(headers, list) and all(
        isinstance(field, list) and len(field) == 2 and all(isinstance(part, bytes) for part in field) for field in headers)


def check_packed(record, folder):
    state, _ = loads(record)
    if state["type"] != "http" or not isinstance(state.get("request"), dict):
        return
    for side in ("request", "response"):
        message = state.get(side)
        if not isinstance(message, dict):
            assert not (folder / f"{side}.headers").exists()
            continue
        body, raw = folder / f"{side}.body", folder / f"{side}.body.raw"
        if raw.exists() and not body.exists():
            assert message["content"] == raw.read_bytes()
        if not is_fields(message.get("headers")):
            continue
        encodings = [value for name, value in message["headers"] if name.lower() == b"content-encoding"]
        if body.exists() and not raw.exists() and not encodings:
            assert message["content"] == body.read_bytes()
            lengths = {value for name, value in message["headers"] if name.lower() == b"content-length"}
            noted = f'"{side}.content"'.encode() in ((folder / "flow.json").read_bytes() if (folder / "flow.json").exists() else b"")
            assert noted or lengths <= {b"%d" % len(message["content"])}


def pack(*arguments):
    return subprocess.run([FLOWCAT, "--pack", *arguments], capture_output=True, timeout=60)


@given(flows(), edits)
@settings(max_examples=int(os.environ.get("FLOWFS_EXAMPLES", 150)), deadline=None, suppress_health_check=list(HealthCheck))
def test_changes(state, changes):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "a.mitm").write_bytes(dumps(state))
        flowcat("--unpack", root / "flows", root / "a.mitm")
        (folder,) = (root / "flows").glob("*/*")
        for each in changes:
            apply(folder, *each)
        result = pack(root / "flows")
        said = result.stderr.decode(errors="replace")
        if result.returncode != 0:
            assert result.returncode == 2 and result.stdout == b"", said
            lines = said.split("\n")
            if "there is no flow in" in said:
                assert not any((folder / each).exists() for each in ("request.headers", "flow.json", "query.json"))
                return
            assert lines[0].startswith(f"flowcat: {folder}/"), said
            assert TOLD.fullmatch(lines[0].removeprefix(f"flowcat: {folder}/")), said
            return
        assert result.stdout, said
        if isinstance(state, dict):  # no member is there twice
            check_packed(result.stdout, folder)
        # Unpacked and packed once more it is the same.
        (root / "b.mitm").write_bytes(result.stdout)
        shutil.rmtree(root / "flows")
        flowcat("--unpack", root / "again", root / "b.mitm")
        assert pack(root / "again").stdout == result.stdout
