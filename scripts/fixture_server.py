"""The server that scripts/record-fixtures records: every kind of answer, on loopback.

Answers are written byte for byte, so that they can be wrong on purpose.
"""

import base64
import gzip
import hashlib
import json
import socketserver
import ssl
import struct
import threading
import zlib

import brotli
import zstandard

TEXT = ("The quick brown fox jumps over the lazy dog. Grüße aus Köln. " * 20).encode()
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAABlBMVEX///+/v7+jQ3Y5AAAADklEQVQI12P4AIX8"
    "EAgALgAD/aNpbtEAAAAASUVORK5CYII="
)
HTML = b"<!doctype html>\n<title>Shop</title>\n<h1>Welcome</h1>\n<img src=/logo.png>\n"


def raw_deflate(data):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


ENCODINGS = {
    "gzip": ("gzip", lambda: gzip.compress(TEXT, mtime=0)),
    "zlib": ("deflate", lambda: zlib.compress(TEXT)),
    "raw": ("deflate", lambda: raw_deflate(TEXT)),
    "br": ("br", lambda: brotli.compress(TEXT)),
    "zstd": ("zstd", lambda: zstandard.ZstdCompressor().compress(TEXT)),
    "identity": ("identity", lambda: TEXT),
    "list": ("gzip, br", lambda: brotli.compress(gzip.compress(TEXT, mtime=0))),
    "upper": ("GZIP", lambda: gzip.compress(TEXT, mtime=0)),
    "broken": ("gzip", lambda: b"this is no gzip data"),
    "truncated": ("gzip", lambda: gzip.compress(TEXT, mtime=0)[:-40]),
    "broken-br": ("br", lambda: b"\xff\xff\xff\xff no brotli"),
    "unknown": ("x-secret", lambda: b"who knows"),
    "empty": ("gzip", lambda: b""),
}


def answer(status, headers=(), body=b"", length=True):
    lines = [f"HTTP/1.1 {status}".encode(), b"Server: fixture", b"Date: Tue, 14 Nov 2023 22:13:20 GMT"]
    lines += [b"%s: %s" % (to_bytes(name), to_bytes(value)) for name, value in headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def to_bytes(value):
    return value if isinstance(value, bytes) else value.encode()


def typed(kind, body, *headers, status="200 OK"):
    return answer(status, [("Content-Type", kind), *headers], body)


def chunked(kind, parts):
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return answer("200 OK", [("Content-Type", kind), ("Transfer-Encoding", "chunked")], body, length=False)


def users(number):
    return json.dumps({"users": [{"id": i, "name": f"user {i}"} for i in range(number)]}).encode()


def route(method, path, body):
    """The whole answer to a request, as bytes."""
    page = path.split("?")[0]
    if page.startswith("/encoding/"):
        name, make = ENCODINGS[page.split("/")[2]]
        return typed("text/plain; charset=utf-8", make(), ("Content-Encoding", name))
    if page.startswith("/status/"):
        code = page.split("/")[2]
        return answer(f"{code} Status", length=code not in ("204", "304"))
    simple = {
        "/": lambda: typed("text/html; charset=utf-8", HTML),
        "/logo.png": lambda: typed("image/png", PNG, ("Cache-Control", "max-age=3600")),
        "/style.css": lambda: typed("text/css", b"h1 { color: #336699 }\n"),
        "/api/users": lambda: typed("application/json", users(3)),
        "/api/error": lambda: typed("application/json", b'{"error": "boom"}', status="500 Internal Server Error"),
        "/missing": lambda: typed("text/html", b"<h1>Not Found</h1>", status="404 Not Found"),
        "/redirect": lambda: answer("302 Found", [("Location", "/")]),
        "/cookies": lambda: answer("200 OK", [
            ("Set-Cookie", "session=abc123; Path=/; HttpOnly; Secure"),
            ("Set-Cookie", "theme=dark; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Max-Age=3600")]),
        "/latin1": lambda: typed("text/plain; charset=iso-8859-1", "Köln".encode("latin-1"),
                                 ("X-City", "Köln".encode("latin-1"))),
        "/long": lambda: typed("text/plain", b"ok", ("X-Long", "x" * 6000)),
        "/duplicate": lambda: typed("text/plain", b"ok", ("Vary", "Accept"), ("vary", "Cookie"), ("X-Empty", "")),
        "/chunked": lambda: chunked("text/plain", [b"one ", b"two ", b"three"]),
        "/events": lambda: chunked("text/event-stream", [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]),
        "/empty": lambda: typed("text/plain", b""),
        "/binary": lambda: typed("application/octet-stream", bytes(range(256)) * 8),
        "/short": lambda: answer("200 OK", [("Content-Length", "1000")], b"only this", length=False),
        "/echo": lambda: typed("application/octet-stream", body),
    }
    if page in simple:
        return simple[page]()
    return typed("text/plain", f"{method} {path}\n".encode())


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while self.one_request():
                pass
        except (ConnectionError, ssl.SSLError, ValueError):
            pass

    def one_request(self):
        line = self.rfile.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        method, path, _ = line
        headers = {}
        while (field := self.rfile.readline().decode("latin-1").strip()):
            name, value = field.split(":", 1)
            headers[name.lower()] = value.strip()
        if headers.get("upgrade", "").lower() == "websocket":
            return self.websocket(headers["sec-websocket-key"])
        reply = route(method, path, self.body(headers))
        if method == "HEAD":
            reply = reply.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.wfile.write(reply)
        return not path.startswith("/short") and headers.get("connection", "").lower() != "close"

    def body(self, headers):
        if "chunked" in headers.get("transfer-encoding", ""):
            parts = []
            while (size := int(self.rfile.readline().split(b";")[0], 16)):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(headers.get("content-length", 0)))

    def websocket(self, key):
        """Answers each message with the same, in upper case if it is text; a close with a close."""
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n")
        while True:
            opcode, payload = read_frame(self.rfile)
            self.wfile.write(make_frame(opcode, payload.upper() if opcode == 1 else payload))
            if opcode == 8:
                return False


def read_frame(stream):
    """A WebSocket frame (RFC 6455, 5.2) that is a whole message: opcode and payload."""
    first, second = stream.read(2)
    size = second & 127
    if size == 126:
        (size,) = struct.unpack("!H", stream.read(2))
    mask = stream.read(4) if second & 128 else bytes(4)
    payload = stream.read(size)
    return first & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def make_frame(opcode, payload, mask=None):
    bit = 128 if mask else 0
    size = bytes([bit | len(payload)]) if len(payload) < 126 else bytes([bit | 126]) + struct.pack("!H", len(payload))
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([128 | opcode]) + size + (mask or b"") + payload


class EchoHandler(socketserver.BaseRequestHandler):
    """For raw TCP: sends back what comes, backwards."""

    def handle(self):
        while (data := self.request.recv(4096)):
            self.request.sendall(data[::-1])


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, handler, context=None):
        self.context = context
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        """A client that goes away is no error of ours."""
