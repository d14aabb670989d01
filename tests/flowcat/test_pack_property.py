"""Unpacked into folders and packed again, flows are what they were, byte for byte: of every type, whatever is
odd about them, in every version that can be asked for."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import CAPTURES, CORPUS, FLOWCAT, flowcat
from flow_strategy import flows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tnetstring import dumps, records

VERSIONS = ("17", "18", "19", "20", "21")


def run(*arguments):
    """What flowcat writes, as records, and how it ends: 4 where a flow has no place in the version."""
    result = subprocess.run([FLOWCAT, *map(str, arguments)], capture_output=True, timeout=60)
    assert result.returncode in (0, 4), result.stderr.decode(errors="replace")
    return sorted(records(result.stdout)), result.returncode


@given(st.lists(flows(), min_size=1, max_size=3))
@settings(
    max_examples=int(os.environ.get("FLOWFS_EXAMPLES", 100)), deadline=None, suppress_health_check=list(HealthCheck)
)
def test_generated_flows(states):
    texts = [dumps(state) for state in states]
    with tempfile.TemporaryDirectory() as name:
        capture, folder = Path(name) / "a.mitm", Path(name) / "flows"
        capture.write_bytes(b"".join(texts))
        flowcat("--unpack", folder, capture)
        assert run("--pack", folder) == (sorted(texts), 0)
        for version in VERSIONS:
            chosen = ("--format-version", version)
            assert run("--pack", *chosen, folder) == run(*chosen, capture), version


def of_corpus():
    """Every capture there is, but those that hold no flow."""
    found = [path for path in [*CAPTURES.iterdir(), *(CAPTURES / "damaged").iterdir()] if path.is_file()]
    found += CORPUS.iterdir() if CORPUS.is_dir() else []
    ends = (".mitm", ".har", ".zhar", ".gz")
    without = ("dumpfile-010.mitm", "no-capture.mitm", "empty.mitm", "garbage.mitm")
    return sorted(
        path
        for path in found
        if path.name.endswith(ends) and ".expected." not in path.name and path.name not in without
    )


@pytest.mark.parametrize("path", of_corpus(), ids=lambda path: path.name)
def test_captures(path, tmp_path):
    folder, newest = tmp_path / "flows", tmp_path / "newest.mitm"
    flowcat("--recover", "--unpack", folder, path)
    # A folder holds a flow as the newest version has it, so an older file is taken there first.
    newest.write_bytes(flowcat("--recover", path).stdout)
    for version in VERSIONS:
        chosen = ("--format-version", version)
        assert run("--pack", *chosen, folder) == run(*chosen, newest), version
