"""What flowcat does on a terminal, and not elsewhere: a list, colours, a progress bar."""

import os
import pty
import re
import subprocess

import pytest
from conftest import CAPTURES, FLOWCAT, PROJECT
from tnetstring import http_flow, write

COLOUR = re.compile(rb"\x1b\[[0-9]*m")


def on_terminal(*arguments, stream="stdout", **environment):
    """What flowcat writes to a terminal that is its standard output, or error."""
    ours, its = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: its}
    ended = subprocess.Popen([FLOWCAT, *map(str, arguments)], env={**os.environ, **environment}, **streams)
    os.close(its)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # EIO: the other end was closed
        pass
    os.close(ours)
    assert ended.wait(60) in (0, 4)
    return written.replace(b"\r\n", b"\n")


@pytest.fixture
def colourful(tmp_path):
    statuses = [200, 204, 301, 404, 500]
    return write(tmp_path / "a.mitm", *[http_flow(i, response={"status_code": status})
                                       for i, status in enumerate(statuses)],
                 http_flow(9, error={"msg": "lost", "timestamp": 1700000009.9}))


def test_colours_by_class(colourful):
    plain = subprocess.run([FLOWCAT, "-t", "list", colourful], capture_output=True, check=True).stdout
    assert b"\x1b" not in plain
    shown = on_terminal(colourful, NO_COLOR="")
    assert COLOUR.sub(b"", shown) == plain
    starts = [re.search(rb"\x1b\[(\d+)m", line).group(1) for line in shown.splitlines()]
    assert starts == [b"32", b"32", b"36", b"33", b"31", b"31"]
    assert all(line.count(b"\x1b[0m") == 1 for line in shown.splitlines())


def test_no_color(colourful, tmp_path):
    assert b"\x1b" not in on_terminal("-t", "list", colourful, NO_COLOR="1")
    output = tmp_path / "list"
    on_terminal("-t", "list", "-o", output, colourful, NO_COLOR="")
    assert b"\x1b" not in output.read_bytes()


def test_columns_are_aligned():
    lines = on_terminal(CAPTURES / "sample.mitm", NO_COLOR="1").splitlines()
    assert len(lines) == 21
    assert {line.index(b"://") - len(re.search(rb"\w+(?=://)", line).group()) for line in lines} == {51}


def test_progress(tmp_path):
    """Only where it takes long: how far, bytes, rate and time left; and nothing stays."""
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts/make-capture", "--flows", "8000", capture], check=True)
    shown = on_terminal("-z", "-o", tmp_path / "out.gz", capture, stream="stderr")
    assert re.search(rb"writing \[#*\.*\] +\d+%  [\d.]+ MB  [\d.]+ MB/s  \d+:\d\d left", shown)
    assert shown.endswith(b"\r\x1b[K")
    assert on_terminal("-t", "list", CAPTURES / "sample.mitm", stream="stderr") == b""
    quiet = subprocess.run([FLOWCAT, "-z", "-o", tmp_path / "out.gz", capture], capture_output=True, check=True)
    assert quiet.stderr == b""
