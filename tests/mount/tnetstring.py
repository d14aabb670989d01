"""Writes tnetstrings as mitmproxy does, for captures that the tests make, and reads what must be whole."""


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


def loads(data, place=0):
    """The value at that place and where it ends; ValueError if it is not whole."""
    colon = data.index(b":", place)
    start, end = colon + 1, colon + 1 + int(data[place:colon])
    if end >= len(data):
        raise ValueError(f"ends within the value at byte {place}")
    content, tag = data[start:end], data[end:end + 1]
    if tag in b"]}":
        values = []
        while start < end:
            value, start = loads(data, start)
            values.append(value)
        made = values if tag == b"]" else dict(zip(values[::2], values[1::2]))
    else:
        made = {b"~": lambda: None, b"!": lambda: content == b"true", b"#": lambda: int(content),
                b"^": lambda: float(content), b",": lambda: content, b";": lambda: content.decode("utf-8", "surrogateescape")}[tag]()
    return made, end + 1


def records(data):
    """The flows of a flow file, each as it is written."""
    found, at = [], 0
    while at < len(data):
        colon = data.index(b":", at)
        end = colon + 2 + int(data[at:colon])
        found.append(data[at:end])
        at = end
    return found


def read_flows(data):
    flows, place = [], 0
    while place < len(data):
        flow, place = loads(data, place)
        flows.append(flow)
    return flows


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
