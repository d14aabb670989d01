"""Names from hostile traffic: all different, the same at every mount, and none that a path cannot have."""

import os

import pytest
from tnetstring import http_flow, write

HOSTS = [b"", b".", b"..", b"/", b"/etc/passwd", b"../../etc/passwd", b"\x1b[31mred", b"\xff\xfe", b"@staging", b"@by",
         b".flowfs", b"%2e%2e", b"%", b"a" * 300, b"a" * 299 + b"b", b"a b", b"caf\xc3\xa9", b"\xc2\x9b31m", b"unknown",
         b"a~2", b"a", b"A", b"a\x00b", b"a\nb", b"~", b"~2", b"host:8080", b"[::1]:8080", b"-rf"]
IDS = ["", ".", "..", "abc", "abc", "abc~2", "abc~3", "abc", "../x", "@staging", ".flowfs", "x" * 300, "x" * 299 + "y",
       "%2F", "/", "a/b", "unknown", "\x00", "\n", "ABC", "6f1c2c1e-0000-4000-8000-000000000000",
       "6f1c2c1e-0000-4000-8000-000000000000", "6F1C2C1E-0000-4000-8000-000000000000"]


@pytest.fixture
def capture(tmp_path):
    flows = [http_flow(i, host) for i, host in enumerate(HOSTS)]
    flows += [http_flow(100 + i, b"ids", id=each, response={"content": each.encode()}) for i, each in enumerate(IDS)]
    return write(tmp_path / "names.mitm", *flows)


def test_all_are_there(mount, capture):
    mounted = mount(capture)
    assert len(mounted.flows()) == len(HOSTS) + len(IDS)
    names = [os.fsencode(host.name) for host in mounted.hosts()]
    # Only what HTTP itself holds for equal is joined: letters of either case.
    assert len(names) == len(set(host.lower() for host in HOSTS if host)) + 1 + 1
    for name in names + [os.fsencode(flow.name) for flow in mounted.flows()]:
        assert 0 < len(name) <= 255
        assert not name.startswith((b".", b"@"))
        assert not any(byte < 0x20 or byte == 0x7F for byte in name)
        assert b"/" not in name
        name.decode("utf-8")


def test_lookup_finds_what_listing_shows(mount, capture):
    mounted = mount(capture)
    bodies = []
    for flow in (mounted.path / "ids").iterdir():
        body = flow / "response.body"
        bodies.append(body.read_bytes().decode() if body.exists() else "")
    assert sorted(bodies) == sorted(IDS)
    # The names tell the ids apart, in the order of the capture.
    assert (mounted.path / "ids" / "abc" / "request.headers").read_text().split()[1].endswith("/103")
    assert (mounted.path / "ids" / "abc~2" / "request.headers").read_text().split()[1].endswith("/104")
    assert (mounted.path / "ids" / "abc~3" / "request.headers").read_text().split()[1].endswith("/107")
    assert (mounted.path / "ids" / "abc%7E2" / "request.headers").read_text().split()[1].endswith("/105")
    for name in ("abc~1", "abc~4", "abc~02", "ABC~2", "%61bc", "..%2Fx~2"):
        assert not (mounted.path / "ids" / name).exists()


def test_same_at_every_mount(mount, capture):
    first, second = mount(capture), mount(capture)
    assert [flow.relative_to(first.path) for flow in first.flows()] == [
        flow.relative_to(second.path) for flow in second.flows()]
