#!/usr/bin/python3
"""Writes the tables of the unit tests: what Python and mitmproxy answer, as C headers beside this
script. Run by hand when a table gets new rows; what it wrote is part of the project.

    tests/unit/make_tables.py
"""
import pathlib
import random
import struct

from mitmproxy import http
from mitmproxy.io import tnetstring
from mitmproxy.net.http import url as mitmproxy_url

HERE = pathlib.Path(__file__).parent
ITEM = "#define ITEM(text) {(const uint8_t *)(text), sizeof(text) - 1}\n"


def literal(data):
    """A C string literal; a new one starts after each escape, which would go on into digits."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    text = ""
    for byte in data:
        if byte in b'"\\?':
            text += "\\" + chr(byte)
        elif 0x20 <= byte < 0x7F:
            text += chr(byte)
        else:
            text += "\\%03o" % byte
    return '"' + text + '"'


def write(name, guard, about, lines):
    text = f"/* {about}\n * Made by make_tables.py. */\n"
    text += f"#ifndef {guard}\n#define {guard}\n\n/* clang-format off */\n"
    text += "\n".join(lines) + "\n/* clang-format on */\n\n#endif\n"
    (HERE / name).write_text(text)


def float_table():
    chance = random.Random(1)
    numbers = [0.0, -0.0, 1.0, -1.0, 0.1, 0.2, 0.3, 1 / 3, 2 / 3, 100.0, 1e15, 1e16, 1e17, 123456789012345680.0]
    numbers += [9999999999999998.0, 999999999999999.9, 1e-4, 9.999e-5, 1e-5, 0.00012345, 5e-324, 1.7976931348623157e308]
    numbers += [2.2250738585072014e-308, 2.225073858507201e-308, float("inf"), float("-inf"), float("nan")]
    numbers += [2.0**k for k in (-1074, -1022, -53, -52, -1, 52, 53, 54, 63, 64, 1023)]
    numbers += [9007199254740993.0, 9007199254740992.0, 5e-5, 1e22, 1e23, 8.41e21, 2.0**-44, 4.35, 0.5, 1.5]
    numbers += [1700000000.0 + chance.random() for _ in range(80)]
    numbers += [round(1600000000 + chance.random() * 2e8, d) for d in range(1, 7) for _ in range(6)]
    numbers += [float(f"{chance.randrange(1, 10**9)}e{chance.randrange(-320, 308)}") for _ in range(40)]
    while len(numbers) < 300:
        number = struct.unpack("<d", chance.randbytes(8))[0]
        if number == number:
            numbers.append(number)
    rows = []
    for number in numbers:
        bits = struct.unpack("<Q", struct.pack("<d", number))[0]
        rows.append('    {0x%016xu, "%r"},' % (bits, number))
    write(
        "float_table.h",
        "FLOWFS_TESTS_FLOAT_TABLE_H",
        "Doubles by their bits, and Python's repr() of them.",
        ["static const struct {", "    uint64_t bits;", "    const char *repr;", "} float_table[] = {"] + rows + ["};"],
    )


def describe(value):
    """One value as test_tnet.c describes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"int({value})"
    if isinstance(value, float):
        return f"float({value!r})"
    if isinstance(value, bytes):
        return "b'" + value.hex() + "'"
    if isinstance(value, str):
        return "t'" + value.encode().hex() + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(describe(item) for item in value) + "]"
    return "{" + ",".join(describe(key) + ":" + describe(item) for key, item in value.items()) + "}"


def random_value(chance, depth):
    kind = chance.randrange(8 if depth else 6)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.choice([0, -1, 7, 2**31, -(2**63), 2**64, 10**40, -(10**25), chance.randrange(10**6)])
    if kind == 2:
        return chance.choice([0.0, -0.0, 1e300, 1.5, 1e-7, float("inf"), float("-inf"), chance.random() * 1e9])
    if kind in (3, 4):
        return chance.randbytes(chance.choice([0, 1, 3, 9, 10, 11, 99, 100]))
    if kind == 5:
        return "".join(chance.choice("aé€😀\0:,}\n ~") for _ in range(chance.randrange(12)))
    if kind == 6:
        return [random_value(chance, depth - 1) for _ in range(chance.randrange(5))]
    return {
        chance.choice(["k", "key", "é", "", "a.b", "12:", "headers"]) + str(i): random_value(chance, depth - 1)
        for i in range(chance.randrange(5))
    }


def tnet_table():
    chance = random.Random(2)
    values = [None, True, False, 0, -5, 12345678901234567890, 10**60, -(10**30), 0.1, 1e16, 1e-5, -0.0]
    values += [float("inf"), float("-inf"), float("nan"), b"", b"\0\xff", "", "é", [], {}, [[]], [{}], {"a": {}}]
    values += [{"z": 1, "a": 2, "m": [3, 4]}, {"b": b"x", "a": "x"}, {b"bytes": b"key"}, [None, True, 0.5, b"x", "y"]]
    values += [[[[[[[1]]]]]], b"12:hello,", "}" * 30, b"," * 100, list(range(30)), b"x" * 9, b"x" * 10, b"x" * 99]
    values += [random_value(chance, 4) for _ in range(120)]
    rows = []
    for value in values:
        encoded = tnetstring.dumps(value)
        rows.append(f"    {{ITEM({literal(encoded)}),\n     {literal(describe(value))}}},")
    write(
        "tnet_table.h",
        "FLOWFS_TESTS_TNET_TABLE_H",
        "tnetstrings as mitmproxy writes them, and what they hold, in insertion order.",
        [ITEM, "static const struct {", "    struct bytes encoded;", "    const char *holds;", "} tnet_table[] = {"] + rows + ["};"],
    )


def site(request):
    """The host under which a flow is filed, by the rules of flow_target.h."""

    def with_port(host, port, standard):
        if not host:
            return ""
        host = "".join(c.lower() if c.isascii() else c for c in host)
        try:
            import ipaddress

            if ipaddress.ip_address(host.split("%")[0]).version == 6:
                host = f"[{host}]"
        except ValueError:
            pass
        return host if port == standard else f"{host}:{port}"

    standard = mitmproxy_url.default_port(request.scheme) or 0
    if request.first_line_format == "authority" and request.authority:
        host, port = mitmproxy_url.parse_authority(request.authority, check=False)
        return with_port(host, port or 443, 443)
    header = request.host_header
    if header and request.first_line_format != "authority":
        try:
            host, port = mitmproxy_url.parse_authority(header, check=True)
        except ValueError:
            return with_port(header, standard, standard)
        return with_port(host, port or standard or 443, standard)
    return with_port(request.host, request.port or standard, standard)


def target_table():
    authorities = [b"", b"example.com", b"example.com:443", b"example.com:8080", b"[::1]:443", b"[::1]"]
    hosts = [
        None, "", "example.com", "EXAMPLE.com", "example.com:80", "example.com:443", "example.com:8080",
        "example.com:", "example.com:0", "example.com:65535", "example.com:65536", "example.com:99999999999",
        "example.com.", "a..b", ".", "..", "../../etc", "a b", "a/b", "[::1]", "[::1]:80", "[::1]:8443", "::1",
        "fe80::1", "[fe80::1%eth0]", "[zz]", "[]", "127.0.0.1", "127.0.0.1:8000", "a@b", "user:pw@host", "a,b",
        "example.com, example.org", "-a-", "_dmarc.example.com", "x" * 63 + ".com", "x" * 64 + ".com", "é.com", "münchen.de:81",
        "xn--mnchen-3ya.de", "\udcff\udcfe", "a\tb", "example.com:80:80", "host:-1", "host:+1", " host", "host ", "%41", "host:08",
        ".".join(["abcdefgh"] * 30), "0", "1:2", ":80", "*", "a_b.c",
    ]
    cases = []
    for host in hosts:
        cases.append(("GET", "http", b"", "10.0.0.1", 80, "/", "HTTP/1.1", host))
        cases.append(("GET", "https", b"", "10.0.0.1", 8443, "/a?b#c", "HTTP/1.1", host))
        cases.append(("GET", "https", b"", "10.0.0.1", 443, "*", "HTTP/2.0", host))
    for authority in authorities:
        for method in ("GET", "CONNECT", "connect"):
            for version in ("HTTP/1.1", "HTTP/2.0"):
                for host in (None, "other.example:81"):
                    for scheme, port in (("https", 443), ("ftp", 21), ("https", 80)):
                        cases.append((method, scheme, authority, "address.example", port, "/p", version, host))
    for authority in (b"a b", b"a:b", b"exa\xffmple", b"..", b"EXAMPLE.com:443", b"\xc3\xa9.com", b"[fe80::1]:1", b"h:0", b"h:70000"):
        for method in ("GET", "CONNECT"):
            cases.append((method, "https", authority, "::1", 443, "/p", "HTTP/2.0", None))
    for address in ("::1", "", "2001:DB8::1", "EXAMPLE.Com", "1.2.3.4", "..", "a/b", "é"):
        for port in (80, 443, 0, 1, 65535):
            cases.append(("GET", "http", b"", address, port, "", "HTTP/1.1", None))
    rows = []
    for method, scheme, authority, address, port, path, version, host in cases:
        fields = [] if host is None else [(b"Host", host.encode("utf-8", "surrogateescape"))]
        request = http.Request(
            address, port, method.encode(), scheme.encode(), authority, path.encode(), version.encode(),
            http.Headers(fields), b"", None, 0, 0,
        )
        given = [method, scheme, authority, address, path, version]
        answers = [request.url, request.pretty_url, request.pretty_host, site(request)]
        rows.append(
            "    {" + ", ".join(f"ITEM({literal(text)})" for text in given) + f", {port}, "
            + ("false, ITEM(\"\")" if host is None else f"true, ITEM({literal(host)})") + ",\n     "
            + ",\n     ".join(f"ITEM({literal(text)})" for text in answers) + "},"
        )
    write(
        "target_table.h",
        "FLOWFS_TESTS_TARGET_TABLE_H",
        "Requests, and their url, pretty_url, pretty_host as mitmproxy has them and the host they are\n"
        " * filed under.",
        [
            ITEM,
            "static const struct {",
            "    struct bytes method, scheme, authority, address, path, http_version;",
            "    int port;",
            "    bool has_host_field;",
            "    struct bytes host_field;",
            "    struct bytes url, pretty_url, pretty_host, site;",
            "} target_table[] = {",
        ] + rows + ["};"],
    )


float_table()
tnet_table()
target_table()
