"""Exports: what mitmproxy makes of each flow of the corpus, and what a shell sends."""

import base64
import json
import os
import random
import shutil
import socket
import subprocess
import threading

import pytest
from conftest import CORPUS, flowcat, needs_corpus
from tnetstring import http_flow, write

NAMES = sorted(path.name.removesuffix(".expected.json") for path in CORPUS.glob("*.expected.json"))
NAMES = [name for name in NAMES if name not in ("filters", "dumpfile-010.mitm")]


def golden_bytes(export):
    """Nothing where mitmproxy gives up."""
    if isinstance(export, str):
        return export.encode("utf-8", "surrogateescape") + b"\n"
    return base64.b64decode(export["bytes"]) if export and "bytes" in export else b""


@needs_corpus
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["curl", "httpie", "raw", "raw_request", "raw_response"])
def test_goldens(name, form):
    flows = json.loads((CORPUS / f"{name}.expected.json").read_text())["flows"]
    exports = [(flow.get("exports") or {}).get(form) for flow in flows]
    refused = [isinstance(export, dict) and "error" in export or export is None for export in exports]
    # mitmproxy fails on the text messages of its own old WebSocket file; here they are exported.
    fails = [isinstance(export, dict) and "concat" in export.get("error", "") for export in exports]
    result = flowcat("-t", form, CORPUS / name, code=4 if sum(refused) > sum(fails) else 0)
    golden = [golden_bytes(export) for export in exports]
    # Its printf sends something else than what was sent, for it transcodes; see export.h.
    transcoded = [b'"$(printf ' in part for part in golden]
    if not any(fails) and not any(transcoded):
        assert result.stdout == b"".join(golden)
    assert all(part in result.stdout for part, odd in zip(golden, transcoded) if not odd)


class Recorder(threading.Thread):
    """A server that keeps what it is sent, byte for byte, and answers with nothing."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                line = stream.readline().rstrip(b"\r\n")
                fields = []
                while (field := stream.readline().rstrip(b"\r\n")):
                    name, value = field.split(b":", 1)
                    fields.append((name.lower(), value.strip()))
                if dict(fields).get(b"expect"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = stream.read(int(dict(fields).get(b"content-length", 0)))
                self.requests.append((line, fields, body))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def server():
    recorder = Recorder()
    recorder.start()
    yield recorder
    recorder.listener.close()


FORM = [b"Content-Type", b"application/x-www-form-urlencoded"]
TEXT = [b"Content-Type", b"text/plain"]

REQUESTS = {
    "get": (b"GET", b"/a?b=c%20d&e='f'", [], b""),
    "quotes": (b"POST", b"/", [TEXT, [b"X-Quotes", b"it's \"so\" `so` $HOME \\n"]], b"it's \"so\" `so` $HOME \\n"),
    "form": (b"POST", b"/form", [FORM], b"a=1&b=%20"),
    "at": (b"POST", b"/", [TEXT], b"@/etc/passwd"),
    "lines": (b"POST", b"/", [TEXT], b"one\ntwo\r\n100% \\x41\n\n"),
    "unicode": (b"PUT", b"/", [TEXT], "Gr\u00fc\u00dfe".encode()),
    "latin-1": (b"PUT", b"/", [[b"Content-Type", b"text/plain; charset=latin-1"]], b"Gr\xfc\xdfe"),
    "binary": (b"POST", b"/", [[b"Content-Type", b"application/octet-stream"]], bytes(range(256)) * 3),
    "untyped": (b"POST", b"/", [], b"\0\1\2"),
    "patch": (b"PATCH", b"/", [[b"X-Twice", b"1"], [b"X-Twice", b"2"]], b"x"),
    "delete": (b"DELETE", b"/x/7", [], b""),
    "long": (b"POST", b"/", [[b"Content-Type", b"image/png"]], random.Random(1).randbytes(3 << 20)),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_curl_sends_the_request(server, name, shell, tmp_path):
    """The line, run by a real shell, sends the request: method, target, its fields, its body."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    method, path, fields, content = REQUESTS[name]
    request = {"host": "127.0.0.1", "port": server.port, "method": method, "path": path, "content": content,
               "headers": [[b"Host", b"127.0.0.1:%d" % server.port], *fields]}
    capture = write(tmp_path / "a.mitm", http_flow(1, request=request))
    line = tmp_path / "line.sh"
    line.write_bytes(flowcat("-t", "curl", capture).stdout)
    subprocess.run([shell, line], check=True, timeout=60, env={**os.environ, "NO_PROXY": "*"}, capture_output=True)
    ((start, sent, body),) = server.requests
    assert start == method + b" " + path + b" HTTP/1.1"
    assert body == content
    for field in fields:
        assert (field[0].lower(), field[1]) in sent
    if name == "untyped":
        assert b"content-type" not in dict(sent)
