"""A server that keeps each request as it comes in, over TCP or TLS, and answers it."""

import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field


@dataclass
class Request:
    line: bytes
    fields: list = field(default_factory=list)  # names as they were sent, values without outer blanks
    body: bytes = b""

    def get(self, wanted):
        return [value for name, value in self.fields if name.lower() == wanted]


def certificate(folder):
    """A certificate and key in one file, for any name: nobody checks it."""
    path = folder / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-keyout", path, "-out", folder / "certificate.pem"],
        check=True, capture_output=True, timeout=60,
    )
    path.write_bytes(path.read_bytes() + (folder / "certificate.pem").read_bytes())
    return path


class Recorder(threading.Thread):
    def __init__(self, pem=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        self.context = None
        if pem:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pem)

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            try:
                self.serve(connection)
            except (OSError, ValueError) as error:
                # The test that waits for this request shows it.
                self.requests.append(error)
            finally:
                connection.close()

    def serve(self, connection):
        if self.context and connection.recv(1, socket.MSG_PEEK) == b"\x16":
            connection = self.context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as stream:
            request = Request(stream.readline().rstrip(b"\r\n"))
            while line := stream.readline().rstrip(b"\r\n"):
                name, value = line.split(b":", 1)
                request.fields.append((name, value.strip(b" \t")))
            if request.get(b"expect") and not request.line.endswith(b"HTTP/1.0"):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = self.read_body(request, stream)
            self.requests.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
            if not request.line.startswith(b"HEAD "):
                connection.sendall(b"hello")

    @staticmethod
    def read_body(request, stream):
        if not any(b"chunked" in value.lower() for value in request.get(b"transfer-encoding")):
            return stream.read(int((request.get(b"content-length") or [0])[0]))
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        while stream.readline().strip():
            pass
        return body

    def take(self):
        """The one request that came since the last call."""
        requests, self.requests = self.requests, []
        assert len(requests) == 1 and isinstance(requests[0], Request), requests
        return requests[0]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
