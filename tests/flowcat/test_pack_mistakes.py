"""Each mistake in a flow's folder is told with file, line, what was found and what was expected."""

import gzip
import json
import os

import pytest
from conftest import flowcat
from editing import Folder, stream
from tnetstring import http_flow

FIELD = "expected a header field, `name: value`"
REQUEST_LINE = "expected a request line, `METHOD target HTTP/1.1`"
STATUS_LINE = "expected a status line, `HTTP/1.1 200 OK`"
VALUE = 'expected a value: a string, number, object, list, true, false or null (bytes are {"bytes": "..."})'
ALONE = "expected it there alone: remove it"
NAMES = "expected names as 0001-client.txt: number, client or server, .txt or .bin"
NO_PART = (
    "found a file that is no part of a flow, expected request.headers, .body, .body.raw, .trailers, likewise response, "
    "or flow.json; rename or remove it"
)
CONTRADICTION = (
    "response.body.raw: found bytes that decode to something else than response.body, expected one of the two "
    "as it was unpacked; remove the one that shall not count"
)
DNS = {"timestamp": 1.5, "id": 7, "questions": []}
FLOWS = {
    "http": lambda: http_flow(request={"host": "example.com"}),
    "gzip": lambda: http_flow(response={"content": gzip.compress(b"hi"), "headers": [[b"Content-Encoding", b"gzip"]]}),
    "error": lambda: http_flow(error={"msg": "reset", "timestamp": 1.5}),
    "tcp": lambda: stream("tcp", [[True, b"one", 1.5], [False, b"\xfftwo", 2.5]]),
    "websocket": lambda: http_flow(
        websocket={
            "messages": [[1, True, b"hello", 1.5, False, False]],
            "closed_by_client": True,
            "close_code": 1000,
            "close_reason": "",
            "timestamp_end": 3.5,
        }
    ),
    "dns": lambda: {
        **{key: value for key, value in stream("dns", []).items() if key != "messages"},
        "request": DNS,
        "response": DNS,
    },
}


def write(name, content):
    return lambda folder: folder.write(name, content)


def edit(name, old, new):
    return lambda folder: folder.edit(name, old, new)


def member(*path, value):
    """Another value in flow.json, which is written so that each member has a line to itself."""

    def change(folder):
        told = inner = json.loads(folder.read("flow.json"))
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        folder.write("flow.json", json.dumps(told, indent=1).encode())

    change.path = path
    return change


def place(folder, path):
    """Line and column of a member's value in a flow.json that `member` wrote."""
    lines = iter(enumerate(folder.read("flow.json").decode().split("\n"), 1))
    for depth, key in enumerate(path, 1):
        start = f'{" " * depth}"{key}": '
        number = next(number for number, line in lines if line.startswith(start))
    return f"{number}:{len(start) + 1}"


def remove(*names):
    return lambda folder: folder.remove(*names)


MISTAKES = [
    ("http", write("response.headers", b""), f"response.headers:1: found an empty file, {STATUS_LINE}"),
    ("http", write("response.trailers", b"A: b\nno\n"), f'response.trailers:2: found "no", {FIELD}'),
    (
        "http",
        write("request.trailers", b"A: b\nC: d\n\nE: f\n"),
        "request.trailers:3: found an empty line between header fields, "
        "expected `name: value` (the content is in a file of its own)",
    ),
    (
        "http",
        write("request.headers", b"GET http://a/ HTTP/1.1\nA: b\nB: \0\n"),
        f'request.headers:3: found a control character in "B: ?", {FIELD}',
    ),
    (
        "http",
        write("request.headers", b"GET http://a/\0 HTTP/1.1\n"),
        f'request.headers:1: found "GET http://a/? HTTP/1.1", {REQUEST_LINE}',
    ),
    ("http", write("request.headers", b"GET http://a/ HTTP/1.1\n: b\n"), f'request.headers:2: found ": b", {FIELD}'),
    (
        "http",
        write("request.headers", b"GET http://a/ HTTP/1.1\nA: b\n folded\n"),
        f'request.headers:3: found " folded", {FIELD}',
    ),
    (
        "http",
        write("request.headers", b"GET http://a/ HTTP/1.1\n" + b"x" * 999),
        f'request.headers:2: found "{"x" * 44}...", {FIELD}',
    ),
    (
        "http",
        write("request.headers", b"HTTP/1.1 200 OK\n"),
        f'request.headers:1: found "HTTP/1.1 200 OK", {REQUEST_LINE}',
    ),
    (
        "http",
        edit("request.headers", b" HTTP/1.1", b""),
        f'request.headers:1: found "GET http://example.com/1", {REQUEST_LINE}',
    ),
    (
        "http",
        edit("request.headers", b"http://", b"ftp://"),
        'request.headers:1: found the target "ftp://example.com/1", expected '
        "http://host[:port]/path, the same with https, /path or *",
    ),
    (
        "http",
        edit("request.headers", b"//example.com", b"//example.com:port"),
        "request.headers:1: found the target "
        '"http://example.com:port/1", expected a host, then digits behind a colon if a port is needed; IPv6 addresses '
        "stand in brackets",
    ),
    (
        "http",
        edit("response.headers", b"200 OK", b"OK 200"),
        f'response.headers:1: found "HTTP/1.1 OK 200", {STATUS_LINE}',
    ),
    ("http", edit("response.headers", b"HTTP/1.1 ", b""), f'response.headers:1: found "200 OK", {STATUS_LINE}'),
    ("http", remove("response.headers"), "response.body: found it, but no response.headers; remove it"),
    (
        "http",
        remove("request.headers"),
        "request.headers: found no such file, expected the request line and header fields",
    ),
    ("http", write("error", b"one\ntwo \xff\n"), "error:1: found bytes that are no UTF-8, expected text"),
    ("http", write("request.haeders", b""), f"request.haeders: {NO_PART}"),
    ("http", write("reponse.body", b""), f"reponse.body: {NO_PART}"),
    (
        "http",
        lambda folder: (folder.path / "request.body").mkdir(),
        "request.body: found a directory, expected a plain file",
    ),
    (
        "http",
        lambda folder: os.symlink("summary.json", folder.path / "request.body"),
        "request.body: found a symbolic link, expected a plain file",
    ),
    ("http", write("answer.json", b"{}"), "answer.json: found it, but the flow is of the type http; remove it"),
    (
        "gzip",
        lambda folder: (folder.write("response.body", b"x"), folder.write("response.body.raw", gzip.compress(b"y"))),
        CONTRADICTION,
    ),
    (
        "gzip",
        lambda folder: (folder.write("response.body", b"x"), folder.write("response.body.raw", b"no gzip")),
        CONTRADICTION,
    ),
    (
        "tcp",
        write("messages/0001-server.txt", b""),
        "messages: found 0001-client.txt and 0001-server.txt, expected each number once",
    ),
    (
        "tcp",
        write("messages/1-client.bin", b""),
        "messages: found 0001-client.txt and 1-client.bin, expected each number once",
    ),
    ("tcp", write("messages/0003-clinet.txt", b""), f'messages: found "0003-clinet.txt", {NAMES}'),
    ("tcp", write("messages/client.txt", b""), f'messages: found "client.txt", {NAMES}'),
    ("tcp", write("messages/0003-client.json", b""), f'messages: found "0003-client.json", {NAMES}'),
    (
        "tcp",
        lambda folder: (folder.path / "messages/0003-client.txt").mkdir(),
        "messages/0003-client.txt: found a directory, expected a plain file",
    ),
    (
        "tcp",
        write("request.headers", b"GET http://a/ HTTP/1.1\n"),
        "request.headers: found it, but the flow is of the type tcp; remove it",
    ),
    (
        "dns",
        write("messages/0001-client.txt", b""),
        "messages: found messages, expected them only with the types http, tcp, udp",
    ),
    ("dns", write("answer.json", b'{"id": 7,\n "x": }'), f"answer.json:2:7: found `}}`, {VALUE}"),
    ("dns", write("query.json", b"[]"), "query.json:1:1: found another value, expected an object"),
    ("dns", remove("query.json"), "query.json: found no such file, expected the query"),
    ("dns", member("request", value={}), "found a request, expected it in query.json alone: remove it"),
    (
        "http",
        member("type", value="htpp"),
        'found the type "htpp" beside a request, a response, a query or an answer, ' "expected http, tcp, udp or dns",
    ),
    ("http", member("version", value=20), "found version 20, expected 21"),
    ("http", member("request", value=[]), 'found no request, expected an object "request"'),
    ("http", member("response", value=7), "found another value, expected an object or null"),
    ("error", member("error", value=[]), "found another value, expected an object or null"),
    ("error", member("error", "msg", value="another"), f"found a message that is not that of the file error, {ALONE}"),
    (
        "http",
        member("request", "method", value={"bytes": "PUT"}),
        f'found method "PUT", but request.headers:1 says "GET"; {ALONE}',
    ),
    (
        "http",
        member("request", "headers", value=[["A", "b"]]),
        "found headers that are not those in request.headers, " "expected them there alone: remove them",
    ),
    (
        "http",
        member("response", "content", value={"bytes": "other"}),
        f"found a content that is not that of response.body, {ALONE}",
    ),
    ("gzip", member("flowfs", value=[]), 'found another value, expected the object "flowfs" as it was unpacked'),
    ("websocket", member("websocket", value=[]), "found another value, expected an object"),
    ("websocket", member("websocket", "messages", value="x"), "found another value, expected a list of messages"),
    ("tcp", member("messages", value={}), "found another value, expected a list of messages"),
]

# In the place of `"comment": "",`, which is in line 3 from column 3 on.
JSON_MISTAKES = [
    (b'"comment": "",,', "17: found `,`, expected a member's name in quotes"),
    (b'"comment": ",', '16: found the end of the line, expected `"` (control characters are written \\u00XX)'),
    (b'"comment": "\\x",', '16: found `x`, expected one of " \\ / b f n r t u behind a backslash'),
    (
        b'"comment": "\\ud800",',
        '15: found half a surrogate pair, expected both (text that is no Unicode is {"text_base64": "..."})',
    ),
    (b'"comment": "\xff",', '15: found the byte 0xFF, expected UTF-8 (bytes that are none are {"base64": "..."})'),
    (
        b'"n": 01, "comment": "",',
        '9: found `1`, expected no digits behind a leading 0 (an integer written so is {"int": "..."})',
    ),
    (b'"n": NaN, "comment": "",', f"8: found `N`, {VALUE}"),
    (b'"n": {"base64": "!!"}, "comment": "",', '19: found another value, expected base64 (RFC 4648) for "base64"'),
    (b'"n": {"int": "x"}, "comment": "",', '16: found another value, expected a sign and digits for "int"'),
    (b'"n": {"dict": [1]}, "comment": "",', '17: found another value, expected a list of [key, value] for "dict"'),
    (b'"n": {"bytes": 1}, "comment": "",', '18: found another value, expected a string for "bytes"'),
    (
        b'"n": 1, "n": 2, "comment": "",',
        '11: found a member for the second time, expected each once (else {"dict": [[key, value], ...]})',
    ),
    (b'"n": ' + b"[" * 99 + b"]" * 99 + b', "comment": "",', "71: found values nested deeper than 64"),
    (b"'comment': \"\",", "3: found `'`, expected a member's name in quotes"),
    (b'// a comment\n"comment": "",', "3: found `/`, expected a member's name in quotes"),
]


def case_name(case):
    return case[2].split(", expected")[0][:60]


@pytest.mark.parametrize("kind, change, message", MISTAKES, ids=map(case_name, MISTAKES))
def test_mistake(tmp_path, kind, change, message):
    folder = Folder(tmp_path / "flows", FLOWS[kind]())
    change(folder)
    if hasattr(change, "path"):
        message = f"flow.json:{place(folder, change.path)}: {message}"
    assert folder.mistake() == message


@pytest.mark.parametrize("text, message", JSON_MISTAKES, ids=[message[:60] for _, message in JSON_MISTAKES])
def test_json_mistake(tmp_path, text, message):
    folder = Folder(tmp_path / "flows", http_flow())
    told = json.loads(folder.read("flow.json"))
    told = {"version": told.pop("version"), "comment": told.pop("comment"), **told}
    folder.write("flow.json", json.dumps(told, indent=2).encode().replace(b'"comment": "",', text))
    assert folder.mistake() == f"flow.json:3:{message}"


def test_text_that_ends_too_soon(tmp_path):
    folder = Folder(tmp_path / "flows", http_flow())
    text = folder.read("flow.json")
    for size in range(0, len(text) - 2, 41):
        folder.write("flow.json", text[:size])
        line = text[:size].count(b"\n") + 1
        assert folder.mistake().startswith(f"flow.json:{line}:")
    folder.write("flow.json", text + b"}")
    last = text.count(b"\n") + 1
    assert folder.mistake() == f"flow.json:{last}:1: found `}}`, expected nothing more: the value ends before it"


def test_all_mistakes_are_told(tmp_path):
    """One a flow, and nothing is written while there is one."""
    folder = Folder(tmp_path / "flows", http_flow())
    for name in ("b", "a", "c"):
        (folder.root / name).mkdir()
        (folder.root / name / "request.headers").write_bytes(b"GET /\n" if name != "c" else b"GET http://a/ HTTP/1.1\n")
    result = flowcat("--pack", "-o", tmp_path / "out.mitm", folder.root, code=2)
    lines = result.stderr.decode().splitlines()
    assert [line.split(": found")[0].split("/")[-2:] for line in lines[:2]] == [
        ["a", "request.headers:1"],
        ["b", "request.headers:1"],
    ]
    assert "2 flows cannot be packed" in lines[2]
    assert not (tmp_path / "out.mitm").exists()
