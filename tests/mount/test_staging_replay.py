"""Flows that were edited in staging, replayed by Debian's mitmproxy: a server on loopback gets the edits."""

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import zlib

import pytest
from conftest import PROJECT, wait_until
from staged import Staged
from tnetstring import http_flow

sys.path.append(str(PROJECT / "tests" / "flowcat"))
from recorder import Recorder, certificate  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("mitmdump"), reason="Debian's mitmproxy is not installed")


@pytest.fixture
def server():
    recorder = Recorder()
    recorder.start()
    yield recorder
    recorder.close()


@pytest.fixture
def fix(mount, tmp_path):
    """fix(flows): a set of them in the version that Debian's mitmproxy reads."""
    return lambda flows: Staged(mount, tmp_path, flows, options=("--format-version", "17"))


STARTED = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def mitmdump(folder, *arguments):
    """Started; it is ended with the test."""
    command = ["mitmdump", "--ssl-insecure", "--set", f"confdir={folder / 'mitmproxy'}", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    STARTED.append(process)
    return process


def replay(fix):
    """As the README has it; the flow file is read from the mount itself."""
    client = mitmdump(fix.backing.parent, "-nC", fix.flow_file)
    said = client.communicate(timeout=60)[0].decode()
    assert client.returncode == 0, said
    return said


def to_server(server, number, **changes):
    """A flow as it was when it went there for the first time."""
    address = {"host": "127.0.0.1", "port": server.port}
    request = {"headers": [[b"Host", b"127.0.0.1:%d" % server.port]], **address, **changes.pop("request", {})}
    flow = http_flow(number, request=request, **changes)
    flow["server_conn"]["address"] = ["127.0.0.1", server.port]
    return flow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def record(folder, server):
    """A capture of curl's request to the server, by mitmdump as a proxy."""
    capture, port = folder / "recorded.mitm", free_port()
    proxy = mitmdump(folder, "-q", "-w", capture, "-p", port, "--listen-host", "127.0.0.1")

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, 40)
    request = ["-H", "X-Token: secret", "-H", "Content-Type: application/json", "-d", '{"user": "jane"}']
    through = ["curl", "-sS", "-o", "/dev/null", "--noproxy", "", "-x", f"http://127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{server.port}/api/users?page=1"
    subprocess.run([*through, *request, url], check=True, timeout=30)
    proxy.terminate()
    proxy.communicate(timeout=30)
    assert capture.stat().st_size > 0
    return capture


def test_recorded_edited_and_replayed(mount, tmp_path, server):
    """The whole way, with nothing but shell tools: captured, copied, edited, sent again."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    mounted = mount(record(tmp_path, server), options=("--format-version", "17"))
    assert server.take().line == b"POST /api/users?page=1 HTTP/1.1"
    script = """
        mkdir "$1/@staging/fix"
        cp -r "$1/127.0.0.1:$2"/* "$1/@staging/fix/"
        cd "$1/@staging/fix"/*
        sed -i 's,/api/users?page=1,/api/users?page=2\\&all,' request.headers
        sed -i 's/^X-Token: .*/X-Token: edited/' request.headers
        echo 'X-Added: 1' >>request.headers
        sed -i 's/jane/john, who has a longer name/' request.body
    """
    subprocess.run(["sh", "-ec", script, "sh", mounted.path, str(server.port)], check=True, timeout=30)
    client = mitmdump(tmp_path, "-nC", mounted.staging / "fix.mitm")
    said = client.communicate(timeout=60)[0].decode()
    assert client.returncode == 0, said
    sent = server.take()
    assert sent.line == b"POST /api/users?page=2&all HTTP/1.1"
    assert json.loads(sent.body) == {"user": "john, who has a longer name"}
    assert sent.get(b"content-length") == [b"%d" % len(sent.body)]
    assert (sent.get(b"x-token"), sent.get(b"x-added")) == ([b"edited"], [b"1"])
    assert "page=2" in said and "200 OK" in said


def test_edits_of_many_kinds(fix, server):
    """One flow for each, replayed in the order of their times."""
    packed = gzip.compress(b"before", mtime=0)
    host = [b"Host", b"127.0.0.1:%d" % server.port]
    staged = fix(
        [
            to_server(server, 1),
            to_server(server, 2, request={"headers": [host, [b"A", b"1"], [b"B", b"2"], [b"A", b"3"]]}),
            to_server(
                server,
                3,
                request={
                    "method": b"PUT",
                    "content": packed,
                    "headers": [host, [b"Content-Encoding", b"gzip"], [b"Content-Length", b"%d" % len(packed)]],
                },
            ),
            to_server(
                server,
                4,
                request={
                    "method": b"POST",
                    "content": b"before",
                    "headers": [host, [b"Transfer-Encoding", b"chunked"]],
                },
            ),
            to_server(
                server,
                5,
                request={"method": b"POST", "content": b"before", "headers": [host, [b"Content-Length", b"6"]]},
            ),
            to_server(server, 6, error={"msg": "the server was down", "timestamp": 1700000006.9}),
        ]
    )
    (staged.flow(1) / "request.headers").write_bytes(
        b"DELETE http://127.0.0.1:%d/edited?q=%%20 HTTP/1.1\nHost: 127.0.0.1\n" % server.port
    )
    headers = (staged.flow(2) / "request.headers").read_bytes().split(b"\n")
    (staged.flow(2) / "request.headers").write_bytes(
        b"\n".join([headers[0], headers[1], headers[4], b"x-K\xf6ln: \xff K\xf6ln", headers[2], b""])
    )
    (staged.flow(3) / "request.body").write_bytes(b"after, " * 99)
    (staged.flow(4) / "request.body").write_bytes(b"after, " * 9999)
    (staged.flow(5) / "request.body").unlink()
    (staged.flow(6) / "error").unlink()
    (staged.flow(6) / "response.headers").unlink()
    (staged.flow(6) / "response.body").unlink()
    made = staged.set / "made"
    made.mkdir()
    (made / "request.headers").write_text(
        f"POST http://127.0.0.1:{server.port}/made HTTP/1.1\nContent-Encoding: deflate\n"
    )
    (made / "request.body").write_text("made by hand")
    replay(staged)
    sent = server.requests
    assert [request.line.split()[:2] for request in sent] == [
        [b"DELETE", b"/edited?q=%20"],
        [b"GET", b"/2"],
        [b"PUT", b"/3"],
        [b"POST", b"/4"],
        [b"POST", b"/5"],
        [b"GET", b"/6"],
        [b"POST", b"/made"],
    ]
    assert sent[0].get(b"host") == [b"127.0.0.1"]
    assert [field for field in sent[1].fields if field[0] != b"Host"] == [
        (b"A", b"3"),
        (b"x-K\xf6ln", b"\xff K\xf6ln"),
        (b"A", b"1"),
    ]
    assert gzip.decompress(sent[2].body) == b"after, " * 99 and sent[2].get(b"content-length") == [
        b"%d" % len(sent[2].body)
    ]
    assert sent[3].body == b"after, " * 9999 and sent[3].get(b"content-length") == []
    assert sent[4].body == b"" and sent[4].get(b"content-length") == [b"0"]
    assert zlib.decompress(sent[6].body) == b"made by hand"
    assert sent[6].get(b"content-length") == [b"%d" % len(sent[6].body)]


def test_over_tls(fix, tmp_path):
    """The request goes where its edited line says: to https, and to another port."""
    server = Recorder(certificate(tmp_path))
    server.start()
    staged = fix([http_flow(1, request={"host": "127.0.0.1", "port": 1})])
    (staged.flow(1) / "request.headers").write_text(
        f"GET https://127.0.0.1:{server.port}/secret HTTP/1.1\nHost: edited.example\n"
    )
    replay(staged)
    sent = server.take()
    assert (sent.line, sent.get(b"host")) == (b"GET /secret HTTP/1.1", [b"edited.example"])
    server.close()


class Http2Server(threading.Thread):
    """Keeps the header fields and the body of each request that comes over HTTP/2."""

    def __init__(self, pem):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.context.set_alpn_protocols(["h2"])
        self.requests = []

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            try:
                with self.context.wrap_socket(connection, server_side=True) as secure:
                    self.serve(secure)
            except OSError:
                pass

    def serve(self, connection):
        from h2 import config, events
        from h2.connection import H2Connection

        state = H2Connection(config.H2Configuration(client_side=False, header_encoding=None))
        state.initiate_connection()
        headers, bodies = {}, {}
        while True:
            connection.sendall(state.data_to_send())
            data = connection.recv(65536)
            if not data:
                return
            for event in state.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    headers[event.stream_id], bodies[event.stream_id] = [tuple(field) for field in event.headers], b""
                elif isinstance(event, events.DataReceived):
                    bodies[event.stream_id] += event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, events.StreamEnded):
                    self.requests.append((headers[event.stream_id], bodies[event.stream_id]))
                    state.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)


def test_over_http2(fix, tmp_path):
    pytest.importorskip("h2")
    server = Http2Server(certificate(tmp_path))
    server.start()
    site = b"127.0.0.1:%d" % server.port
    flow = to_server(
        server,
        1,
        request={
            "http_version": b"HTTP/2.0",
            "scheme": b"https",
            "authority": site,
            "method": b"POST",
            "content": b"before",
            "headers": [[b"user-agent", b"test"], [b"content-length", b"6"]],
        },
    )
    flow["client_conn"].update(alpn=b"h2", alpn_offers=[b"h2"], tls=True, timestamp_tls_setup=1700000000.2)
    flow["server_conn"].update(alpn=b"h2", alpn_offers=[b"h2"], tls=True, timestamp_tls_setup=1700000000.3)
    staged = fix([flow])
    headers = staged.flow(1) / "request.headers"
    assert headers.read_bytes().startswith(b"POST https://%s/1 HTTP/2.0\n" % site)
    headers.write_bytes(headers.read_bytes().replace(b"/1 HTTP", b"/edited HTTP") + b"x-added: 1\n")
    (staged.flow(1) / "request.body").write_bytes(b"longer than before")
    said = replay(staged)
    ((fields, body),) = server.requests or [([], said)]
    assert body == b"longer than before"
    assert dict(fields)[b":path"] == b"/edited" and dict(fields)[b":authority"] == site
    assert (b"x-added", b"1") in fields and (b"content-length", b"18") in fields
    server.listener.close()


def test_a_broken_set_is_not_replayed(fix, server):
    """mitmproxy cannot open the flow file, rather than send what was there before the mistake."""
    staged = fix([to_server(server, 1)])
    assert staged.flow_file.stat().st_size
    (staged.flow(1) / "request.headers").write_text("nonsense\n")
    client = mitmdump(staged.backing.parent, "-nC", staged.flow_file)
    said = client.communicate(timeout=60)[0].decode()
    assert server.requests == [] and "Bad message" in said, said
