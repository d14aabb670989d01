#!/usr/bin/python3
"""Writes the seeds of the fuzzers into seeds/, small ones made by hand. What it wrote is part of the
project. FLOWCAT is the built program: it unpacks the flows that fuzz_pack.c packs.

    tests/fuzz/make_seeds.py FLOWCAT
"""
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import zlib

import brotli
import zstandard
from mitmproxy.io import tnetstring

SEEDS = pathlib.Path(__file__).parent / "seeds"


def write(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def connection(server):
    state = {"peername": ["192.0.2.1", 443, 0, 0], "sockname": None, "tls": True, "tls_version": "TLSv1.3"}
    state |= {"sni": "a.example", "alpn": b"h2", "timestamp_start": 1700000000.25, "certificate_list": [b"cert"]}
    return state | ({"address": ["a.example", 443], "via": None} if server else {"mitmcert": None})


def flow(kind, **members):
    state = {"version": 21, "type": kind, "id": "0badc0de-0000-4000-8000-000000000001", "error": None}
    state |= {"client_conn": connection(False), "server_conn": connection(True), "timestamp_created": 1700000000.0}
    state |= {"marked": "", "comment": "", "is_replay": None, "metadata": {}, "intercepted": False}
    return state | members


def message(headers=(), content=b"", **members):
    state = {"http_version": b"HTTP/1.1", "headers": [list(h) for h in headers], "content": content, "trailers": None}
    return state | {"timestamp_start": 1700000000.5, "timestamp_end": 1700000001.5} | members


def request(**members):
    first = {"host": "a.example", "port": 443, "method": b"GET", "scheme": b"https", "authority": b"", "path": b"/p?q=1"}
    return message([(b"Host", b"a.example")], **(first | members))


def response(**members):
    members = {"status_code": 200, "reason": b"OK", "headers": [[b"content-type", b"text/plain"]]} | members
    return message(**{k: v for k, v in members.items() if k != "headers"}) | {"headers": members["headers"]}


zipped = [[b"content-encoding", b"gzip"]]
packed = gzip.compress(b"hello " * 50, mtime=0)
http = flow("http", request=request(), response=response(content=b"hello"), websocket=None)
coded = flow("http", request=request(), response=response(headers=zipped, content=packed), websocket=None)
texts = [[1, True, b"hi", 1700000002.5, False, False], [2, False, b"\0\xff", 1700000003.5, False, True]]
closing = {"closed_by_client": True, "close_code": 1000, "close_reason": "", "timestamp_end": 1700000004.0}
socket = flow("http", request=request(), response=response(status_code=101), websocket={"messages": texts} | closing)
failed = flow("http", request=request(content=None), response=None, websocket=None)
failed["error"] = {"msg": "connection refused", "timestamp": 1700000002.0}
tcp = flow("tcp", messages=[[True, b"ping", 1700000001.0], [False, b"\x80", 1700000002.0]])
question = {"name": "a.example", "type": 1, "class": 1}
answer = question | {"ttl": 60, "data": b"\xc0\0\2\1"}
query = {"timestamp": 1700000000.5, "id": 1, "query": True, "op_code": 0, "questions": [question], "answers": []}
dns = flow("dns", request=query, response=query | {"answers": [answer], "response_code": 0})
flows = {"http": http, "coded": coded, "websocket": socket, "failed": failed, "tcp": tcp, "dns": dns}

for name, state in flows.items():
    write("capture", name, tnetstring.dumps(state))
    write("tnet", name, tnetstring.dumps(state))
everything = [tnetstring.dumps(state) for state in flows.values()]
write("capture", "all-with-gaps", b"gap".join(everything) + everything[0][:99])
write("capture", "gzipped", gzip.compress(everything[0] + everything[4], mtime=0))
write("capture", "empty", b"")
write("tnet", "kinds", tnetstring.dumps([None, True, False, 12, -10**30, 0.1, b"\xff", "\u00e9", [], {}]))

entry = {
    "startedDateTime": "2023-11-14T22:13:20.250Z",
    "time": 12.5,
    "request": {"method": "POST", "url": "https://a.example/p?q=1", "httpVersion": "HTTP/2", "headers": [
        {"name": "Host", "value": "a.example"}], "postData": {"mimeType": "text/plain", "text": "up"}},
    "response": {"status": 200, "statusText": "OK", "httpVersion": "h2", "headers": [["content-type", "text/html"]],
                 "content": {"mimeType": "text/html", "text": "aGVsbG8=", "encoding": "base64"}},
    "timings": {"send": 1, "wait": 2, "receive": 3}, "serverIPAddress": "192.0.2.1", "connection": "443",
}
har = json.dumps({"log": {"version": "1.2", "entries": [entry, {"request": None}, entry]}}).encode()
write("capture", "har", har)
write("capture", "zhar", zlib.compress(har))
write("har", "two-entries", b"\x10" + har)
write("har", "broken", b"\x01" + har.replace(b'"POST",', b'"POST" ', 1))
write("har", "not", b"\x05[1, {\"log\": 2}]")

plain = b"hello, hello, hello " * 20
deflate = zlib.compressobj(wbits=-15)
for number, data in enumerate([
    packed, zlib.compress(plain), brotli.compress(plain), zstandard.compress(plain), gzip.compress(packed, mtime=0),
    plain, gzip.compress(brotli.compress(plain), mtime=0),
    gzip.compress(zstandard.compress(zlib.compress(plain)), mtime=0), deflate.compress(plain) + deflate.flush(),
]):
    write("body", f"coding-{number}", bytes([number]) + data)

for name, data in {"dots": b"\2\x11../x", "copies": b"\5\x21abc~2abc", "long": b"\x20\x11" + b"x" * 300 + b"\xff" * 99}.items():
    write("name", name, data)


def joined(folder):
    """The files of a flow's directory, as fuzz_pack.c takes them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "summary.json")
    return b"\n".join(b"=== %s\n%s" % (str(path.relative_to(folder)).encode(), path.read_bytes()) for path in files)


# What no line and no usual order holds: flow.json has it, and notes.
lines = [[b"Host", b"a\nb"], [b"x y", b""], [b"Content-Length", b"7"]]
odd_request = request(path=b"/\n", content=b"up", trailers=[[b"t", b"\0"]]) | {"headers": lines}
odd_request = dict(reversed(odd_request.items()))
odd = flow("http", request=odd_request, response=response(reason=b"\r", headers=zipped, content=b"no gzip"), websocket=None)
odd |= {"flowfs": [1], "own": {b"1": 2, "dict": []}, "error": {"msg": "a\rb", "timestamp": 1}, "marked": None}
odd_tcp = flow("tcp", messages=[[True, b"ping", 1.0], [False, "text", 2.0], "none", [0, b""]])
odd_dns = flow("dns", request=query | {"id": b"1"}, response=[])
odd_socket = flow("http", request=request(), response=None, websocket={"messages": [[1, True, "x", 1.0], [2, 0, b"y"]]})
odd_flows = {"odd": odd, "odd-tcp": odd_tcp, "odd-dns": odd_dns, "odd-socket": odd_socket}

with tempfile.TemporaryDirectory() as folder:
    for name, state in (flows | odd_flows).items():
        into = pathlib.Path(folder) / name
        into.mkdir()
        subprocess.run([sys.argv[1], "--unpack", into], input=tnetstring.dumps(state), check=True)
        write("pack", name, joined(next(into.rglob("flow.json")).parent))

line = b"=== request.headers\n"
for name, data in {
    "made": line + b"POST http://a.example:81/p?q HTTP/1.1\nX: y\n\n=== request.body\nup\n=== response.headers\nHTTP/1.1 200\n"
    b"Content-Encoding: gzip\n\n=== response.body\nhello\n=== response.trailers\nT: u\n\n=== error\nbroken\n",
    "made-tunnel": line + b"CONNECT a.example:443 HTTP/1.1\n",
    "made-socket": line + b"GET / HTTP/1.1\nHost: [::1]:8080\n\n=== response.headers\nHTTP/1.1 101\n\n"
    b"=== messages/0001-client.txt\none\n=== messages/0001.5-server.bin\n\0\xff",
    "made-http2": line + b"GET https://a.example/\x20 HTTP/2.0\n\n=== flow.json\n{\"marked\": \"x\", \"own\": {\"int\": \"-0\"}}",
    "made-udp": b"=== flow.json\n{\"type\": \"udp\"}\n=== messages/1-server.bin\nping",
    "made-dns": b"=== query.json\n{\"id\": 1}\n=== answer.json\n{\"id\": 1, \"answers\": []}",
    "raw-alone": line + b"PUT http://a/ HTTP/1.1\nContent-Encoding: br\nContent-Length: 9\n\n=== request.body.raw\nlie",
    "misspelt": line + b"GET http://a/ HTTP/1.1\n\n=== response.header\nHTTP/1.1 200 OK",
}.items():
    write("pack", name, data)

for number, text in enumerate([
    "~d example & ~c 200", "a b|!(~q ~m GET )", '~h "x: [^\\\\n]+" ~bs (', "~u (?P<a>e)(?P=a)|\\\\d", "~meta k & ~src :443 | ~dst ::1",
    "~b '(a+)+$'", "!!~websocket & (~tcp | ~udp )", "~comment (?i)É", "(~q)", "~t json ~marked ~marker red ~replayq", "a & \x1b[2J",
    "~hq ^host ~hs (?<=a)b{1,3}?", "~dns \t~e", "~bq [[:alpha:]]",
]):
    write("filter", f"expression-{number}", text.encode())
