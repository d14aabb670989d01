"""Messages, DNS, and flows made by hand: what packing makes of their files, read as in test_pack_edits.py."""

import io
import json
import os

import pytest
from conftest import flowcat
from editing import Folder, stream
from mitmproxy.io import tnetstring
from tnetstring import http_flow


@pytest.fixture
def tcp(tmp_path):
    return Folder(
        tmp_path / "tcp", stream("tcp", [[True, b"one", 1.5], [False, b"\xfftwo", 2.5], [True, b"three", 3.5]])
    )


def test_tcp_messages(tcp):
    tcp.write("messages/0002-server.bin", b"\x00 edited")
    assert tcp.changes() == {"messages.1.1": b"\x00 edited"}
    tcp.write("messages/0004-server.txt", b"added")
    assert tcp.changes() == {
        "messages": [[True, b"one", 1.5], [False, b"\x00 edited", 2.5], [True, b"three", 3.5], [False, b"added", 3.5]]
    }
    tcp.remove("messages/0001-client.txt")
    os.rename(tcp.path / "messages/0003-client.txt", tcp.path / "messages/0003-server.txt")
    tcp.write("messages/0002.5-client.txt", b"between")
    flow = tcp.flow()
    assert [(message.from_client, message.content) for message in flow.messages] == [
        (False, b"\x00 edited"),
        (True, b"between"),
        (False, b"three"),
        (False, b"added"),
    ]
    # What is packed is numbered anew when it is unpacked.
    again = Folder(tcp.root.parent / "again", tcp.state())
    assert sorted(name for name in again.files() if "/" in name) == [
        "messages/0001-server.bin",
        "messages/0002-client.txt",
        "messages/0003-server.txt",
        "messages/0004-server.txt",
    ]
    assert [message[1] for message in again.before["messages"]] == [message.content for message in flow.messages]


def test_tcp_without_messages(tcp):
    for path in (tcp.path / "messages").iterdir():
        path.unlink()
    assert tcp.changes() == {"messages": []}
    (tcp.path / "messages").rmdir()
    assert tcp.flow().messages == []


@pytest.fixture
def websocket(folder):
    data = {
        "messages": [[1, True, b"hello", 1.5, False, False], [2, False, b"\x00\x01", 2.5, False, False]],
        "closed_by_client": True,
        "close_code": 1000,
        "close_reason": "bye",
        "timestamp_end": 3.5,
    }
    return folder(websocket=data, response={"status_code": 101, "reason": b"Switching Protocols", "content": b""})


def test_websocket_messages(websocket):
    websocket.write("messages/0001-client.txt", "Grüße".encode())
    assert websocket.changes() == {"websocket.messages.0.2": "Grüße".encode()}
    # The name says whether it is sent as text or binary, and by whom.
    os.rename(websocket.path / "messages/0001-client.txt", websocket.path / "messages/0001-server.bin")
    assert websocket.changes() == {
        "websocket.messages.0.0": 2,
        "websocket.messages.0.1": False,
        "websocket.messages.0.2": "Grüße".encode(),
    }
    websocket.write("messages/0003-client.txt", b"")
    flow = websocket.flow()
    assert [(message.is_text, message.from_client, message.content) for message in flow.websocket.messages] == [
        (False, False, "Grüße".encode()),
        (False, False, b"\x00\x01"),
        (True, True, b""),
    ]
    assert (flow.websocket.close_code, flow.websocket.close_reason) == (1000, "bye")
    told = json.loads(websocket.read("flow.json"))
    told["websocket"].update(close_code=1011, closed_by_client=False)
    websocket.write("flow.json", json.dumps(told).encode())
    assert (websocket.flow().websocket.close_code, websocket.flow().websocket.closed_by_client) == (1011, False)


@pytest.fixture
def dns(tmp_path):
    question = {"name": "example.com", "type": 1, "class_": 1}
    message = {
        "timestamp": 1.5,
        "id": 7,
        "query": True,
        "op_code": 0,
        "authoritative_answer": False,
        "truncation": False,
        "recursion_desired": True,
        "recursion_available": False,
        "reserved": 0,
        "response_code": 0,
        "questions": [question],
        "answers": [],
        "authorities": [],
        "additionals": [],
    }
    answer = {
        **message,
        "query": False,
        "answers": [{"name": "example.com", "type": 1, "class_": 1, "ttl": 60, "data": b"\x7f\0\0\1"}],
    }
    state = stream("dns", [])
    del state["messages"]
    return Folder(tmp_path / "dns", {**state, "request": message, "response": answer})


def test_dns(dns):
    told = json.loads(dns.read("query.json"))
    told["questions"][0]["name"] = "example.org"
    dns.write("query.json", json.dumps(told).encode())
    assert dns.changes() == {"request.questions.0.name": "example.org"}
    told = json.loads(dns.read("answer.json"))
    told["answers"][0]["data"] = {"base64": "CgAAAQ=="}
    told["response_code"] = 3
    dns.write("answer.json", json.dumps(told).encode())
    assert dns.changes() == {
        "request.questions.0.name": "example.org",
        "response.answers.0.data": b"\x0a\0\0\1",
        "response.response_code": 3,
    }
    flow = dns.flow()
    assert (flow.request.questions[0].name, flow.response.answers[0].data, flow.response.response_code) == (
        "example.org",
        b"\x0a\0\0\1",
        3,
    )
    dns.remove("answer.json")
    assert dns.flow().response is None
    assert dns.changes()["response"] is None


def test_from_nothing(folder):
    """Enough for mitmproxy to show it and to send it, with defaults that are true."""
    made = folder(None)
    made.write("request.headers", b"GET http://example.com/ HTTP/1.1\n")
    written = os.stat(made.path / "request.headers").st_mtime
    flow, state = made.flow(), made.state()
    request = flow.request
    assert (request.method, request.url, request.http_version, request.content) == (
        "GET",
        "http://example.com/",
        "HTTP/1.1",
        b"",
    )
    assert request.headers.fields == ((b"Host", b"example.com"),)
    assert (flow.response, flow.error, flow.websocket, flow.comment, flow.marked) == (None, None, None, "", "")
    assert len(flow.id) == 36 and flow.id != flow.client_conn.id != flow.server_conn.id
    for time in (
        request.timestamp_start,
        request.timestamp_end,
        state["timestamp_created"],
        flow.client_conn.timestamp_start,
    ):
        assert abs(time - written) < 1e-3
    assert state["server_conn"]["timestamp_start"] is None
    # All fields are there that mitmproxy itself writes; packed again it is the same.
    assert state.keys() == http_flow().keys()
    for part in ("request", "client_conn", "server_conn"):
        assert state[part].keys() == http_flow()[part].keys()
    assert made.state() == state


@pytest.mark.parametrize(
    "files, expected",
    [
        (
            {
                "request.headers": b"POST https://example.com:8443/a HTTP/1.1\nContent-Type: text/plain\n",
                "request.body": b"up",
            },
            {
                "method": "POST",
                "url": "https://example.com:8443/a",
                "headers": [
                    (b"Host", b"example.com:8443"),
                    (b"Content-Type", b"text/plain"),
                    (b"Content-Length", b"2"),
                ],
            },
        ),
        (
            {"request.headers": b"GET /a HTTP/1.1\nHost: example.com\n"},
            {"url": "http://example.com/a", "headers": [(b"Host", b"example.com")]},
        ),
        (
            {"request.headers": b"GET https://example.com/ HTTP/2.0\n"},
            {"url": "https://example.com/", "http_version": "HTTP/2.0", "headers": []},
        ),
        ({"request.headers": b"GET http://example.com HTTP/1.1"}, {"url": "http://example.com/"}),
        (
            {"request.headers": b"CONNECT example.com:443 HTTP/1.1\n"},
            {"method": "CONNECT", "authority": "example.com:443"},
        ),
        ({"request.headers": b"PUT http://[::1]:81/ HTTP/1.1\n"}, {"host": "::1", "port": 81}),
        (
            {
                "request.headers": b"POST http://example.com/ HTTP/1.1\nContent-Encoding: gzip\n",
                "request.body": b"up" * 99,
            },
            {"content": b"up" * 99},
        ),
    ],
)
def test_more_from_nothing(folder, files, expected):
    made = folder(None)
    for name, content in files.items():
        made.write(name, content)
    request = made.flow().request
    for name, value in expected.items():
        assert (list(request.headers.fields) if name == "headers" else getattr(request, name)) == value


def test_streams_from_nothing(folder):
    made = folder(None)
    made.write("request.headers", b"GET http://example.com/chat HTTP/1.1\n")
    made.write("response.headers", b"HTTP/1.1 101\n")
    made.write("messages/1-client.txt", b"hello")
    made.write("messages/2-server.bin", b"\x00")
    flow = made.flow()
    assert flow.response.reason == "Switching Protocols"
    assert [(message.is_text, message.from_client, message.content) for message in flow.websocket.messages] == [
        (True, True, b"hello"),
        (False, False, b"\x00"),
    ]
    made = folder(None)
    made.write("flow.json", b'{"type": "tcp", "server_conn": {"address": ["example.com", 25]}}')
    made.write("messages/1-server.txt", b"220 ready\r\n")
    flow = made.flow()
    assert flow.server_conn.address == ("example.com", 25)
    assert [(message.from_client, message.content) for message in flow.messages] == [(False, b"220 ready\r\n")]


def test_times(folder):
    """As in the mount: a flow's folder has the time of its start, its files those of their message."""
    flow = folder(
        websocket={
            "messages": [[1, True, b"hello", 1.5, False, False]],
            "closed_by_client": True,
            "close_code": 1000,
            "close_reason": "",
            "timestamp_end": 3.5,
        }
    )
    request, response = flow.before["request"], flow.before["response"]
    for name, time in (
        (".", request["timestamp_start"]),
        ("messages", request["timestamp_start"]),
        ("flow.json", request["timestamp_start"]),
        ("request.headers", request["timestamp_end"]),
        ("response.body", response["timestamp_end"]),
    ):
        assert (flow.path / name).stat().st_mtime == pytest.approx(time, abs=1e-6)
    # A time that no file system has.
    flow = Folder(
        flow.root.parent / "odd", http_flow(request={"timestamp_start": 1e300, "timestamp_end": float("nan")})
    )
    assert flow.path.stat().st_mtime > 1e9


def test_two_made_alike_are_two(folder):
    made = folder(None)
    for name in ("one", "two"):
        (made.root / name).mkdir()
        (made.root / name / "request.headers").write_bytes(b"GET http://example.com/ HTTP/1.1\n")
    made.path.rmdir()
    text = io.BytesIO(flowcat("--pack", made.root).stdout)
    assert tnetstring.load(text)["id"] != tnetstring.load(text)["id"]
