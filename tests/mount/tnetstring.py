"""Writes tnetstrings as mitmproxy does, for captures that the tests make, and reads them back."""


class Pairs(tuple):
    """A dict's members in their order, where names may be no text or stand there twice."""


class Number:
    """A number in digits that Python would not choose."""

    def __init__(self, digits, tag):
        self.digits, self.tag = digits, tag

    def __repr__(self):
        return f"Number({self.digits!r}, {self.tag!r})"


def dumps(value):
    if value is None:
        return b"0:~"
    if isinstance(value, bool):
        content, tag = (b"true" if value else b"false"), b"!"
    elif isinstance(value, int):
        content, tag = str(value).encode(), b"#"
    elif isinstance(value, float):
        content, tag = repr(value).encode(), b"^"
    elif isinstance(value, Number):
        content, tag = value.digits.encode(), value.tag.encode()
    elif isinstance(value, bytes):
        content, tag = value, b","
    elif isinstance(value, str):
        content, tag = value.encode("utf-8", "surrogateescape"), b";"
    elif isinstance(value, (dict, Pairs)):
        members = list(value.items() if isinstance(value, dict) else value)
        content, tag = b"".join(dumps(k) + dumps(v) for k, v in reversed(members)), b"}"
    else:
        content, tag = b"".join(map(dumps, value)), b"]"
    return b"%d:%s%s" % (len(content), content, tag)


def loads(text):
    """The value, where text may be no UTF-8 and of members that stand there twice one is as good as the other."""
    value, rest = load_one(text)
    assert rest == b""
    return value


def load_one(text):
    size, rest = text.split(b":", 1)
    content, tag, rest = rest[: int(size)], rest[int(size) : int(size) + 1], rest[int(size) + 1 :]
    if tag == b",":
        return content, rest
    if tag == b";":
        return content.decode("utf-8", "surrogateescape"), rest
    if tag in b"#^":
        return (int if tag == b"#" else float)(content), rest
    if tag in b"!~":
        return {b"true": True, b"false": False, b"": None}[content], rest
    items = []
    while content:
        item, content = load_one(content)
        items.append(item)
    return (dict(reversed(list(zip(items[::2], items[1::2])))) if tag == b"}" else items), rest


def http_flow(number=1, host=b"example.com", **changes):
    """A flow's state at version 21; `request`, `response` change single members of those."""
    connection = {
        "peername": ["127.0.0.1", 4000], "sockname": ["127.0.0.1", 8080], "id": "c", "transport_protocol": "tcp",
        "error": None, "tls": False, "certificate_list": [], "alpn": None, "alpn_offers": [], "cipher": None,
        "cipher_list": [], "tls_version": None, "sni": None, "timestamp_start": 1700000000.0,
        "timestamp_end": None, "timestamp_tls_setup": None,
    }
    request = {
        "http_version": b"HTTP/1.1", "headers": [[b"Host", host]], "content": b"", "trailers": None,
        "timestamp_start": 1700000000.5 + number, "timestamp_end": 1700000000.6 + number, "host": "192.0.2.1",
        "port": 80, "method": b"GET", "scheme": b"http", "authority": b"", "path": b"/%d" % number,
    }
    response = {
        "http_version": b"HTTP/1.1", "headers": [[b"Content-Type", b"text/plain"]], "content": b"hello",
        "trailers": None, "timestamp_start": 1700000000.7 + number, "timestamp_end": 1700000000.8 + number,
        "status_code": 200, "reason": b"OK",
    }
    request.update(changes.pop("request", {}))
    response.update(changes.pop("response", {}))
    return {
        "version": 21, "type": "http", "id": f"00000000-0000-4000-8000-{number:012}", "error": None,
        "client_conn": {**connection, "mitmcert": None, "proxy_mode": "regular"},
        "server_conn": {**connection, "address": ["192.0.2.1", 80], "timestamp_tcp_setup": None, "via": None},
        "intercepted": False, "is_replay": None, "marked": "", "metadata": {}, "comment": "",
        "timestamp_created": 1700000000.0, "backup": None, "request": request, "response": response,
        "websocket": None, **changes,
    }


def write(path, *flows):
    path.write_bytes(b"".join(map(dumps, flows)))
    return path
