"""Captures so large that flowcat looks at several parts of them at once: what it finds is what it finds in
small ones, one after the other."""

import json
import subprocess

import pytest
from conftest import CAPTURES, PROJECT, flowcat
from tnetstring import dumps, http_flow

# Parts are of 4 MB; a capture below that is read from its start to its end.
SMALL = 3_000_000


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Some 25 MB of flows, one record each."""
    path = tmp_path_factory.mktemp("large") / "made.mitm"
    subprocess.run([PROJECT / "scripts/make-capture", "--flows", "5000", path], check=True)
    text, found, at = path.read_bytes(), [], 0
    while at < len(text):
        colon = text.index(b":", at)
        end = colon + int(text[at:colon]) + 2
        found.append(text[at:end])
        at = end
    return found


def flow_with_body(body):
    return dumps(http_flow(response={"content": body}))


def lines(folder, records, *arguments, code=0):
    """What flowcat prints of small captures with these records, one after the other."""
    printed, batch, size = b"", [], 0
    for record in [*records, None]:
        if batch and (record is None or size + len(record) > SMALL):
            small = folder / "small.mitm"
            small.write_bytes(b"".join(batch))
            printed += flowcat(*arguments, small, code=code).stdout
            batch, size = [], 0
        if record is not None:
            batch.append(record)
            size += len(record)
    return printed


def numbers(path, *arguments):
    return [json.loads(line)["number"] for line in flowcat("-t", "jsonl", *arguments, path).stdout.splitlines()]


@pytest.mark.parametrize("expression", [None, "~c 500", "~bs token77"])
def test_every_flow_once_and_in_order(tmp_path, records, expression):
    options = ["-f", expression] if expression else []
    large = tmp_path / "large.mitm"
    large.write_bytes(b"".join(records))
    assert flowcat("-t", "list", *options, large).stdout == lines(tmp_path, records, "-t", "list", *options)
    found = numbers(large, *options)
    assert found == sorted(found) and len(set(found)) == len(found)
    if not expression:
        assert found == list(range(1, 5001))
        assert flowcat(large).stdout == large.read_bytes()


def test_flows_inside_bodies_are_none(tmp_path, records):
    """A body that holds a capture has whole flows wherever a part may start."""
    outer = [*records[:200], flow_with_body(b"".join(records[:2000])), *records[200:400],
             flow_with_body(bytes(6_000_000)), *records[400:3000]]
    large = tmp_path / "large.mitm"
    large.write_bytes(b"".join(outer))
    assert flowcat("-t", "list", large).stdout == lines(tmp_path, outer, "-t", "list")
    assert numbers(large) == list(range(1, len(outer) + 1))


def test_gaps_anywhere(tmp_path, records):
    broken = [*records[:900], b"garbage", *records[900:2500], records[2500][:3000], *records[2501:4000]]
    large = tmp_path / "large.mitm"
    large.write_bytes(b"".join(broken))
    result = flowcat("--recover", large)
    assert result.stdout == b"".join([*records[:2500], *records[2501:4000]])
    assert result.stderr.count(b"left out") == 2
    assert b"a capture is broken" in flowcat(large, code=2).stderr


def test_cut_short(tmp_path, records):
    large = tmp_path / "large.mitm"
    large.write_bytes(b"".join(records)[:-1])
    assert flowcat("--recover", large).stdout == b"".join(records[:-1])


def test_flows_of_other_versions_between(tmp_path, records):
    """Some are read in full, some are told of: the order stays."""
    old = (CAPTURES / "http1.mitm").read_bytes()
    unusual = dumps(http_flow(request={"headers": [[b"Host", b"a.example"], [b"Host", b"b.example"]]}))
    newer = dumps({**http_flow(), "version": 99})
    mixed = [*records[:800], unusual, *records[800:1500], old, *records[1500:3000], newer, newer, *records[3000:],
             newer]
    large = tmp_path / "large.mitm"
    large.write_bytes(b"".join(mixed))
    result = flowcat("-t", "list", large)
    assert result.stdout == lines(tmp_path, mixed, "-t", "list")
    assert result.stderr.count(b"99") == 1
