"""A capture of many flows: it mounts, lists, and costs little memory a flow."""

import os
import subprocess

from conftest import PROJECT
from test_bodies import is_sanitized
from tnetstring import http_flow, write

FLOWS = 20000


def memory(mounted):
    with open(f"/proc/{mounted.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_many_flows(mount, tmp_path):
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--flows", str(FLOWS), capture], check=True)
    base = mount(write(tmp_path / "one.mitm", http_flow(1)))
    mounted = mount(capture)
    grown = memory(mounted) - memory(base)
    found = sum(len(os.listdir(host)) for host in mounted.hosts())
    assert found == FLOWS
    if not is_sanitized(mounted):
        assert grown / FLOWS <= 200


def test_large_har_in_bounded_memory(mount, tmp_path):
    capture = tmp_path / "large.har"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--har", "--flows", "20000", capture], check=True)
    assert capture.stat().st_size > 50 << 20
    mounted = mount(capture)
    assert sum(len(os.listdir(host)) for host in mounted.hosts()) == 20000
    if not is_sanitized(mounted):
        assert memory(mounted) < 40 << 20
