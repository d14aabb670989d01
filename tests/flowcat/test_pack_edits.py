"""What follows from each edit of a flow's folder: all that it means, and nothing else. The answers are read by
mitmproxy, its state of the newest version field by field, and Debian's version of it as a user meets it."""

import gzip
import json
import zlib

import brotli
import pytest
import zstandard
from editing import Folder
from tnetstring import http_flow

DECODERS = {
    "gzip": gzip.decompress,
    "x-gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "gzip, br": lambda data: gzip.decompress(brotli.decompress(data)),
    "zstd,identity , gzip": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(gzip.decompress(data)),
}
HEADERS = [[b"Host", b"example.com"], [b"X-One", b"1"], [b"X-Two", b"2"]]


@pytest.fixture
def plain(folder):
    return folder(
        request={"headers": HEADERS, "host": "example.com"},
        response={"headers": [[b"Content-Type", b"text/plain"], [b"Content-Length", b"5"]]},
    )


# The request line as it was is GET http://example.com/1 HTTP/1.1.
@pytest.mark.parametrize(
    "line, expected",
    [
        (b"POST http://example.com/1 HTTP/1.1", {"method": b"POST"}),
        (b"x-own http://example.com/1 HTTP/1.1", {"method": b"x-own"}),
        (b"GET http://example.com/a%20b?c=d&e#f HTTP/1.1", {"path": b"/a%20b?c=d&e#f"}),
        (b"GET http://example.com/with space HTTP/1.1", {"path": b"/with space"}),
        (b"GET http://example.com/K\xf6ln HTTP/1.1", {"path": b"/K\xf6ln"}),
        (b"GET /only HTTP/1.1", {"path": b"/only"}),
        (b"OPTIONS * HTTP/1.1", {"method": b"OPTIONS", "path": b"*"}),
        (b"GET http://example.com:8080/1 HTTP/1.1", {"port": 8080}),
        (b"GET https://example.com/1 HTTP/1.1", {"scheme": b"https", "port": 443}),
        (b"GET https://example.com:80/1 HTTP/1.1", {"scheme": b"https"}),
        (b"GET http://192.0.2.9/1 HTTP/1.1", {"host": "192.0.2.9"}),
        (b"GET http://[2001:db8::1]:81/1 HTTP/1.1", {"host": "2001:db8::1", "port": 81}),
        (b"GET http://example.com/1 HTTP/1.0", {"http_version": b"HTTP/1.0"}),
        (b"GET http://example.com/1 HTTP/2.0", {"http_version": b"HTTP/2.0"}),
    ],
)
def test_request_line(plain, line, expected):
    plain.edit("request.headers", b"GET http://example.com/1 HTTP/1.1", line)
    assert plain.changes() == {f"request.{key}": value for key, value in expected.items()}
    request = plain.flow().request
    assert {key: getattr(request.data, key) for key in expected} == expected
    target = line.split(b" ", 1)[1].rsplit(b" ", 1)[0]
    if target.startswith(b"http"):
        assert request.url.encode("utf-8", "surrogateescape") == target.replace(b"[", b"").replace(
            b"]", b""
        )  # as mitmproxy writes addresses


def test_a_bare_path_keeps_tls(plain):
    """Where the request line does not say, the Host field says which host, and the connection which scheme."""
    text = json.loads((plain.path / "flow.json").read_text())
    text["server_conn"]["tls"] = True
    plain.write("flow.json", json.dumps(text).encode())
    plain.edit("request.headers", b"GET http://example.com/1 HTTP/1.1", b"GET /1 HTTP/1.1")
    assert plain.flow().request.url == "https://example.com/1"


def test_tunnel(plain):
    plain.write("request.headers", b"CONNECT example.net:8443 HTTP/1.1\n")
    assert plain.changes() == {
        "request.method": b"CONNECT",
        "request.authority": b"example.net:8443",
        "request.host": "example.net",
        "request.port": 8443,
        "request.path": b"",
        "request.scheme": b"",
        "request.headers": [],
    }
    assert plain.flow().request.first_line_format == "authority"


@pytest.mark.parametrize(
    "line, expected",
    [
        (b"HTTP/1.1 404 Not Found", {"status_code": 404, "reason": b"Not Found"}),
        (b"HTTP/1.1 299 Anything  goes ", {"status_code": 299, "reason": b"Anything  goes "}),
        (b"HTTP/1.1 200 K\xf6ln", {"reason": b"K\xf6ln"}),
        (b"HTTP/1.1 200 ", {"reason": b""}),
        (b"HTTP/1.1 200", {"reason": b""}),
        (b"HTTP/2.0 200 OK", {"http_version": b"HTTP/2.0"}),
    ],
)
def test_status_line(plain, line, expected):
    plain.edit("response.headers", b"HTTP/1.1 200 OK", line)
    assert plain.changes() == {f"response.{key}": value for key, value in expected.items()}
    response = plain.flow().response
    assert {key: getattr(response.data, key) for key in expected} == expected


@pytest.mark.parametrize(
    "lines, expected",
    [
        (b"X-Two: 2\nHost: example.com\nX-One: 1\n", [HEADERS[2], HEADERS[0], HEADERS[1]]),
        (b"Host: example.com\nX-One: 1\nX-One: 1\nx-one: 2\n", [*HEADERS[:2], HEADERS[1], [b"x-one", b"2"]]),
        (b"hOST: example.com\nX-ONE: 1\n", [[b"hOST", b"example.com"], [b"X-ONE", b"1"]]),
        (
            b"Host: example.com\nX-City: K\xf6ln \xff\nX-\xe9: \x80\n",
            [HEADERS[0], [b"X-City", b"K\xf6ln \xff"], [b"X-\xe9", b"\x80"]],
        ),
        ("Host: example.com\nX-City: Köln ✓\n".encode(), [HEADERS[0], [b"X-City", "Köln ✓".encode()]]),
        (
            b"Host: example.com\nEmpty: \nNothing:\nBlank:  \t \n",
            [HEADERS[0], [b"Empty", b""], [b"Nothing", b""], [b"Blank", b" \t "]],
        ),
        (b"Host: example.com\nTime: 10:22:33\nno-space:x\n", [HEADERS[0], [b"Time", b"10:22:33"], [b"no-space", b"x"]]),
        (b":authority: a\n:path: /b\n", [[b":authority", b"a"], [b":path", b"/b"]]),
        (b"Host: example.com\r\nX-One: 1\r\n\r\n", HEADERS[:2]),
        (b"Host: example.com\nX-One: 1", HEADERS[:2]),
        (b"", []),
    ],
)
def test_fields(plain, lines, expected):
    line = plain.read("request.headers").split(b"\n")[0]
    plain.write("request.headers", line + b"\n" + lines)
    state = plain.state()
    assert state["request"]["headers"] == expected
    assert {place.split(".headers")[0] for place in plain.changes()} == {"request"}
    assert list(map(list, plain.flow().request.headers.fields)) == expected


@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("side", ["request", "response"])
def test_encoded_body(folder, side, coding):
    """The folder's body is encoded again as Content-Encoding says, and Content-Length follows."""
    original = gzip.compress(b"before", mtime=0)
    flow = folder(
        **{
            side: {
                "content": original,
                "headers": [[b"content-ENCODING", b"gzip"], [b"X", b"y"], [b"content-length", b"%d" % len(original)]],
            }
        }
    )
    assert flow.read(f"{side}.body") == b"before"
    flow.edit(f"{side}.headers", b"gzip", coding.encode())
    text = b"an edit, " * 500
    flow.write(f"{side}.body", text)
    message = flow.state()[side]
    assert DECODERS[coding](message["content"]) == text
    assert message["headers"] == [
        [b"content-ENCODING", coding.encode()],
        [b"X", b"y"],
        [b"content-length", b"%d" % len(message["content"])],
    ]
    read = getattr(flow.flow(), side)
    assert int(read.headers["content-length"]) == len(read.raw_content) < len(text)
    if coding in ("gzip", "deflate", "br", "zstd"):
        assert read.content == text
    # What is packed once more, untouched, is the same.
    assert flow.state()[side] == message


def test_coding_changed_alone(folder):
    """A coding that is edited is a wish: the content becomes that, though nobody touched the body."""
    original = gzip.compress(b"before" * 9, mtime=0)
    flow = folder(
        response={
            "content": original,
            "headers": [[b"Content-Encoding", b"gzip"], [b"Content-Length", b"%d" % len(original)]],
        }
    )
    flow.edit("response.headers", b"gzip", b"br")
    flow.remove("response.body.raw")
    response = flow.flow().response
    assert response.content == b"before" * 9 == brotli.decompress(response.raw_content)
    assert response.headers["content-length"] == str(len(response.raw_content))
    flow.edit("response.headers", b"Content-Encoding: br\n", b"")
    assert flow.state()["response"]["content"] == b"before" * 9


def test_unknown_coding(folder):
    flow = folder(
        response={"content": b"secret", "headers": [[b"Content-Encoding", b"x-own"], [b"Content-Length", b"6"]]}
    )
    flow.write("response.body", b"public")
    flow.remove("response.body.raw")
    assert flow.changes() == {"response.content": b"public"}
    flow.write("response.body", b"longer than before")
    assert flow.changes() == {"response.content": b"longer than before", "response.headers.1.1": b"18"}


@pytest.mark.parametrize(
    "version, headers, body, expected",
    [
        # Every Content-Length follows, whatever it said, once the body is edited.
        (
            b"HTTP/1.1",
            [[b"Content-Length", b"5"], [b"content-length", b"5"]],
            b"longer",
            [[b"Content-Length", b"6"], [b"content-length", b"6"]],
        ),
        (b"HTTP/1.1", [[b"Content-Length", b"77"]], b"longer", [[b"Content-Length", b"6"]]),
        (b"HTTP/1.1", [[b"Content-Length", b"5"]], None, [[b"Content-Length", b"0"]]),
        # A body that is chunked on the wire has no length there.
        (b"HTTP/1.1", [[b"Transfer-Encoding", b"chunked"]], b"longer", [[b"Transfer-Encoding", b"chunked"]]),
        (
            b"HTTP/1.1",
            [[b"Transfer-Encoding", b"chunked"], [b"Content-Length", b"5"]],
            b"longer",
            [[b"Transfer-Encoding", b"chunked"], [b"Content-Length", b"6"]],
        ),
        # A response may end with its connection, a frame of HTTP/2 tells its own length.
        (b"HTTP/1.1", [], b"longer", []),
        (b"HTTP/2.0", [], b"longer", []),
        (b"HTTP/2.0", [[b"content-length", b"5"]], b"longer", [[b"content-length", b"6"]]),
    ],
)
def test_length_of_response(folder, version, headers, body, expected):
    flow = folder(response={"http_version": version, "headers": headers})
    flow.remove("response.body") if body is None else flow.write("response.body", body)
    response = flow.state()["response"]
    assert (response["headers"], response["content"]) == (expected, body or b"")


@pytest.mark.parametrize(
    "version, headers, expected",
    [
        (b"HTTP/1.1", [], [[b"Content-Length", b"6"]]),
        (b"HTTP/1.0", [[b"A", b"b"]], [[b"A", b"b"], [b"Content-Length", b"6"]]),
        (b"HTTP/1.1", [[b"transfer-encoding", b"gzip, chunked"]], [[b"transfer-encoding", b"gzip, chunked"]]),
        (b"HTTP/2.0", [], []),
    ],
)
def test_length_of_request(folder, version, headers, expected):
    """A request in HTTP/1 with a body and no length would be none at all (RFC 9112, 6.3)."""
    flow = folder(request={"http_version": version, "headers": headers})
    flow.write("request.body", b"upload")
    assert flow.state()["request"]["headers"] == expected
    assert flow.flow().request.raw_content == b"upload"


def test_raw_body(folder):
    original = gzip.compress(b"before", mtime=0)
    headers = [[b"Content-Encoding", b"gzip"], [b"Content-Length", b"%d" % len(original)]]
    flow = folder(response={"content": original, "headers": headers})
    # Edited alone, it counts as it is, under header fields that lie about it.
    flow.write("response.body.raw", b"no gzip, and no such length")
    flow.remove("response.body")
    assert flow.changes() == {"response.content": b"no gzip, and no such length"}
    # Another form of the same content is no contradiction.
    flow.write("response.body.raw", gzip.compress(b"before", 1, mtime=99))
    flow.write("response.body", b"before")
    assert flow.changes() == {"response.content": gzip.compress(b"before", 1, mtime=99)}
    # Untouched beside an edited body, it is what was written here: it follows.
    flow.write("response.body.raw", original)
    flow.write("response.body", b"after")
    assert flow.flow().response.content == b"after"
    # Both edited, they contradict each other.
    flow.write("response.body.raw", gzip.compress(b"something else"))
    assert flow.mistake() == (
        "response.body.raw: found bytes that decode to something else than response.body, expected one of the two as "
        "it was unpacked; remove the one that shall not count"
    )
    flow.remove("response.body")
    assert flow.flow().response.content == b"something else"


def test_raw_body_beside_a_plain_one(plain):
    """Where no coding is named, `.raw` is a way to say: these bytes, and leave the fields alone."""
    plain.write("response.body.raw", b"hello, this is too long")
    assert "decode to something else" in plain.mistake()
    plain.remove("response.body")
    assert plain.changes() == {"response.content": b"hello, this is too long"}


def test_trailers(plain):
    plain.write("response.trailers", b"X-Sum: 1\nx-sum: \xff\n")
    assert plain.changes() == {"response.trailers": [[b"X-Sum", b"1"], [b"x-sum", b"\xff"]]}
    assert plain.flow().response.trailers.fields == ((b"X-Sum", b"1"), (b"x-sum", b"\xff"))
    plain.write("request.trailers", b"A: b")
    plain.remove("response.trailers")
    assert plain.changes() == {"request.trailers": [[b"A", b"b"]]}


def test_trailers_of_a_capture(folder):
    flow = folder(response={"trailers": [[b"A", b"b"], [b"C", b"d"]]})
    flow.edit("response.trailers", b"A: b\n", b"")
    assert flow.changes() == {"response.trailers": [[b"C", b"d"]]}
    flow.remove("response.trailers")
    assert flow.changes() == {"response.trailers": None}


def test_response_removed_and_made(plain):
    plain.remove("response.headers", "response.body")
    assert plain.changes() == {"response": None}
    assert plain.flow().response is None
    plain.write("response.headers", b"HTTP/1.1 204 No Content\n")
    state = plain.state()["response"]
    assert (state["status_code"], state["headers"], state["content"]) == (204, [], b"")


def test_response_for_a_flow_that_had_none(folder):
    flow = folder()
    bare = Folder(flow.root.parent / "bare", {**http_flow(), "response": None})
    assert "response.headers" not in bare.files()
    bare.write("response.headers", b"HTTP/1.1 503\nRetry-After: 9\n")
    bare.write("response.body", b"busy")
    response = bare.flow().response
    assert (response.status_code, response.reason, response.content) == (503, "Service Unavailable", b"busy")
    assert response.headers.fields == ((b"Retry-After", b"9"), (b"Content-Length", b"4"))
    assert response.timestamp_start == bare.before["request"]["timestamp_end"]


def test_error(folder):
    flow = folder(error={"msg": "peer is gone", "timestamp": 1700000001.5})
    assert flow.read("error") == b"peer is gone\n"
    flow.write("error", "Verbindung zurückgesetzt\n".encode())
    assert flow.changes() == {"error.msg": "Verbindung zurückgesetzt"}
    flow.remove("error")
    assert flow.changes() == {"error": None}
    assert flow.flow().error is None
    flow = folder()
    flow.write("error", b"made up")
    assert flow.flow().error.msg == "made up"


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda flow: flow.update(comment="read me ✓"), {"comment": "read me ✓"}),
        (lambda flow: flow.update(marked=":red_circle:"), {"marked": ":red_circle:"}),
        (lambda flow: flow.update(id="another"), {"id": "another"}),
        (lambda flow: flow.update(is_replay="request"), {"is_replay": "request"}),
        (lambda flow: flow["metadata"].update(note=[1, None]), {"metadata.note": [1, None]}),
        (
            lambda flow: flow["client_conn"].update(peername=["198.51.100.7", 999]),
            {"client_conn.peername.0": "198.51.100.7", "client_conn.peername.1": 999},
        ),
        (
            lambda flow: flow["server_conn"].update(address=["other.example", 8443]),
            {"server_conn.address.0": "other.example", "server_conn.address.1": 8443},
        ),
        (
            lambda flow: flow["server_conn"].update(sni="other.example", tls=True),
            {"server_conn.sni": "other.example", "server_conn.tls": True},
        ),
        (
            lambda flow: flow["request"].update(timestamp_start=1600000000.25),
            {"request.timestamp_start": 1600000000.25},
        ),
        (lambda flow: flow["response"].update(timestamp_end=1800000000.5), {"response.timestamp_end": 1800000000.5}),
        (lambda flow: flow.update(timestamp_created=1600000000.5), {"timestamp_created": 1600000000.5}),
        (lambda flow: flow.update(own_field={"bytes": "x"}), {"own_field": b"x"}),
        (lambda flow: flow["request"].update(authority={"bytes": "other"}), {"request.authority": b"other"}),
        (lambda flow: flow.update(backup=None, intercepted=True), {"intercepted": True}),
    ],
)
def test_flow_json(plain, change, expected):
    told = json.loads(plain.read("flow.json"))
    change(told)
    plain.write("flow.json", json.dumps(told).encode())
    assert plain.changes() == expected
    if "own_field" in expected:  # mitmproxy refuses what it does not know
        return
    flow = plain.flow()
    for place, value in expected.items():
        if "." not in place and place != "timestamp_created":
            assert getattr(flow, place) == value


def test_flow_json_as_jq_writes_it(plain):
    """Another layout and other escapes are the same values."""
    plain.edit("flow.json", b'"comment": ""', '"comment": "\\u00fc \\ud83d\\ude00 \\/"'.encode())
    told = json.loads(plain.read("flow.json"))
    for layout in ({"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False, "indent": "\t"}):
        plain.write("flow.json", json.dumps(told, **layout).encode())
        assert plain.changes() == {"comment": "ü 😀 /"}


def test_what_is_left_out(plain):
    """What editors, version control and desktops leave beside a flow's files is no part of it."""
    for name in (
        ".request.headers.swp",
        "request.headers~",
        "#request.body#",
        ".#request.body",
        "4913",
        "response.body.orig",
        ".git/config",
        ".nfs0001",
        ".DS_Store",
        "summary.json",
        "sedQ7Yk2a",
        "notes.txt",
        "response.body.save",
        ".flow.json.Xy12",
    ):
        plain.write(name, b"\xff")
    assert plain.changes() == {}
