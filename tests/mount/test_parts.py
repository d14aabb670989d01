"""Captures so large that a mount looks at several parts of them at once: what it shows is what flowcat, which
reads the flows themselves, finds in them."""

import json
import os
import subprocess

import pytest
from conftest import CAPTURES, FLOWFS, PROJECT
from tnetstring import dumps, http_flow

FLOWCAT = os.environ.get("FLOWCAT", FLOWFS.parents[1] / "codec" / "flowcat")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Some 20 MB of flows with gaps, flows that are read in full, and flows of other versions between."""
    folder = tmp_path_factory.mktemp("large")
    made, path = folder / "made.mitm", folder / "large.mitm"
    subprocess.run([PROJECT / "scripts/make-capture", "--flows", "4000", made], check=True)
    text = made.read_bytes()
    records, at = [], 0
    while at < len(text):
        colon = text.index(b":", at)
        end = colon + int(text[at:colon]) + 2
        records.append(text[at:end])
        at = end
    several_hosts = http_flow(request={"headers": [[b"Host", b"a.example"], [b"Host", b"b.example"]]})
    records[300] = dumps(several_hosts)
    records[1000] = records[1000][:-1000]
    records[1600:1600] = [b"garbage"]
    records[2000] = dumps(http_flow(2, response={"content": b"".join(records[:1200])}))
    records[2500:2500] = [(CAPTURES / "http1.mitm").read_bytes()]
    for number in (3000, 3001, 3900):
        records[number] = dumps({**http_flow(number), "version": 99})
    path.write_bytes(b"".join(records))
    return path


@pytest.mark.parametrize("expression", [None, "~c 500", "~bs token77", "! ~m GET"])
def test_same_flows_as_flowcat(mount, broken, expression):
    filters = ["-f", expression] if expression else []
    rows = subprocess.run([FLOWCAT, "--recover", "-t", "jsonl", *filters, broken], check=True,
                          capture_output=True).stdout
    expected = {(row["number"], row["id"], row.get("url")) for row in map(json.loads, rows.splitlines())}
    mounted = mount(broken, options=("--filter", expression) if expression else ())
    shown = [json.loads((flow / "summary.json").read_text()) for flow in mounted.flows()]
    assert len(shown) == len(expected) > 0
    assert {(row["number"], row["id"], row.get("url")) for row in shown} == expected
    said = mounted.said.read_text()
    assert said.count("left out") == 2
    assert said.count("newer than") == 1
