"""Bodies: codings undone, long ones in bounded memory, bombs refused where the user says so."""

import gzip
import hashlib
import json
import os
import random
import zlib

import pytest
from conftest import CAPTURES
from tnetstring import http_flow, write

MEGABYTE = 1 << 20


def encoded_flow(encoding, content):
    headers = [[b"Content-Type", b"text/plain"], [b"Content-Encoding", encoding]]
    return http_flow(1, response={"headers": headers, "content": content})


def peak_memory(mounted):
    with open(f"/proc/{mounted.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def is_sanitized(mounted):
    with open(f"/proc/{mounted.process.pid}/maps") as maps:
        return any("libasan" in line or "libtsan" in line or "7fff7000-" in line for line in maps)


def only_flow(mounted):
    (flow,) = mounted.flows()
    return flow


def test_fall_back_to_raw(mount):
    mounted = mount(CAPTURES / "encodings.mitm")
    seen = set()
    for flow in mounted.flows():
        summary = json.loads((flow / "summary.json").read_text())
        name = summary["path"].split("/")[-1]
        decoded, raw = flow / "response.body", flow / "response.body.raw"
        if name == "empty":
            assert not decoded.exists() and not raw.exists()
            seen.add(name)
            continue
        assert raw.exists() == (name != "identity")
        if name in ("broken", "broken-br", "unknown"):
            assert summary["response"]["decoded"] is False
            assert summary["response"]["decode_error"]
            assert decoded.read_bytes() == raw.read_bytes()
        else:
            assert summary["response"]["decoded"] is True
            assert name == "truncated" or b"quick brown fox" in decoded.read_bytes()
        seen.add(name)
    assert len(seen) == 13


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """A gigabyte in one megabyte: numbered lines of zeros, so that no part is like another."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.mitm"
    pack = zlib.compressobj(6, zlib.DEFLATED, 31)
    digest = hashlib.sha256()
    parts = []
    for number in range(1024):
        block = b"%08d" % number + bytes(MEGABYTE - 8)
        digest.update(block)
        parts.append(pack.compress(block))
    write(path, encoded_flow(b"gzip", b"".join(parts) + pack.flush()))
    return path, digest.hexdigest()


def test_bomb_is_served_in_bounded_memory(mount, bomb):
    path, digest = bomb
    mounted = mount(path)
    body = only_flow(mounted) / "response.body"
    assert body.stat().st_size == 1024 * MEGABYTE
    found = hashlib.sha256()
    with open(body, "rb") as file:
        while (piece := file.read(MEGABYTE)):
            found.update(piece)
    assert found.hexdigest() == digest
    if not is_sanitized(mounted):
        assert peak_memory(mounted) < 100 * MEGABYTE


def test_bomb_read_out_of_order(mount, bomb):
    body = only_flow(mount(bomb[0])) / "response.body"
    places = random.Random(1).sample(range(200), 12) + [0, 199, 3]
    with open(body, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for number in places:
            assert os.pread(file.fileno(), 16, number * MEGABYTE) == b"%08d" % number + bytes(8)


def test_bomb_refused_above_a_limit(mount, bomb):
    flow = only_flow(mount(bomb[0], options=("--max-decoded", "64M")))
    summary = json.loads((flow / "summary.json").read_text())["response"]
    assert summary["decoded"] is False
    assert "limit" in summary["decode_error"] or str(64 * MEGABYTE) in summary["decode_error"]
    assert (flow / "response.body").read_bytes() == (flow / "response.body.raw").read_bytes()


def test_long_stored_body(mount, tmp_path):
    """It is spliced from the capture and never held in memory."""
    content = random.Random(2).randbytes(MEGABYTE) * 300
    path = write(tmp_path / "long.mitm", http_flow(1), http_flow(2, response={"content": content}), http_flow(3))
    mounted = mount(path)
    assert len(mounted.flows()) == 3
    body = mounted.flows()[1] / "response.body"
    assert body.stat().st_size == len(content)
    assert hashlib.sha256(body.read_bytes()).digest() == hashlib.sha256(content).digest()
    with open(body, "rb") as file:
        for at in (0, 1, 4095, 4096, 77 * MEGABYTE + 3, len(content) - 5):
            assert os.pread(file.fileno(), 10, at) == content[at : at + 10]
        assert os.pread(file.fileno(), 10, len(content)) == b""
    if not is_sanitized(mounted):
        assert peak_memory(mounted) < 60 * MEGABYTE


def test_long_comment(mount, tmp_path):
    """A long string that is no body is shown where it belongs."""
    comment = "x" * (2 * MEGABYTE)
    flow = only_flow(mount(write(tmp_path / "a.mitm", http_flow(1, comment=comment))))
    assert json.loads((flow / "flow.json").read_text())["comment"] == comment


def test_many_codings(mount, tmp_path):
    content = b"payload" * 100
    packed = content
    for _ in range(5):
        packed = gzip.compress(packed)
    flow = only_flow(mount(write(tmp_path / "a.mitm", encoded_flow(b"gzip, gzip, GZIP , gzip, gzip", packed))))
    assert (flow / "response.body").read_bytes() == content
