"""What plain tools copy out of the mount into a set is packed to the flow's own record: of every capture there
is, and of flows with whatever is odd about them."""

import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import CAPTURES, CORPUS, LONGER, Mount
from flow_strategy import flows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mitmproxy.io import FlowReader
from staged import flowcat
from tnetstring import dumps

WITHOUT_FLOWS = ("dumpfile-010.mitm", "no-capture.mitm", "empty.mitm", "garbage.mitm")
# A type that nobody knows, and metadata that only newer ones take.
NOT_FOR_OLD_MITMPROXY = ("unknown-type.mitm", "all-types-21.mitm")
COPIES = ("cp -r", "cp -a", "rsync -a", "tar")


def every_capture():
    found = [path for folder in (CAPTURES, CAPTURES / "damaged", CORPUS) if folder.is_dir() for path in folder.iterdir()]
    return sorted(path for path in found if path.name.endswith((".mitm", ".har", ".zhar", ".gz"))
                  and ".expected." not in path.name and path.name not in WITHOUT_FLOWS)


def records(text):
    found, at = [], 0
    while at < len(text):
        colon = text.index(b":", at)
        end = colon + 1 + int(text[at:colon]) + 1
        found.append(text[at:end])
        at = end
    return sorted(found)


def copy(command, source, target):
    """The folders of all hosts, with all that is in them."""
    target.mkdir()
    hosts = [path for path in source.iterdir() if path.name[0] not in "@."]
    if command == "tar":
        subprocess.run(["tar", "-cf", f"{target}.tar", "-C", source, "--", *[f"./{path.name}" for path in hosts]], check=True, timeout=60)
        subprocess.run(["tar", "-xf", f"{target}.tar", "-C", target], check=True, timeout=60)
        os.unlink(f"{target}.tar")
    else:
        subprocess.run([*command.split(), "--", *hosts, f"{target}/"], check=True, timeout=60)


@pytest.mark.parametrize("path", every_capture(), ids=lambda path: path.name)
def test_every_capture(mount, tmp_path, path):
    """Four ways to copy, each to another set, for each version of the format in turn."""
    newest = tmp_path / "newest.mitm"
    newest.write_bytes(flowcat("--recover", path))
    number = every_capture().index(path)
    for version in ("21", str(17 + number % 4)):
        mounted = mount(path, options=("--format-version", version))
        expected = records(flowcat("--format-version", version, newest, codes=(0, 4)))
        for which, command in enumerate(COPIES):
            if version != "21" and which != number % len(COPIES) or not shutil.which(command.split()[0]):
                continue
            copy(command, mounted.path, mounted.staging / command)
            assert records((mounted.staging / f"{command}.mitm").read_bytes()) == expected, command
        mounted.end()
    if path.name not in NOT_FOR_OLD_MITMPROXY:
        old = flowcat("--format-version", "17", newest, codes=(0, 4))
        assert len(list(FlowReader(io.BytesIO(old)).stream())) == len(records(old))


@given(st.lists(flows(), min_size=1, max_size=4))
@settings(max_examples=int(25 * LONGER), deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_flows(states):
    texts = sorted(dumps(state) for state in states)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.mitm").write_bytes(b"".join(texts))
        mounted = Mount(folder / "mnt", [folder / "a.mitm"])
        try:
            copy("cp -r", mounted.path, mounted.staging / "set")
            assert records((mounted.staging / "set.mitm").read_bytes()) == texts
        finally:
            mounted.end()
        assert records((folder / "mnt" / "set.mitm").read_bytes()) == texts
