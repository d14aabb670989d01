"""Every file of every recorded flow, against what Debian's mitmproxy reads from the same capture."""

import json
import os
import zlib

import pytest
from conftest import CAPTURES
from flowdirs import by_number

mitmproxy = pytest.importorskip("mitmproxy.io", reason="Debian's mitmproxy is not installed")

NAMES = [name for name in ("http1", "http2", "encodings", "uploads", "errors", "websocket", "tcp", "sample")]
DEFAULT_PORTS = {"http": 80, "https": 443}


def read_flows(path):
    with open(path, "rb") as file:
        return list(mitmproxy.FlowReader(file).stream())


def site(flow):
    """host[:port] as mitmproxy displays it, the scheme's own port left out."""
    if flow.type == "tcp":
        return "%s:%d" % flow.server_conn.address[:2]
    request = flow.request
    if request.method == "CONNECT":
        host, _, port = request.authority.rpartition(":")
        return host if port == "443" else f"{host}:{port}"
    host, port = request.pretty_host, request.port
    header = request.host_header
    if header:
        port = int(header.rpartition(":")[2]) if ":" in header else DEFAULT_PORTS[request.scheme]
    return host.lower() if DEFAULT_PORTS[request.scheme] == port else f"{host.lower()}:{port}"


def field_lines(headers):
    return b"".join(b"%s: %s\n" % field for field in headers.fields)


def start_line(request):
    data = request.data
    if request.method == "CONNECT":
        return b"%s %s %s\n" % (data.method, data.authority, data.http_version)
    url = request.url.encode("utf-8", "surrogateescape") if data.path.startswith(b"/") and data.host else data.path
    return b"%s %s %s\n" % (data.method, url, data.http_version)


def message_files(side, message, first_line):
    files = {f"{side}.headers": first_line + field_lines(message.headers)}
    if message.raw_content:
        files[f"{side}.body"] = decoded(message)
        encoding = message.headers.get("content-encoding", "")
        if encoding.lower() not in ("", "identity"):
            files[f"{side}.body.raw"] = message.raw_content
    if message.trailers:
        files[f"{side}.trailers"] = field_lines(message.trailers)
    return files


def decoded(message):
    """mitmproxy undoes one coding; a list of them is undone one by one, the last first."""
    names = [name.strip() for name in message.headers.get("content-encoding", "").split(",")]
    content = message.get_content(strict=False)
    if names == ["gzip"]:
        # Newer mitmproxy shows as much of a gzip that was cut off as there is; Debian's shows none.
        unpack = zlib.decompressobj(47)
        try:
            return unpack.decompress(message.raw_content) + unpack.flush()
        except zlib.error:
            return content
    if len(names) > 1:
        from mitmproxy.net import encoding

        content = message.raw_content
        for name in reversed(names):
            content = encoding.decode(content, name)
    return content


def expected_files(flow):
    files = {}
    if flow.type == "http":
        files.update(message_files("request", flow.request, start_line(flow.request)))
        if flow.response:
            data = flow.response.data
            line = b"%s %d %s\n" % (data.http_version, data.status_code, data.reason)
            files.update(message_files("response", flow.response, line))
        messages = flow.websocket.messages if flow.websocket else []
    else:
        messages = flow.messages
    for number, message in enumerate(messages, 1):
        is_text = message.is_text if flow.type == "http" else is_plain_text(message.content)
        name = f"{number:04}-{'client' if message.from_client else 'server'}.{'txt' if is_text else 'bin'}"
        files[f"messages/{name}"] = message.content
    if flow.error:
        files["error"] = flow.error.msg.encode() + b"\n"
    return files


def is_plain_text(content):
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_every_file(mount, name):
    capture = CAPTURES / f"{name}.mitm"
    flows = read_flows(capture)
    folders = by_number(mount(capture))
    assert len(folders) == len(flows) > 0
    for folder, flow in zip(folders, flows):
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        derived = {"summary.json", "flow.json"}
        assert derived <= found.keys()
        assert {key: found[key] for key in found.keys() - derived} == expected_files(flow)
        assert (folder.parent.name, folder.name) == (site(flow), flow.id)


@pytest.mark.parametrize("name", NAMES)
def test_summary(mount, name):
    capture = CAPTURES / f"{name}.mitm"
    for number, (folder, flow) in enumerate(zip(by_number(mount(capture)), read_flows(capture)), 1):
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["id"], summary["number"], summary["capture"]) == (flow.id, number, capture.name)
        assert summary["start_epoch"] == pytest.approx(flow.timestamp_start, abs=1e-6)
        assert summary["client_address"] == "%s:%d" % flow.client_conn.peername[:2]
        assert summary["error"] == (flow.error.msg if flow.error else None)
        assert (summary["marked"], summary["comment"]) == (flow.marked, flow.comment)
        if flow.type != "http":
            assert summary["type"] == flow.type
            counts = summary["messages"]
            assert counts["from_client"] == sum(m.from_client for m in flow.messages)
            assert counts["from_client"] + counts["from_server"] == len(flow.messages)
            continue
        assert summary["type"] == ("websocket" if flow.websocket else "http")
        assert summary["method"] == flow.request.data.method.decode()
        assert summary["url"] == flow.request.pretty_url
        assert summary["path"] == flow.request.path
        assert summary["http_version"] == flow.request.http_version
        assert summary["tls_version"] == (flow.client_conn.tls_version if flow.client_conn.tls else None)
        assert summary["sni"] == flow.client_conn.sni
        if not flow.response:
            assert summary["status"] is None and summary["response"] is None
            continue
        response, seen = flow.response, summary["response"]
        assert (summary["status"], summary["reason"]) == (response.status_code, response.reason or None)
        end = response.timestamp_end or response.timestamp_start
        took = (end - flow.timestamp_start) * 1000
        assert summary["duration_ms"] == pytest.approx(took, abs=0.01)
        assert seen["content_type"] == response.headers.get("content-type")
        if response.raw_content is None:
            assert seen["size_on_wire"] is None and seen["size"] is None
            continue
        assert seen["size_on_wire"] == len(response.raw_content)
        assert seen["size"] == len(decoded(response))


@pytest.mark.parametrize("name", NAMES + ["types"])
def test_sizes_times_and_inodes(mount, name):
    """stat tells the size that reading gives, the time of the flow, and no inode twice."""
    mounted = mount(CAPTURES / f"{name}.mitm")
    inodes = set()
    for folder in mounted.flows():
        start = json.loads((folder / "summary.json").read_text())["start_epoch"]
        assert folder.stat().st_mtime_ns == round(start * 1e6) * 1000
        for path in [folder, *folder.rglob("*")]:
            status = path.stat()
            assert status.st_ino not in inodes
            inodes.add(status.st_ino)
            if path.is_file():
                assert status.st_size == len(path.read_bytes())
                assert status.st_mtime >= folder.stat().st_mtime - 60
                assert status.st_blocks == -(-status.st_size // 4096) * 8
            else:
                directories = sum(child.is_dir() for child in path.iterdir())
                assert status.st_nlink == 2 + directories
    assert os.stat(mounted.path).st_nlink == 2 + len(list(mounted.path.iterdir()))
