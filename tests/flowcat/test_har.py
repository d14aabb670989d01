"""HAR: what mitmproxy exports of each capture of the corpus, but for what har_write.h names; and back."""

import base64
import ipaddress
import json
import shutil
import subprocess
from datetime import datetime

import pytest
from conftest import CAPTURES, CORPUS, flowcat, needs_corpus

GOLDENS = sorted(path.name.removesuffix(".expected.har") for path in CORPUS.glob("*.expected.har"))

# HAR that was written by others must be read back as it is: all members of an entry that HAR knows.
BODIES = ("text", "encoding", "size", "compression")


def har_of(*arguments, code=0):
    return json.loads(flowcat("-t", "har", *arguments, code=code).stdout)["log"]["entries"]


def plain(entry):
    """Without the differences that are meant, and times as numbers."""
    entry = json.loads(json.dumps(entry))
    entry["startedDateTime"] = datetime.fromisoformat(entry["startedDateTime"].replace("Z", "+00:00")).timestamp()
    entry.pop("connection", None)
    entry.pop("comment", None)
    try:
        ipaddress.ip_address(entry.get("serverIPAddress", "::"))
    except ValueError:
        del entry["serverIPAddress"]  # HAR wants an address there
    if entry["response"]["status"] == 0:
        entry["response"]["content"].pop("mimeType", None)
    for side in ("request", "response"):
        entry[side].pop("headersSize")
        for cookie in entry[side]["cookies"]:
            cookie.pop("expires", None)
    for content in (entry["response"]["content"], entry["request"].pop("postData", {})):
        for member in BODIES:
            content.pop(member, None)
    return entry


def body(content):
    text = content.get("text") or ""
    return base64.b64decode(text) if content.get("encoding") == "base64" else text.encode("utf-8", "surrogateescape")


def is_text(content):
    return content.get("encoding") != "base64" and "\ufffd" not in (content.get("text") or "")


@needs_corpus
@pytest.mark.parametrize("name", GOLDENS)
def test_goldens(name):
    flows = json.loads((CORPUS / f"{name}.expected.json").read_text())["flows"]
    other = any(flow["state"]["type"] != "http" for flow in flows)
    ours = har_of(CORPUS / name, code=4 if other else 0)
    golden = json.loads((CORPUS / f"{name}.expected.har").read_text())["log"]["entries"]
    assert len(ours) == len(golden)
    for mine, theirs in zip(ours, golden):
        a, b = plain(mine), plain(theirs)
        # Theirs counts twice what a response that began before its request ended had in common with it.
        common = min(b["timings"]["wait"], 0)
        b["timings"]["send"], b["timings"]["wait"] = b["timings"]["send"] + common, b["timings"]["wait"] - common
        assert a.pop("time") == pytest.approx(b.pop("time") + common, abs=0.01)
        assert a.pop("timings") == pytest.approx(b.pop("timings"), abs=0.01)
        assert a == b
        # Where both have it as text, it is the same text.
        for side, member in (("request", "postData"), ("response", "content")):
            mine_content, their_content = mine[side].get(member), theirs[side].get(member)
            if mine_content and their_content and is_text(mine_content) and is_text(their_content):
                assert mine_content.get("text", "") == (their_content.get("text") or "")


def sizes(flow):
    return [(flow[side] or {}).get("size") or 0 for side in ("request", "response")]


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.mitm")) + sorted(CORPUS.glob("*.mitm")),
                         ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_flow_to_har_and_back(path, tmp_path):
    if path.name == "dumpfile-010.mitm":
        pytest.skip("too old to be read")
    before = [json.loads(line) for line in flowcat("-t", "jsonl", "-f", "~http", path).stdout.splitlines()]
    har = tmp_path / "a.har"
    har.write_bytes(flowcat("-t", "har", "-f", "~http", path).stdout)
    if not before:
        return
    after = [json.loads(line) for line in flowcat("-t", "jsonl", har).stdout.splitlines()]
    assert len(after) == len(before)
    for old, new in zip(before, after):
        # A URL has no place for `*`, the target of OPTIONS.
        # A hostile host that is none gives a URL that is read another way.
        odd = any(byte in old["host"] for byte in "/?#\x1b")
        if old["method"] != "CONNECT" and old["host"] and old["path"] != "*" and not odd:
            assert (new["method"], new["url"]) == (old["method"].upper(), old["url"])
        assert new["status"] == old["status"]
        assert new["start"] == old["start"]
        decodes = all((old[side] or {}).get("decoded") in (True, None) for side in ("request", "response"))
        if decodes:
            assert sizes(new) == sizes(old)


@needs_corpus
@pytest.mark.parametrize("name", ["chrome.har", "firefox.har", "charles.har", "postdata.har", "with-bom.har"])
def test_har_to_flow_and_back(name, tmp_path):
    """What HAR can hold stays: the second export is the first."""
    first = har_of(CORPUS / name)
    again = tmp_path / "again.har"
    again.write_bytes(flowcat("-t", "har", CORPUS / name).stdout)
    second = har_of(again)
    original = json.loads((CORPUS / name).read_text("utf-8-sig"))["log"]["entries"]
    assert len(first) == len(second) == len(original)
    for a, b in zip(first, second):
        for entry in (a, b):
            entry.pop("connection", None)
            assert min(entry["timings"][phase] for phase in ("send", "wait", "receive")) >= 0
        assert b.pop("time") == pytest.approx(a.pop("time"), abs=0.01)
        timings = [entry.pop("timings") for entry in (a, b)]
        assert sum(timings[1].values()) == pytest.approx(sum(timings[0].values()), abs=2.01)
        assert a == b
    for entry, source in zip(first, original):
        assert entry["request"]["method"] == source["request"]["method"]
        assert entry["response"]["status"] == source["response"]["status"]


VALIDATE = """
const validate = require("har-validator/lib/async");
const fs = require("fs");
for (const path of process.argv.slice(2))
    validate.har(JSON.parse(fs.readFileSync(path)), (error, valid) =>
        console.log(path, valid, error ? JSON.stringify(error.errors.slice(0, 3)) : ""));
"""


def test_schema(tmp_path):
    """The published JSON schema of HAR 1.2 holds for what is written of each capture."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    install = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "har-validator@5.1.5"],
                             cwd=tmp_path, capture_output=True, timeout=120)
    if install.returncode:
        pytest.skip("the schema cannot be had from npm")
    paths = []
    captures = [*CAPTURES.glob("*.mitm"), *CAPTURES.glob("*.har"), *CORPUS.glob("*.mitm"), *CORPUS.glob("*.har")]
    for capture in captures:
        if capture.name == "dumpfile-010.mitm" or ".expected." in capture.name:
            continue
        paths.append(tmp_path / f"{len(paths)}-{capture.name}.json")
        paths[-1].write_bytes(flowcat("-t", "har", "-f", "~http", "--recover", capture).stdout)
    (tmp_path / "validate.js").write_text(VALIDATE)
    said = subprocess.run(["node", "validate.js", *paths], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == len(paths)
    assert [line for line in lines if " true " not in line] == []
