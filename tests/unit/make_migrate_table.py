#!/usr/bin/python3
"""Writes migrate_table.h: what the steps of mitmproxy's own io/compat.py make of small flows. Run by
hand when the table gets new rows; what it wrote is part of the project.

    tests/unit/make_migrate_table.py MITMPROXY

MITMPROXY: a checkout of mitmproxy's newest source (Debian's release stops at version 17). Only
compat.py and what it needs is loaded, so none of mitmproxy's own dependencies are.
"""
import copy
import importlib.util
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).parent
SOURCE = pathlib.Path(sys.argv[1]) / "mitmproxy"


def literal(data):
    """A C string literal."""
    if isinstance(data, str):
        data = data.encode()
    escaped = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b'"\\?' else "\\%03o" % b for b in data)
    return '"' + escaped + '"'


def write(name, guard, about, lines):
    text = f"/* {about}\n * Made by make_migrate_table.py. */\n"
    text += f"#ifndef {guard}\n#define {guard}\n\n#include \"migrate_steps.h\"\n\n/* clang-format off */\n"
    text += "\n".join(lines) + "\n/* clang-format on */\n\n#endif\n"
    (HERE / name).write_text(text)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, SOURCE / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sys.modules["mitmproxy"] = types.ModuleType("mitmproxy")
sys.modules["mitmproxy.utils"] = types.ModuleType("mitmproxy.utils")
sys.modules["mitmproxy"].version = load("mitmproxy.version", "version.py")
sys.modules["mitmproxy.utils"].strutils = load("mitmproxy.utils.strutils", "utils/strutils.py")
tnetstring = load("mitmproxy.io.tnetstring", "io/tnetstring.py")
compat = load("mitmproxy.io.compat", "io/compat.py")
# The test checks an id by its form, then writes this in its place.
compat.uuid.uuid4 = lambda: "?"


def old(value):
    """A flow as versions up to (0, 17) have it: keys are bytes."""
    if isinstance(value, dict):
        return {k.encode(): old(v) for k, v in value.items()}
    return value


REQUEST_11 = {
    "form_in": b"relative", "form_out": b"relative", "httpversion": [1, 1], "method": b"GET", "host": b"example.com",
    "port": 80, "path": b"/", "scheme": b"http", "headers": [[b"Host", b"example.com"]], "content": b"",
    "stickycookie": False, "stickyauth": False, "is_replay": False, "timestamp_start": 1.25, "timestamp_end": 1.5,
}
RESPONSE_11 = {
    "httpversion": [1, 0], "code": 200, "msg": b"OK", "headers": [], "content": b"body", "is_replay": True,
    "timestamp_start": 1.75, "timestamp_end": 2.0,
}
FLOW_11 = old({
    "type": b"http", "version": [0, 11], "id": b"an-id", "intercepted": False, "request": REQUEST_11,
    "response": RESPONSE_11, "error": {"msg": b"it broke", "timestamp": 3.5},
    "client_conn": {
        "address": {"address": [b"127.0.0.1", 50000], "use_ipv6": False}, "clientcert": b"CERT", "timestamp_start": 0.5,
        "timestamp_end": None, "timestamp_ssl_setup": 0.75, "ssl_established": True,
    },
    "server_conn": {
        "address": {"address": [b"example.com", 80], "use_ipv6": False}, "state": [], "cert": b"SERVER-CERT",
        "source_address": {"address": [b"10.0.0.1", 40000], "use_ipv6": False}, "sni": b"example.com", "ssl_established": False,
        "timestamp_start": 1.0, "timestamp_end": None, "timestamp_ssl_setup": None, "timestamp_tcp_setup": 1.125,
    },
})
FLOW_11[b"server_conn"][b"peer_address"] = None


def conn(**members):
    return {"client_conn": dict(members), "server_conn": {**members, "via": None}}


VIA = {"via": {"address": {"address": ["p", 1]}, "source_address": {"address": ["q", 2]}, "ip_address": None}}
ADDRESSES = {"address": {"address": ["a", 1]}, "source_address": {"address": ["b", 2]}}
CONN_4 = {"client_conn": {"timestamp_start": 1.5, "address": ["a", 1]}}
CONN_9 = {"tls_established": True, "alpn_proto_negotiated": b"h2", "cipher_name": "X"}
NO_CONN_9 = {"tls_established": False, "alpn_proto_negotiated": None, "cipher_name": None}
CONN_10 = {"sni": b"a\xffb", "alpn_proto_negotiated": b"h2", "alpn_offers": None, "cipher_list": None}
CONN_18 = {"tls_established": True, "cipher_name": "X", "sni": "s"}
BAD = b"h\xc3\xb6st\xff\xed\xa0\x80\xe2\x82"

# (version, what is shown, the flow without its version)
STEPS = [
    ((0, 11), "version alone", old({"type": b"http"})),
    ((0, 12), "version alone", old({"type": b"http"})),
    ((0, 13), "names of fields", old({
        "request": {"form_in": b"relative", "httpversion": [1, 1], "a": 1},
        "response": {"httpversion": [1, 0], "code": 200, "content": b"x", "b": 2},
        "server_conn": {"state": [], "c": 3}})),
    ((0, 14), "version alone", old({"type": b"http"})),
    ((0, 15), "body and msg", old({
        "request": {"body": b"q", "form_out": b"relative"}, "response": {"body": b"r", "msg": b"OK"}})),
    ((0, 15), "none to rename", old({"request": {"content": b"q"}, "response": {"content": b"r"}})),
    ((0, 16), "peer_address", old({"server_conn": {"a": 1}})),
    ((0, 17), "bytes to text", old({
        "type": b"http", "id": b"\xc3\xbc", "request": {"first_line_format": b"relative", "method": b"GET"},
        "error": {"msg": b"m", "x": b"y"}, "server_conn": {"peer_address": {"address": [b"h", 1]}},
        "list": [{b"stays": b"bytes"}]})),
    ((0, 17), "no peer_address, no error", old({"server_conn": {}, "error": None})),
    ((0, 18), "sticky and TLS members", {
        b"request": {"stickyauth": False, b"stickycookie": False, "a": 1}, "client_conn": {"sni": "old"},
        "server_conn": {"via": None}}),
    ((0, 18), "via", {"request": {}, "client_conn": {}, "server_conn": {"via": {"a": 1}}}),
    ((0, 19), "text stays text", {"type": "http", "id": b"bytes", "error": {"msg": b"m"}}),
    ((1, 0), "addresses", {
        "client_conn": {"address": {"address": ["c", 3], "use_ipv6": False}},
        "server_conn": {**ADDRESSES, "ip_address": {"address": ["i", 4]}, "via": None}}),
    ((1, 0), "addresses of via", {
        "client_conn": {"address": {"address": ["c", 3]}}, "server_conn": {**ADDRESSES, "ip_address": None, **VIA}}),
    ((2, 0), "mitmcert", {"client_conn": {}, "server_conn": {"via": None}}),
    ((2, 0), "mitmcert, via", {"client_conn": {}, "server_conn": {"via": {"a": 1}}}),
    ((3, 0), "version alone", {"type": "http"}),
    (4, "ids", {**CONN_4, "server_conn": {"timestamp_start": None, "source_address": ["b", 2], "via": None}}),
    (4, "ids, via", {
        **CONN_4, "server_conn": {"timestamp_start": 2.5, "source_address": ["b", 2],
                                  "via": {"timestamp_start": 3.5, "source_address": ["c", 3]}}}),
    (5, "ssl to tls", conn(ssl_established=True, timestamp_ssl_setup=1.5, z=1)),
    (5, "ssl to tls, via", {
        "client_conn": {"ssl_established": False, "timestamp_ssl_setup": None},
        "server_conn": {"ssl_established": True, "timestamp_ssl_setup": 2.5,
                        "via": {"ssl_established": True, "timestamp_ssl_setup": 3.5}}}),
    (6, "tls_extensions", {"client_conn": {}}),
    (7, "trailers", {"request": {"a": 1}, "response": {"b": 2}}),
    (7, "no response", {"request": {"a": 1}, "response": None}),
    (7, "TCP", {"messages": []}),
    (8, "no replay", {"request": {"first_line_format": "relative", "is_replay": False}, "response": {"is_replay": False}}),
    (8, "request replayed", {"request": {"first_line_format": "a", "is_replay": True}, "response": {"is_replay": True}}),
    (8, "response replayed", {"request": {"first_line_format": "a"}, "response": {"is_replay": True}}),
    (8, "no response", {"request": {"first_line_format": "a", "is_replay": False}, "response": None}),
    (8, "TCP", {"messages": []}),
    (9, "all members", {
        "client_conn": {"clientcert": b"C", **CONN_9}, "server_conn": {"cert": b"S", **CONN_9, "via": None}}),
    (9, "nothing known", {"client_conn": {"clientcert": None, **NO_CONN_9}, "server_conn": {**NO_CONN_9, "via": None}}),
    (9, "via", {"client_conn": CONN_9, "server_conn": {**CONN_9, "via": {"cert": b"V", **CONN_9}}}),
    (10, "sni of bytes", conn(**CONN_10)),
    (10, "sni of text and none", {
        "client_conn": {**CONN_10, "sni": "t\u00fc", "alpn_offers": [b"h2"], "cipher_list": ["X"]},
        "server_conn": {**CONN_10, "sni": None, "via": {**CONN_10, "sni": b""}}}),
    (11, "no WebSocket", {"metadata": {}, "id": "i"}),
    (11, "a handshake", {"metadata": {"websocket": True}, "id": "other"}),
    (12, "marked", {"marked": True}),
    (12, "not marked", {"marked": False}),
    (13, "response with a time", {"response": {"timestamp_start": 1.5, "timestamp_end": 2.5}}),
    (13, "response without", {"request": {"timestamp_end": 1.1}, "response": {"timestamp_start": None, "timestamp_end": None}}),
    (13, "response without, int", {"request": {"timestamp_end": 7}, "response": {"timestamp_start": None, "timestamp_end": None}}),
    (13, "no response", {"request": {"timestamp_end": 1.5}, "response": None}),
    (13, "TCP", {"messages": []}),
    (14, "messages", {"websocket": {"messages": [[1, True, b"a", 1.5, False], [2, False, b"b", 2.5, True]]}}),
    (14, "no WebSocket", {"websocket": None}),
    (15, "HTTP", {"request": {"timestamp_start": 1.5}, "client_conn": {"timestamp_start": 2.5}}),
    (15, "TCP", {"client_conn": {"timestamp_start": 2.5}}),
    (16, "mode", {"mode": "regular", "a": 1}),
    (16, "no mode", {"a": 1}),
    (17, "proxy_mode", {"client_conn": {"a": 1}}),
    (18, "addresses", {
        "client_conn": {**CONN_18, "address": ["c", 1, 0, 0], "tls_extensions": [], "timestamp_start": None},
        "server_conn": {**CONN_18, "ip_address": [BAD, 2], "source_address": [b"b", 3], "address": [BAD, 4], "via": 1,
                        "via2": ["http", ["p", 5]]}}),
    (18, "sni is the address", {
        "client_conn": {**CONN_18, "tls_extensions": None, "timestamp_start": 1.5, "transport_protocol": "udp"},
        "server_conn": {**CONN_18, "sni": True, "address": [b"\xff", 4]}}),
    (19, "state", {"client_conn": {"state": 0, "a": 1}, "server_conn": {"state": 3}}),
    (19, "no state", {"client_conn": {}, "server_conn": {}}),
    (20, "QUIC", {"client_conn": {"tls_version": "QUIC"}, "server_conn": {"tls_version": "QUIC"}}),
    (20, "others", {"client_conn": {"tls_version": "TLSv1.3"}, "server_conn": {"tls_version": None}}),
]


def texts(value):
    """Keys as text: the test does the same to what has keys of both kinds before (0, 18)."""
    return {k.decode() if isinstance(k, bytes) else k: texts(v) for k, v in value.items()} if isinstance(value, dict) else value


def number(version):
    return version if isinstance(version, int) else f"MIGRATE_PAIR({version[0]}, {version[1]})"


def item(value):
    return "{(const uint8_t *)" + literal(value) + f", {len(value)}}}"


def step_rows():
    assert {version for version, _, _ in STEPS} == set(compat.converters)
    for version, about, flow in STEPS:
        key = b"version" if version in [(0, m) for m in range(11, 18)] else "version"
        flow = {key: version if isinstance(version, int) else list(version), **flow}
        before = tnetstring.dumps(flow)
        after = compat.converters[version](copy.deepcopy(flow))
        if isinstance(version, tuple) and version < (0, 17):
            after = texts(after)
        yield f"    {{{number(version)}, {literal(about)}, {item(before)}, {item(tnetstring.dumps(after))}}},"


def complete(flow):
    """What becomes of a state in mitmproxy's classes, as far as migrate() does it too."""
    if isinstance(flow.get("request", {}).get("host"), bytes):
        flow["request"]["host"] = flow["request"]["host"].decode("idna")
    flow.setdefault("backup", None)
    return flow


def websocket_pair():
    """A flow of version 7 and the WebSocket flow that belongs to it."""
    handshake = copy.deepcopy(FLOW_11)
    while handshake.get("version") != 7:
        version = handshake.get(b"version", handshake.get("version"))
        handshake = compat.converters[version if isinstance(version, int) else tuple(version)[:2]](handshake)
    handshake["metadata"] = {"websocket": True}
    handshake["server_conn"]["timestamp_end"] = 9.5
    record = {key: copy.deepcopy(handshake[key]) for key in ("version", "client_conn", "server_conn", "error", "intercepted", "marked")}
    record.update({
        "type": "websocket", "id": "ws-id", "metadata": {"websocket_handshake": "an-id"}, "close_sender": "client",
        "close_code": 1000, "close_message": "(message missing)", "close_reason": "bye", "client_key": "k",
        "messages": [[1, True, b"hello", 4.5, False], [2, False, b"\x00\xff", 5.5, True]]})
    return handshake, record


def whole_rows():
    def row(about, before, handshake=None):
        compat._websocket_handshakes.clear()
        compat.client_connections.clear()
        compat.server_connections.clear()
        texts_before = [tnetstring.dumps(before), tnetstring.dumps(handshake) if handshake else b""]
        if handshake:
            compat.migrate_flow(copy.deepcopy(handshake))
        after = tnetstring.dumps(complete(compat.migrate_flow(copy.deepcopy(before))))
        rows.append(f"    {{{literal(about)}, {item(texts_before[0])}, {item(texts_before[1])}, {item(after)}}},")

    rows = []
    row("(0, 11)", FLOW_11)
    idna = copy.deepcopy(FLOW_11)
    idna[b"request"][b"host"] = b"xn--mnchen-3ya.example"
    row("(0, 11), IDNA", idna)
    handshake, record = websocket_pair()
    row("7, HTTP", handshake)
    row("7, WebSocket", record, handshake)
    row("7, WebSocket without its handshake", record)
    closed = copy.deepcopy(record)
    closed["close_sender"] = "server"
    linked = copy.deepcopy(handshake)
    linked["metadata"]["websocket_handshake"] = "yet-another"
    for key in ("messages", "close_sender", "close_code", "close_reason"):
        linked[key] = copy.deepcopy(record[key])
    row("7, WebSocket whose handshake names a handshake", closed, linked)
    tcp = {key: copy.deepcopy(handshake[key]) for key in ("version", "client_conn", "server_conn", "error", "intercepted", "marked")}
    tcp.update({"type": "tcp", "id": "tcp-id", "metadata": {}, "messages": [[True, b"a", 1.5], [False, b"b", 2.5]]})
    row("7, TCP", tcp)
    return rows


write(
    "migrate_table.h",
    "FLOWFS_TESTS_MIGRATE_TABLE_H",
    "What mitmproxy's io/compat.py makes of flows: one step each, and all the way to version 21.",
    ["static const struct {", "    int64_t from;", "    const char *about;", "    struct bytes before, after;", "} step_table[] = {"]
    + list(step_rows())
    + ["};", "", "static const struct {", "    const char *about;", "    struct bytes before, handshake, after;", "} whole_table[] = {"]
    + whole_rows()
    + ["};"],
)
