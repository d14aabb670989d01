"""The tools that people use, on a mount: what they find is what the files hold."""

import filecmp
import json
import os
import shutil
import subprocess
import tarfile
from datetime import datetime, timezone

import pytest
from conftest import CAPTURES


@pytest.fixture
def sample(mount):
    return mount(CAPTURES / "sample.mitm")


def output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, **options).stdout


def all_files(path):
    """The regular files: links are the second way to a thing."""
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(path for path in paths if not os.path.islink(path))


def test_find(sample):
    files = all_files(sample.path)
    assert sorted(output("find", sample.path, "-type", "f").splitlines()) == files
    named = [path for path in files if path.endswith("/request.headers")]
    assert sorted(output("find", sample.path, "-name", "request.headers").splitlines()) == named
    large = [path for path in files if os.path.getsize(path) > 1000]
    assert 0 < len(large) < len(files)
    assert sorted(output("find", sample.path, "-type", "f", "-size", "+1000c").splitlines()) == large


def test_find_by_time(sample):
    starts = {path: json.loads((path / "summary.json").read_text())["start_epoch"] for path in sample.flows()}
    middle = sorted(starts.values())[len(starts) // 2]
    when = datetime.fromtimestamp(middle, timezone.utc).isoformat()
    found = output("find", sample.path, "-mindepth", "2", "-maxdepth", "2", "-newermt", when, "-not", "-path", "*/@by/*").splitlines()
    assert sorted(found) == sorted(str(path) for path, start in starts.items() if start > middle)


@pytest.mark.parametrize("command", [["grep", "-rlF"], ["rg", "-lFuuu"]])
def test_grep(sample, command):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    for needle in ("application/json", "HTTP/1.1", "quick brown fox"):
        holding = [path for path in all_files(sample.path) if needle.encode() in open(path, "rb").read()]
        assert holding
        assert sorted(output(*command, needle, sample.path).splitlines()) == holding


def test_jq(sample):
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    files = [str(path / "summary.json") for path in sample.flows()]
    found = output("jq", "-r", ".status", *files).split()
    assert found == [str(json.load(open(path))["status"]).replace("None", "null") for path in files]
    assert "200" in found


def test_du(sample):
    total = sum(os.lstat(path).st_blocks * 512 for path in [*all_files(sample.path), sample.path / "@staging"])
    assert int(output("du", "-s", "-B1", sample.path).split()[0]) == total
    everything = [os.path.join(folder, name) for folder, folders, names in os.walk(sample.path)
                  for name in folders + names]
    apparent = sum(os.lstat(path).st_size for path in everything)
    assert int(output("du", "-s", "-b", sample.path).split()[0]) == apparent


def same_trees(a, b):
    return subprocess.run(["diff", "-r", a, b], timeout=60).returncode == 0


def test_two_mounts_are_the_same(sample, mount):
    other = mount(CAPTURES / "sample.mitm")
    assert same_trees(sample.path, other.path)
    assert not same_trees(sample.path, mount(CAPTURES / "http1.mitm").path)


@pytest.mark.parametrize("command", ["cp -r", "cp -a", "rsync -a"])
def test_copies(sample, tmp_path, command):
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    copy = tmp_path / "copy"
    subprocess.run([*command.split(), f"{sample.path}/", copy], check=True, timeout=60)
    assert same_trees(sample.path, copy)
    if "-a" in command:
        assert int(copy.stat().st_mtime) == int(sample.path.stat().st_mtime)
    # What was copied out can be edited at once.
    for path in all_files(copy):
        assert os.stat(path).st_mode & 0o200
    if command == "rsync -a":
        assert output("rsync", "-an", "--itemize-changes", f"{sample.path}/", copy) == ""


def test_tar(sample, tmp_path):
    archive = tmp_path / "all.tar"
    subprocess.run(["tar", "-cf", archive, "-C", sample.path, "."], check=True, timeout=60)
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar if member.isfile()}
        assert len(members) == len(all_files(sample.path))
        for name, member in members.items():
            assert tar.extractfile(member).read() == (sample.path / name).read_bytes()


def test_extended_attributes(sample):
    seen = 0
    for folder in sample.flows():
        summary = json.loads((folder / "summary.json").read_text())
        path = folder / "response.body"
        if not path.exists():
            continue
        kind = summary["response"]["content_type"]
        expected = {"user.xdg.origin.url": summary["url"].encode()}
        if kind:
            expected["user.mime_type"] = kind.encode()
        assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == expected
        assert os.listxattr(folder / "summary.json") == []
        assert os.listxattr(folder) == []
        with pytest.raises(OSError) as caught:
            os.getxattr(path, "user.other")
        assert caught.value.strerror == "No data available"
        seen += 1
    assert seen > 5


def test_read_only(sample):
    folder = sample.flows()[0]
    attempts = [
        lambda: open(folder / "request.headers", "w"),
        lambda: open(folder / "new", "w"),
        lambda: os.mkdir(folder / "new"),
        lambda: os.unlink(folder / "request.headers"),
        lambda: os.rmdir(folder),
        lambda: os.rename(folder / "request.headers", folder / "other"),
        lambda: os.symlink("a", folder / "link"),
        lambda: os.link(folder / "request.headers", folder / "link"),
        lambda: os.chmod(folder / "request.headers", 0o600),
        lambda: os.truncate(folder / "request.headers", 0),
        lambda: os.utime(folder / "request.headers", (1, 1)),
        lambda: os.setxattr(folder / "request.headers", "user.a", b"b"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.strerror == "Read-only file system"


def test_listing_in_small_steps(sample):
    """Positions in a listing hold: reading it piece by piece gives the same as at once."""
    for folder in [sample.path, *sample.path.iterdir(), *sample.flows()]:
        whole = sorted(os.listdir(folder))
        assert len(set(whole)) == len(whole)
        found = output("perl", "-e", "opendir(D, $ARGV[0]); while (defined($_ = readdir(D))) { push @n, $_;"
                       "if (@n % 3 == 0) { my $at = telldir(D); rewinddir(D); readdir(D); seekdir(D, $at); } }"
                       'print join("\\n", grep { !/^\\.\\.?$/ } @n)', folder)
        assert sorted(found.splitlines()) == whole


def test_names_that_are_not_there(sample):
    folder = sample.flows()[0]
    for path in (sample.path / ".gitignore", folder / ".ignore", folder / "response", folder.parent / "nothing",
                 folder / "messages" / "0001-client.txt", folder / "error"):
        with pytest.raises(FileNotFoundError):
            path.stat()
    with pytest.raises(NotADirectoryError):
        (folder / "summary.json" / "x").stat()


def test_messages(mount):
    mounted = mount(CAPTURES / "websocket.mitm")
    (first,) = [path for path in mounted.flows() if len(list((path / "messages").iterdir())) > 4]
    assert (first / "messages" / "0001-client.txt").read_text() == "hello"
    assert (first / "messages" / "0002-server.txt").read_text() == "HELLO"
    assert not (first / "messages" / "0001-server.txt").exists()
    assert not (first / "messages" / "1-client.txt").exists()


def test_files_compare(sample, mount):
    """filecmp goes by stat first: equal flows are equal there too."""
    other = mount(CAPTURES / "sample.mitm")
    folder = sample.flows()[3]
    same = other.path / folder.relative_to(sample.path)
    names = os.listdir(folder)
    assert filecmp.cmpfiles(folder, same, names) == (names, [], [])
