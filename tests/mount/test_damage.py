"""Broken captures: every flow on both sides of a gap, and each gap told with its range and reason."""

import json
import re

import pytest
from conftest import CAPTURES
from tnetstring import dumps, http_flow, write

CASES = sorted(path.name.removesuffix(".expected.json") for path in (CAPTURES / "damaged").glob("*.json"))


@pytest.mark.parametrize("name", [name for name in CASES if name != "no-capture"])
def test_gaps(mount, name):
    expected = json.loads((CAPTURES / "damaged" / f"{name}.expected.json").read_text())
    mounted = mount(CAPTURES / "damaged" / f"{name}.mitm")
    flows = mounted.flows()
    assert len(flows) == expected["flows"]
    for flow in flows:
        for path in flow.rglob("*"):
            assert path.is_dir() or len(path.read_bytes()) == path.stat().st_size
    said = mounted.said.read_text()
    gaps = [[int(start), int(end)] for start, end in re.findall(r"bytes (\d+) to (\d+) left out", said)]
    assert gaps == expected["gaps"]
    assert any("ends after" in line and "left out" not in line for line in said.splitlines()) == expected["partial"]


def test_unknown_type_is_shown(mount):
    odd = [flow for flow in mount(CAPTURES / "damaged" / "unknown-type.mitm").flows()
           if json.loads((flow / "summary.json").read_text())["type"] == "carrier-pigeon"]
    assert len(odd) == 1
    assert json.loads((odd[0] / "flow.json").read_text())["request"]["path"] == {"bytes": "/"}


def test_newer_version_is_told(mount):
    assert "newer than" in mount(CAPTURES / "damaged" / "newer-version.mitm").said.read_text()


def test_capture_cut_short_under_the_mount(mount, tmp_path):
    path = write(tmp_path / "a.mitm", *[http_flow(i) for i in range(1, 200)])
    mounted = mount(path)
    last = sorted(mounted.flows())[-1]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OSError) as caught:
        (last / "flow.json").read_bytes()
    assert caught.value.strerror in ("Input/output error", "Stale file handle")
    assert len(mounted.flows()) == 199
    # That was told, and the daemon lives on: both are looked at when the mount ends.
    assert "cut short" in mounted.said.read_text()
    mounted.said.write_text("")


def test_capture_removed_under_the_mount(mount, tmp_path):
    path = write(tmp_path / "a.mitm", http_flow(1))
    mounted = mount(path)
    path.unlink()
    assert (mounted.flows()[0] / "response.body").read_bytes() == b"hello"
    mounted.said.write_text("")


@pytest.mark.parametrize("text", [b"5:hello,", b"12:", b"9999999999999:", b"0:}", b"0:]", b"7:3:abc,0}",
                                  b"[" * 1000, b"1:" * 5000 + b"x"])
def test_odd_files_are_refused(run, tmp_path, text):
    path = tmp_path / "odd.mitm"
    path.write_bytes(text)
    result = run(path, tmp_path / "mnt")
    assert result.returncode == 2
    assert "no flow" in result.stderr


def test_deeply_nested_value_is_a_gap(mount, tmp_path):
    deep = []
    for _ in range(200):
        deep = [deep]
    path = tmp_path / "a.mitm"
    path.write_bytes(dumps(http_flow(1)) + dumps(http_flow(2, metadata={"deep": deep})) + dumps(http_flow(3)))
    mounted = mount(path)
    names = {flow.name[-1] for flow in mounted.flows()}
    assert {"1", "3"} <= names
    for flow in mounted.flows():
        if flow.name[-1] == "2":
            with pytest.raises(OSError):
                (flow / "flow.json").read_bytes()
            assert "nested deeper" in mounted.said.read_text()
            mounted.said.write_text("")
