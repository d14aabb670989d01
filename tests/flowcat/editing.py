"""A flow as a folder that a test edits, and what two other readers make of what is packed: mitmproxy's
tnetstrings of the newest version, and Debian's mitmproxy, which reads version 17."""

import io

from conftest import flowcat
from mitmproxy.io import FlowReader, tnetstring
from tnetstring import dumps, http_flow


class Folder:
    """The one flow in a folder."""

    def __init__(self, path, state=None):
        self.root = path
        if state is None:
            self.path = path / "made"
            self.path.mkdir(parents=True)
            return
        capture = path.parent / f"{path.name}.mitm"
        capture.write_bytes(dumps(state))
        flowcat("--unpack", path, capture)
        (self.path,) = path.glob("*/*")
        self.before = self.state()

    def files(self):
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}

    def read(self, name):
        return (self.path / name).read_bytes()

    def write(self, name, content):
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def edit(self, name, old, new):
        content = self.read(name)
        assert content.count(old) == 1, (old, content)
        self.write(name, content.replace(old, new))

    def remove(self, *names):
        for name in names:
            (self.path / name).unlink()

    def state(self):
        return tnetstring.loads(flowcat("--pack", self.root).stdout)

    def flow(self):
        """As mitmproxy 8.1.1 has it."""
        (flow,) = FlowReader(io.BytesIO(flowcat("--pack", "--format-version", "17", self.root).stdout)).stream()
        return flow

    def changes(self):
        """What is not as it was: the places in the state, and what is there now."""
        return dict(differences(self.before, self.state()))

    def mistake(self):
        """What is said of it, without the place of the folder."""
        result = flowcat("--pack", self.root, code=2)
        assert result.stdout == b""
        first = result.stderr.decode().splitlines()[0]
        assert str(self.path) + "/" in first, first
        return first.split(str(self.path) + "/", 1)[1]


def differences(old, new, place=""):
    """(place, new value) of each difference; lists of another length are one."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            inner = f"{place}.{key}" if place else key
            if key in old and key in new:
                yield from differences(old[key], new[key], inner)
            else:
                yield inner, new.get(key, "GONE")
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        for number, pair in enumerate(zip(old, new)):
            yield from differences(*pair, f"{place}.{number}")
    elif old != new or type(old) is not type(new):
        yield place, new


def stream(kind, messages):
    state = {key: value for key, value in http_flow().items() if key not in ("request", "response", "websocket")}
    return {**state, "type": kind, "messages": messages}
