"""Sets of a few flows whose bodies tell which version they are, for tests of what a flow file holds and when."""

import os
import re
import shutil
import subprocess

from conftest import FLOWCAT
from tnetstring import http_flow, read_flows, write

FLOWS = 3


def body(version, flow=1, size=None):
    """A body that can be told whole from torn."""
    head = b"version %06d of flow %d " % (version, flow)
    return (head * (1 + (size or 40 + version * 37 % 3000) // len(head)))[:size]


def version_of(content, flow=None):
    """The version that a body is of; None of an empty one, which is what an editor makes that truncates."""
    if not content:
        return None
    found = re.match(rb"version (\d{6}) of flow (\d) ", content)
    assert found and flow in (None, int(found[2])), content[:100]
    version, number = int(found[1]), int(found[2])
    assert content in (body(version, number), body(version, number, len(content))), f"version {version} is torn"
    return version


def versions(packed):
    """The newest version of each flow in a flow file, which must be whole. Empty bodies are left out."""
    found = {}
    for flow in read_flows(packed):
        content = flow["response"]["content"] if flow["response"] else b""
        version = version_of(content)
        if version is not None:
            number = int(content[23:24])
            found[number] = max(version, found.get(number, 0))
    return found


def capture(tmp_path, flows=FLOWS):
    return write(tmp_path / "flows.mitm", *[
        http_flow(number, response={"content": body(0, number), "headers": [[b"Content-Type", b"text/plain"]]})
        for number in range(1, flows + 1)])


def copy_flows(mounted, target):
    """As `cp -r` does; returns the flows' directories by number."""
    made = {}
    for folder in mounted.flows():
        number = int(folder.name[-1])
        copy = os.path.join(target, folder.name)
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
        made[number] = os.path.join(copy, "response.body")
    return made


def pack(folder):
    """The flow file that is made of a set, by the tool that needs no mount."""
    return subprocess.run([FLOWCAT, "--pack", folder], capture_output=True, check=True, timeout=60).stdout


def is_whole(path):
    """Read fully by the project's own reader."""
    result = subprocess.run([FLOWCAT, "-o", "/dev/null", path], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path, data, synced=True):
    """As careful editors write: another file, fsync, rename."""
    folder, name = os.path.split(path)
    other = os.path.join(folder, f".{name}.{os.getpid()}")
    file = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, data)
    if synced:
        os.fsync(file)
    os.close(file)
    os.rename(other, path)


def rewrite_file(path, data, synced=True):
    """As the shell's `>` writes."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, data)
    if synced:
        os.fsync(file)
    os.close(file)
