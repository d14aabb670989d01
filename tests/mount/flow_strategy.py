"""Flows of all types for hypothesis, as members in an order: plain ones, and ones with something odd about
them that a capture can hold and a folder of files must not lose."""

import gzip
import zlib
from copy import deepcopy

import brotli
import zstandard
from hypothesis import strategies as st
from tnetstring import Number, Pairs, http_flow

TEXTS = ("", " ", "a", "Grüße ✓", "a\nb", "\r", "\x00", "\udcff\udc80", "\ufeff", "\u2028", '"\\', "\x1b[3m", "~")
BYTES = (
    b"",
    b" ",
    b"a",
    b"a ",
    b"\na",
    b"a\r",
    b"a\0b",
    b":",
    b": ",
    b":a",
    b"a:b",
    b"\xff\xfe",
    b"K\xf6ln",
    "Grüße".encode(),
    b"#",
    b"~",
    b"HTTP/1.1",
    b"HTTP/2.0 200 OK",
    b"http://a/",
    b"CONNECT",
    b"*",
    b"/",
    b"a: b\nc: d",
    b"\r\n\r\n",
)
NAMES = (
    "flowfs",
    "bytes",
    "base64",
    "text_base64",
    "int",
    "float",
    "dict",
    "msg",
    "content",
    "version",
    "new",
    "\n",
    "\udcff",
)
ADDRESSES = (None, ["192.0.2.1", 80], ["::1", 443, 0, 0], ["", 0], ["a b", 99999], ["host", None], [])
TIMES = (None, 0, -1, 1700000000, 1700000000.25, Number("1.7e9", "^"), Number("nan", "^"), Number("-inf", "^"), 1e300)
CODINGS = {
    b"gzip": lambda data: gzip.compress(data, mtime=0),
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    b"GZIP": lambda data: gzip.compress(data, 1, mtime=7),
    b"gzip, br": lambda data: brotli.compress(gzip.compress(data, mtime=0)),
    b"x-unknown": lambda data: data,
    b"identity": lambda data: data,
}

text = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(blacklist_categories=()), max_size=8).filter(
        lambda found: not any(0xD800 <= ord(each) < 0xDC80 or 0xDCFF < ord(each) < 0xE000 for each in found)
    ),
)
octets = st.one_of(st.sampled_from(BYTES), st.binary(max_size=12))
numbers = st.one_of(
    st.integers(),
    st.floats(width=64),
    st.sampled_from(
        [
            Number(*each)
            for each in (
                ("007", "#"),
                ("-0", "#"),
                ("9" * 40, "#"),
                ("1e3", "^"),
                ("-0.0", "^"),
                ("nan", "^"),
                ("inf", "^"),
                ("1.50", "^"),
                ("+1", "#"),
                (".5", "^"),
            )
        ]
    ),
)
plain = st.one_of(st.none(), st.booleans(), numbers, text, octets)
anything = st.recursive(
    plain,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), text, octets), inside), max_size=3).map(Pairs),
    ),
    max_leaves=6,
)
field = st.one_of(
    st.tuples(st.sampled_from([b"Host", b"host", b"X-A", b"x-a", b"Set-Cookie", b":authority"]), octets).map(list),
    st.tuples(octets, octets).map(list),
)
fields = st.lists(field, max_size=4)
size_of = {"right": len, "wrong": lambda content: len(content) + 1, "old": lambda _: 0}


@st.composite
def contents(draw):
    """Header fields that tell of a content, and it: encoded as they say or not, of the length they say or not."""
    data = draw(st.one_of(st.just(b""), octets, st.just(b"hello, " * 30)))
    told = []
    coding = draw(st.one_of(st.none(), st.sampled_from(sorted(CODINGS))))
    if coding:
        told.append([b"Content-Encoding", coding])
        data = draw(
            st.sampled_from([CODINGS[coding](data), CODINGS[coding](data), data, b"", CODINGS[coding](data)[:-3]])
        )
    length = draw(st.sampled_from([None, "right", "right", "wrong", "old"]))
    if length:
        told.append([b"Content-Length", b"%d" % size_of[length](data)])
    if draw(st.integers(0, 9)) == 0:
        told.append([b"Transfer-Encoding", b"chunked"])
    return told, draw(st.sampled_from([data, data, data, data, None]))


@st.composite
def message(draw, made):
    told, content = draw(contents())
    headers = draw(fields)
    at = draw(st.integers(0, len(headers)))
    made["headers"] = headers[:at] + told + headers[at:]
    made["content"] = content
    made["trailers"] = draw(st.one_of(st.none(), st.none(), fields))
    made["http_version"] = draw(
        st.sampled_from([b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.0", b"HTTP/3", b"", b"HTTP/1.1 x", b"A\n"])
    )
    for name in ("timestamp_start", "timestamp_end"):
        if draw(st.integers(0, 5)) == 0:
            made[name] = draw(st.sampled_from(TIMES))
    return made


@st.composite
def request(draw, made):
    made = draw(message(made))
    made["method"] = draw(
        st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT", b"connect", b"P T", b"", b"A\nB", b"\xff"])
    )
    made["scheme"] = draw(st.sampled_from([b"http", b"https", b"http", b"https", b"", b"ftp", b"HTTP"]))
    made["host"] = draw(
        st.sampled_from(["example.com", "192.0.2.1", "::1", "", "münchen.de", "a b", "A.B", "x\ny", "\udcff"])
    )
    made["port"] = draw(st.sampled_from([80, 443, 8080, 0, 65536, None]))
    made["authority"] = draw(
        st.sampled_from([b"", b"example.com", b"example.com:443", b"a:b:c", b"[::1]:1", b"\xff", b"x y"])
    )
    made["path"] = draw(
        st.one_of(
            st.sampled_from([b"/", b"/a?b#c", b"*", b"", b"a", b"//a/b", b"http://a/b", b"/a b", b"/\n", b"/\xe9"]),
            octets,
        )
    )
    return made


@st.composite
def response(draw, made):
    made = draw(message(made))
    made["status_code"] = draw(st.sampled_from([200, 404, 101, 999, 99, 0, 1000, -1, 2**70, None]))
    made["reason"] = draw(st.one_of(st.sampled_from([b"OK", b"", b"Not Found", b" a", b"a ", b"\xe9"]), octets))
    return made


payload = st.one_of(octets, st.just(b"x" * 300), st.just("✓".encode()))
websocket_message = st.tuples(
    st.sampled_from([1, 2, 1, 2, 9, 0, None]),
    st.booleans(),
    payload,
    st.sampled_from(TIMES[1:]),
    st.booleans(),
    st.booleans(),
).map(list)
stream_message = st.tuples(st.booleans(), payload, st.sampled_from(TIMES[1:])).map(list)


@st.composite
def websocket(draw):
    return {
        "messages": draw(
            st.lists(st.one_of(websocket_message, websocket_message, websocket_message, anything), max_size=4)
        ),
        "closed_by_client": draw(st.sampled_from([None, True, False])),
        "close_code": draw(st.sampled_from([None, 1000, 1006])),
        "close_reason": draw(st.one_of(st.none(), text)),
        "timestamp_end": draw(st.sampled_from(TIMES)),
    }


@st.composite
def dns_message(draw, is_query):
    record = {"name": draw(text), "type": 1, "class_": 1, "ttl": 60, "data": draw(octets)}
    return {
        "timestamp": 1700000000.5,
        "id": draw(st.integers(0, 65535)),
        "query": is_query,
        "op_code": 0,
        "authoritative_answer": False,
        "truncation": False,
        "recursion_desired": True,
        "recursion_available": True,
        "reserved": 0,
        "response_code": 0,
        "questions": draw(st.lists(st.just({"name": draw(text), "type": 28, "class_": 1}), max_size=2)),
        "answers": [] if is_query else draw(st.lists(st.one_of(st.just(record), anything), max_size=2)),
        "authorities": [],
        "additionals": [],
        "size": 40,
    }


def certificate(number):
    return b"-----BEGIN CERTIFICATE-----\nMIIB%d=\n-----END CERTIFICATE-----\n" % number


@st.composite
def connection(draw, made):
    """A client's or server's: TLS or not, certificates, times and addresses that no file system has."""
    made["certificate_list"] = [certificate(number) for number in range(draw(st.integers(0, 2)))]
    made["sni"] = draw(st.one_of(st.none(), text))
    made["alpn"] = draw(st.sampled_from([None, b"h2", b"http/1.1", b"\xff"]))
    made["tls_version"] = draw(st.sampled_from([None, "TLSv1.3", "QUICv1", "QUIC"]))
    made["transport_protocol"] = draw(st.sampled_from(["tcp", "udp", "tcp"]))
    made["peername"] = draw(st.sampled_from(ADDRESSES))
    for name in ("timestamp_start", "timestamp_end", "timestamp_tls_setup"):
        if draw(st.booleans()):
            made[name] = draw(st.sampled_from(TIMES))
    return made


def disturbed(draw, members):
    """The members in another order, some left out, some twice, some that nobody knows; the same inside."""
    pairs = [
        (key, disturbed(draw, value) if isinstance(value, dict) and draw(st.integers(0, 3)) == 0 else value)
        for key, value in members.items()
    ]
    for _ in range(draw(st.integers(0, 3))):
        change = draw(st.sampled_from(["add", "remove", "replace", "move", "twice"]))
        at = draw(st.integers(0, max(0, len(pairs) - 1)))
        if change == "add":
            pairs.insert(at, (draw(st.one_of(st.sampled_from(NAMES), text)), draw(anything)))
        elif not pairs:
            continue
        elif change == "remove":
            del pairs[at]
        elif change == "replace":
            pairs[at] = (pairs[at][0], draw(anything))
        elif change == "move":
            pairs.append(pairs.pop(at))
        else:
            pairs.append((pairs[at][0], draw(anything)))
    return Pairs(pairs)


# Without these, or with others, a state is no flow of version 21.
KEPT = ("version", "type", "request", "client_conn", "server_conn", "backup", "timestamp_created")


@st.composite
def flows(draw, types=("http", "http", "http", "websocket", "tcp", "udp", "dns")):
    """A flow's state at version 21."""
    kind = draw(st.sampled_from(types))
    state = deepcopy(http_flow(draw(st.integers(1, 99))))
    state["id"] = draw(st.one_of(st.just(state["id"]), text))
    for name in ("client_conn", "server_conn"):
        if draw(st.integers(0, 2)) == 0:
            state[name] = draw(connection(state[name]))
    state["comment"] = draw(text)
    state["marked"] = draw(st.sampled_from(["", ":default:", ":red_circle:", "\n"]))
    state["metadata"] = draw(st.one_of(st.just({}), st.lists(st.tuples(text, anything), max_size=2).map(Pairs)))
    if draw(st.integers(0, 3)) == 0:
        state["error"] = {"msg": draw(text), "timestamp": draw(st.sampled_from(TIMES))}
    if kind in ("http", "websocket"):
        if draw(st.integers(0, 4)):
            state["request"] = draw(request(state["request"]))
        state["response"] = draw(st.one_of(st.just(state["response"]), response(state["response"]), st.none()))
        state["websocket"] = draw(websocket()) if kind == "websocket" else None
        if draw(st.integers(0, 3)) == 0:
            state["backup"] = {**deepcopy(state), "comment": "as it was", "backup": None}
    else:
        for name in ("request", "response", "websocket"):
            del state[name]
        state["type"] = kind
        if kind == "dns":
            state["request"] = draw(dns_message(True))
            state["response"] = draw(st.one_of(st.none(), dns_message(False)))
        else:
            state["messages"] = draw(st.lists(st.one_of(stream_message, stream_message, anything), max_size=4))
    if draw(st.integers(0, 2)) == 0:
        others = {key: value for key, value in state.items() if key not in KEPT}
        pairs = [
            (key, disturbed(draw, value) if isinstance(value, dict) and key != "version" else value)
            for key, value in state.items()
            if key in KEPT
        ]
        if kind in ("http", "websocket") and draw(st.booleans()):
            pairs = draw(st.permutations(pairs))
        at = draw(st.integers(0, len(pairs)))
        odd = [pair for pair in disturbed(draw, others) if pair[0] not in KEPT]
        return Pairs([*pairs[:at], *odd, *pairs[at:]])
    return state
