"""Every flow of the corpus, read back from its directory, is what mitmproxy's newest source makes of
it: state, URL and the digests of the decoded bodies."""

import base64
import hashlib
import json

import pytest
from conftest import CORPUS, needs_corpus
from flowdirs import by_number, read_state

pytestmark = needs_corpus

GOLDENS = sorted(path.name.removesuffix(".expected.json") for path in CORPUS.glob("*.expected.json"))

# Made up anew at each reading by mitmproxy, or the time of reading (the corpus says so).
MADE_UP_BY_OLD = {"client_conn.id", "server_conn.id"}
MADE_UP_BY_HAR = MADE_UP_BY_OLD | {"id", "timestamp_created", "client_conn.timestamp_start"}


def from_golden(value):
    if isinstance(value, dict):
        if set(value) == {"bytes"}:
            return base64.b64decode(value["bytes"])
        return {key: from_golden(member) for key, member in value.items()}
    return [from_golden(item) for item in value] if isinstance(value, list) else value


def differences(ours, golden, path=""):
    """Where two states differ. Numbers compare as numbers: mitmproxy turns 1 into 1.0 here and there."""
    if isinstance(golden, dict) and isinstance(ours, dict):
        for key in ours.keys() | golden.keys():
            place = f"{path}.{key}".lstrip(".")
            if key not in ours or key not in golden:
                yield place, ours.get(key, "MISSING"), golden.get(key, "MISSING")
            else:
                yield from differences(ours[key], golden[key], place)
    elif isinstance(golden, list) and isinstance(ours, list) and len(ours) == len(golden):
        for i, (a, b) in enumerate(zip(ours, golden)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(golden, (int, float)) and isinstance(ours, (int, float)):
        if ours != golden or isinstance(ours, bool) != isinstance(golden, bool):
            yield path, ours, golden
    elif ours != golden or type(ours) is not type(golden):
        yield path, ours, golden


def body(folder, side, message):
    """Content of no bytes has no file: then the state tells it from content that is not known."""
    path = folder / f"{side}.body"
    content = path.read_bytes() if path.exists() else (message or {}).get("content")
    assert path.exists() or not content
    return None if content is None else {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("name", [name for name in GOLDENS if name not in ("filters", "dumpfile-010.mitm")])
def test_state_url_and_bodies(mount, name):
    golden = json.loads((CORPUS / f"{name}.expected.json").read_text())
    folders = by_number(mount(CORPUS / name))
    assert len(folders) == len(golden["flows"])
    ignored = MADE_UP_BY_HAR if name.endswith("har") else MADE_UP_BY_OLD if "011" in name else set()
    for folder, expected in zip(folders, golden["flows"]):
        state = read_state(folder)
        wrong = [each for each in differences(state, from_golden(expected["state"])) if each[0] not in ignored]
        assert not wrong, f"{folder.name}: {wrong}"
        if state["type"] == "http":
            summary = json.loads((folder / "summary.json").read_text())
            assert summary["url"] == expected["pretty_url"]
            assert summary["host"] == expected["pretty_host"]
            assert body(folder, "request", state["request"]) == expected["request_body"]
            assert body(folder, "response", state["response"]) == expected["response_body"]


def test_compressed_har(mount):
    """It has no golden, but its entries are there."""
    folders = by_number(mount(CORPUS / "compressed.zhar"))
    assert folders
    assert all(read_state(folder)["type"] == "http" for folder in folders)


def test_too_old(run, tmp_path):
    result = run(CORPUS / "dumpfile-010.mitm", tmp_path / "mnt")
    assert result.returncode == 2
    assert "(0, 10)" in result.stderr
    assert "(0, 11)" in result.stderr
