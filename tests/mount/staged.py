"""A set in staging for tests: made of a capture, edited by whatever tool, and looked at three ways. What the
mount serves as NAME.mitm must be what flowcat packs of the very same folder, and what mitmproxy reads there
must be what the edit means."""

import io
import os
import shutil
import subprocess

from conftest import FLOWFS
from mitmproxy.io import FlowReader, tnetstring
from tnetstring import http_flow, write

FLOWCAT = FLOWFS.parent.parent / "codec" / "flowcat"
BODY = b"hello\nworld\n"


def flowcat(*arguments, codes=(0,)):
    """Its output; nothing for a folder without a flow."""
    result = subprocess.run([FLOWCAT, *map(str, arguments)], capture_output=True, timeout=60)
    assert result.returncode in codes or b"there is no flow in" in result.stderr, result.stderr.decode(errors="replace")
    return result.stdout


def states(text):
    stream, found = io.BytesIO(text), []
    while stream.tell() < len(text):
        found.append(tnetstring.load(stream))
    return found


def three_flows():
    """An ordinary page, an upload, a chat."""
    messages = [[1, True, b"hello", 1700000009.0, False, False], [1, False, b"HELLO", 1700000009.5, False, False]]
    chat = {
        "messages": messages,
        "closed_by_client": True,
        "close_code": 1000,
        "close_reason": "",
        "timestamp_end": 1700000010.0,
    }
    return [
        http_flow(
            1,
            response={
                "content": BODY,
                "headers": [[b"Content-Type", b"text/plain"], [b"Content-Length", b"%d" % len(BODY)]],
            },
        ),
        http_flow(
            2,
            request={
                "method": b"POST",
                "content": b"up",
                "headers": [[b"Host", b"example.com"], [b"Content-Length", b"2"]],
            },
        ),
        http_flow(3, websocket=chat),
    ]


class Staged:
    """A mount with the set `fix`, which holds a copy of all flows."""

    def __init__(self, mount, folder, flows=None, options=(), name="fix"):
        self.mount_at, self.options = mount, options
        self.backing = folder / "staging"
        self.backing.mkdir()
        self.capture = write(folder / "a.mitm", *(flows or three_flows()))
        self.name = name
        self.again()
        self.set.mkdir()
        for flow in self.mounted.flows():
            self.copy(flow)

    def again(self):
        """Mounts, or mounts anew."""
        if hasattr(self, "mounted"):
            self.mounted.end()
            self.mounted = self.mount_at(
                self.capture, options=["--staging", self.backing, *self.options], path=self.mounted.path
            )
        else:
            self.mounted = self.mount_at(self.capture, options=["--staging", self.backing, *self.options])
        self.root = self.mounted.staging
        self.set = self.root / self.name

    def copy(self, flow):
        shutil.copytree(flow, self.set / flow.name, copy_function=shutil.copyfile)

    def flow(self, number):
        return self.set / f"00000000-0000-4000-8000-{number:012}"

    @property
    def body(self):
        """The file that is edited most."""
        return self.flow(1) / "response.body"

    @property
    def flow_file(self):
        return self.root / f"{self.name}.mitm"

    @property
    def errors(self):
        return self.root / f"{self.name}.errors"

    def pack(self):
        """NAME.mitm as it is now: the same that flowcat packs of the folder behind it."""
        found = self.flow_file.read_bytes()
        version = (
            self.options[self.options.index("--format-version") + 1] if "--format-version" in self.options else "21"
        )
        expected = flowcat("-s", "--format-version", version, "--pack", self.backing / self.name, codes=(0, 4))
        assert found == expected
        assert self.flow_file.stat().st_size == len(found)
        assert not self.errors.exists()
        assert self.flow_file.name in os.listdir(self.root) and self.errors.name not in os.listdir(self.root)
        return found

    def states(self):
        return states(self.pack())

    def flows(self):
        """As Debian's mitmproxy reads them, at version 17."""
        return list(FlowReader(io.BytesIO(self.pack())).stream())

    def content(self):
        """Of the first flow's response, with its length as the header field tells it."""
        (response,) = [state["response"] for state in self.states() if state["id"] == self.flow(1).name]
        assert [b"Content-Length", b"%d" % len(response["content"])] in response["headers"]
        return response["content"]
