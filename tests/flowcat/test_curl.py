"""Exported commands, run by a real shell: the server gets the flow's request."""

import base64
import gzip
import json
import os
import random
import shutil
import subprocess

import pytest
from conftest import CORPUS, flowcat, needs_corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder import Recorder, certificate
from tnetstring import http_flow, write

# Not compared: curl counts, names its own codings for Accept-Encoding, and says Host in its own case.
OWN = {b"content-length", b"accept-encoding", b"host", b"transfer-encoding"}


@pytest.fixture
def server():
    recorder = Recorder()
    recorder.start()
    yield recorder
    recorder.close()


def run(shell, command, folder, curlrc=""):
    """Runs the command, as a file: it may be longer than an argument can be."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = folder / "command.sh"
    script.write_bytes(command)
    (folder / ".curlrc").write_text(curlrc)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"CURL_HOME": str(folder), "HTTPIE_CONFIG_DIR": str(folder), "LC_ALL": "C.UTF-8"}
    with open(os.devnull) as nothing:
        return subprocess.run([shell, script], stdin=nothing, capture_output=True, timeout=60, env=environment)


def is_in_order(wanted, sent):
    rest = iter(sent)
    return all(item in rest for item in wanted)


def assert_sent(sent, method, path, fields, content):
    assert sent.line == method + b" " + path + b" HTTP/1.1"
    assert sent.body == content
    wanted = [(name, value.strip(b" \t")) for name, value in fields if name.lower() not in OWN]
    assert is_in_order(wanted, [item for item in sent.fields if item[0].lower() not in OWN])
    names = {name.lower() for name, _ in fields}
    assert not names & {b"accept-encoding", b"host"} - {name.lower() for name, _ in sent.fields}
    if b"transfer-encoding" in names:
        assert sent.get(b"transfer-encoding") and not sent.get(b"content-length")


def capture_of(server, folder, method, path, fields, content, **changes):
    host = b"127.0.0.1:%d" % server.port
    request = {"host": "127.0.0.1", "port": server.port, "method": method, "path": path, "content": content,
               "headers": [[b"Host", host], *map(list, fields)], **changes}
    return write(folder / "a.mitm", http_flow(1, request=request))


def text(content, *fields, method=b"POST"):
    return method, b"/", [(b"Content-Type", b"text/plain"), *fields], content


PARTS = (b"--b0\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a'b.bin\"\r\n"
         b"Content-Type: application/octet-stream\r\n\r\n\0\xff%s\\n\r\n--b0--\r\n")
NOISE = random.Random(1).randbytes(3 << 20)

REQUESTS = {
    "get": (b"GET", b"/a?b=c%20d&e='f'&g=$h`i`!j", [], b""),
    "text": text(b"hello"),
    "quotes": text(b"it's \"so\" `so` $HOME \\n \\\\ !! %s", (b"X-Quotes", b"it's \"so\" `so` $HOME \\n !!")),
    "lines": text(b"one\ntwo\r\n100% \\x41 \\101\n\n"),
    "only a line end": text(b"\n"),
    "at": text(b"@/etc/passwd"),
    "at and lines": text(b"@/etc/passwd\n"),
    "options": text(b"-d --data -v"),
    "options and lines": text(b"-v\n-n%d\n"),
    "octal digits behind a byte": text(b"\x001234567\n7"),
    "unicode": text("Gr\u00fc\u00dfe \U0001f600".encode()),
    "latin-1": (b"PUT", b"/", [(b"Content-Type", b"text/plain; charset=latin-1")], b"Gr\xfc\xdfe"),
    "byte-order mark": text(b"\xef\xbb\xbfhello"),
    "form": (b"POST", b"/f", [(b"Content-Type", b"application/x-www-form-urlencoded")], b"a=1&b=%20"),
    "binary": text(bytes(range(256)) * 3),
    "binary, untyped": (b"POST", b"/", [], b"\0\1\2"),
    "binary get": (b"GET", b"/", [], b"\0"),
    "multipart": (b"POST", b"/", [(b"Content-Type", b"multipart/form-data; boundary=b0")], PARTS),
    "gzip": text(gzip.compress(b"hello", mtime=0), (b"Content-Encoding", b"gzip")),
    "gzip that is none": text(b"hello", (b"Content-Encoding", b"gzip")),
    "identity": text(b"hello", (b"content-encoding", b"identity")),
    "a word's limit": text(b"x" * 65536),
    "long text": text(b"it's -- 3 MB %s\\" * 200_000),
    "long binary": (b"POST", b"/", [(b"Content-Type", b"image/png")], NOISE),
    "long, expecting": text(NOISE[:2 << 20], (b"Expect", b"100-continue")),
    "chunked": text(b"a\nb", (b"Transfer-Encoding", b"chunked")),
    "chunked word": text(b"ab", (b"transfer-encoding", b"chunked")),
    "chunked nothing": text(b"", (b"Transfer-Encoding", b"chunked")),
    "order": (b"PATCH", b"/", [(b"x-b", b"1"), (b"X-A", b"2"), (b"x-b", b"3"), (b"X-B", b"4"), (b"x-b", b"3")], b"x"),
    "empty": (b"GET", b"/", [(b"X-Empty", b""), (b"X-Next", b"1"), (b"Accept", b""), (b"User-Agent", b"")], b""),
    "bytes": (b"GET", b"/", [(b"X-Bytes", b"\xe9\x01\x7f'\xff")], b""),
    "codings": (b"GET", b"/", [(b"Accept-Encoding", b"br"), (b"Cookie", b"a=\"b\"; c='d'")], b""),
    "head": (b"HEAD", b"/h", [(b"X", b"1")], b""),
    "delete": (b"DELETE", b"/x/7", [], b""),
    "method": (b"pUrGe", b"/", [], b""),
    "options of a path": (b"OPTIONS", b"/x", [(b"Origin", b"http://a")], b""),
    "globs": (b"GET", b"/a[1-3]/{b,c}?d[]=[e]", [], b""),
    "dots": (b"GET", b"/a/../b/./c/..", [], b""),
    "blanks": (b"GET", b"/a b#c?d", [], b""),
    "high bytes": (b"GET", b"/\xc3\xbc/\xff?\xc3\xbc", [], b""),
    "slashes": (b"GET", b"//a//b/", [], b""),
    "escapes": (b"GET", b"/%2e%2E/%zz/%", [], b""),
}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", REQUESTS)
def test_curl_sends_the_request(server, name, shell, tmp_path):
    command = flowcat("-t", "curl", capture_of(server, tmp_path, *REQUESTS[name])).stdout
    result = run(shell, command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert command.count(b"\n") == 1
    assert_sent(server.take(), *REQUESTS[name])


def test_no_more_than_the_request(server, tmp_path):
    """What curl would add to a piped body."""
    capture = capture_of(server, tmp_path, b"POST", b"/", [(b"User-Agent", b"a"), (b"Accept", b"b")], NOISE)
    assert run("dash", flowcat("-t", "curl", capture).stdout, tmp_path).returncode == 0
    names = [name.lower() for name, _ in server.take().fields]
    assert sorted(names) == [b"accept", b"content-length", b"host", b"user-agent"]


def test_http2(server, tmp_path):
    """A request as HTTP/2 had it: the host in `:authority`, names in lower case, cookies apart."""
    fields = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x", b"y")]
    capture = capture_of(server, tmp_path, b"POST", b"/p?q", fields, b"\0", http_version=b"HTTP/2.0",
                         authority=b"127.0.0.1:%d" % server.port, headers=[list(field) for field in fields])
    assert run("dash", flowcat("-t", "curl", capture).stdout, tmp_path).returncode == 0
    sent = server.take()
    assert_sent(sent, b"POST", b"/p?q", fields, b"\0")
    assert sent.get(b"host") == [b"127.0.0.1:%d" % server.port]


def test_ipv6_host(server, tmp_path):
    """A Host field with an IPv6 address gives a URL that curl can read."""
    host = b"[::1]:%d" % server.port
    capture = capture_of(server, tmp_path, b"GET", b"/x", [], b"", host="192.0.2.1", headers=[[b"Host", host]])
    result = run("dash", flowcat("-t", "curl", capture).stdout, tmp_path, f'connect-to = "::127.0.0.1:{server.port}"')
    assert result.returncode == 0, result.stderr
    sent = server.take()
    assert_sent(sent, b"GET", b"/x", [], b"")
    assert sent.get(b"host") == [host]


TOKEN = st.text("!#$%&'*+-.^_`|~abcXYZ019", min_size=1, max_size=9).map(str.encode)
# No line ends, no blanks around, and no NUL, which no command can hold.
VALUE = st.binary(max_size=20).map(lambda value: bytes(byte for byte in value if byte not in b"\0\r\n").strip())
PATH = st.binary(max_size=20).map(lambda path: b"/" + bytes(byte for byte in path if byte not in b"\0\r\n").strip())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=TOKEN.filter(lambda method: method not in (b"GET", b"HEAD", b"CONNECT")),
    path=PATH,
    fields=st.lists(st.tuples(TOKEN.map(lambda name: b"X-" + name), VALUE), max_size=4),
    content=st.binary(max_size=100) | st.text(max_size=100).map(str.encode),
)
def test_curl_sends_any_request(server, tmp_path, method, path, fields, content):
    command = flowcat("-t", "curl", capture_of(server, tmp_path, method, path, fields, content)).stdout
    result = run("dash", command, tmp_path)
    assert result.returncode == 0, (command, result.stderr)
    assert_sent(server.take(), method, path, fields, content)


# Not all of them: httpie escapes more of a URL than it must.
HTTPIE = {name: request for name, request in REQUESTS.items()
          if name in ("form", "empty", "delete", "order", "codings", "at", "lines", "at and lines",
                      "options and lines", "latin-1", "binary", "binary, untyped", "multipart", "gzip",
                      "long text", "long binary", "chunked", "dots")}


@pytest.mark.skipif(not shutil.which("http"), reason="httpie is not installed")
@pytest.mark.parametrize("name", HTTPIE)
def test_httpie_sends_the_request(server, name, tmp_path):
    method, path, fields, content = HTTPIE[name]
    command = flowcat("-t", "httpie", capture_of(server, tmp_path, *HTTPIE[name])).stdout
    # Without content, httpie would read that from the standard input, which is no terminal here.
    if b"|" not in command and b"<<<" not in command:
        command = command.replace(b"http ", b"http --ignore-stdin ", 1)
    result = run("bash", command, tmp_path)
    assert result.returncode == 0, result.stderr
    sent = server.take()
    assert sent.line == method + b" " + path + b" HTTP/1.1"
    # A here-string has a line end behind it.
    assert sent.body == content + (b"\n" if b"<<<" in command else b"")
    for name, value in fields:
        assert value in sent.get(name.lower()), name


def value_of(member):
    return base64.b64decode(member["bytes"]) if isinstance(member, dict) else (member or "").encode()


# mitmproxy's forms of these are no URL that curl could use: an IPv6 address without brackets, a host
# from an attack, one that is too long, CONNECT.
UNUSABLE = [("all-types-21.mitm", number) for number in (8, 11, 13, 14)]


def corpus_requests():
    """Every HTTP request of the corpus as mitmproxy reads it, and which it is of its capture."""
    for path in sorted(CORPUS.glob("*.expected.json")):
        if path.name == "filters.expected.json":
            continue
        capture = path.with_suffix("").with_suffix("")
        states = [flow["state"] for flow in json.loads(path.read_text())["flows"]]
        requests = [state["request"] for state in states if state["type"] == "http"]
        for number, request in enumerate(requests):
            if (capture.name, number) not in UNUSABLE:
                code = 4 if len(requests) < len(states) else 0
                yield pytest.param(capture, code, number, request, id=f"{capture.name}-{number}")


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    recorder = Recorder(certificate(tmp_path_factory.mktemp("tls")))
    recorder.start()
    yield recorder
    recorder.close()


@needs_corpus
@pytest.mark.parametrize("capture, code, number, request_state", corpus_requests())
def test_curl_sends_the_corpus(tls_server, capture, code, number, request_state, tmp_path):
    """Real requests, wherever they went: curl is sent to the test's server."""
    command = flowcat("-t", "curl", capture, code=code).stdout.splitlines()[number]
    curlrc = f'connect-to = "::127.0.0.1:{tls_server.port}"\ninsecure\nhttp1.1\n'
    result = run("dash", command, tmp_path, curlrc)
    assert result.returncode == 0, (command, result.stderr)
    method, path, content = (value_of(request_state[key]) for key in ("method", "path", "content"))
    # HTTP/2's pseudo header fields, which HAR files have as fields, are no fields of HTTP/1.
    fields = [tuple(map(value_of, field)) for field in request_state["headers"]]
    fields = [(name, value) for name, value in fields if not name.startswith(b":") and value]
    # Here the golden is no such request: see codec/export.h.
    if method == b"GET" and b" -d " in command:
        method = b"POST"
    assert_sent(tls_server.take(), method, b"/" if path == b"*" else path, fields, content)
