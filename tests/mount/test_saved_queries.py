"""Queries that mkdir saves and rmdir forgets."""

import errno
import json
import os
import subprocess
import sys

import pytest
from conftest import CAPTURES, FLOWFS, is_mounted, needs_root, wait_until
from tnetstring import dumps, http_flow, write

SAMPLE = CAPTURES / "sample.mitm"


def refused(code, call, *arguments):
    with pytest.raises(OSError) as failed:
        call(*arguments)
    assert failed.value.errno == code


def use_many(root):
    for number in range(100, 170):
        assert (root / f"~c {number}").is_dir()


def test_saved_until_removed(mount):
    root = mount(SAMPLE).path / "@query"
    os.mkdir(root / "~u %2Fapi%2F & ~c 500")
    assert os.listdir(root) == ["~u %2Fapi%2F & ~c 500"]
    use_many(root)
    assert len(os.listdir(root)) == 65 and "~u %2Fapi%2F & ~c 500" in os.listdir(root)
    (link,) = (root / "~u %2Fapi%2F & ~c 500").iterdir()
    assert json.loads((link / "summary.json").read_text())["status"] == 500
    refused(errno.EEXIST, os.mkdir, root / "~u %2Fapi%2F & ~c 500")
    os.rmdir(root / "~u %2Fapi%2F & ~c 500")
    assert len(os.listdir(root)) == 64 and "~u %2Fapi%2F & ~c 500" not in os.listdir(root)
    # It is a query like any other again.
    assert len(os.listdir(root / "~u %2Fapi%2F & ~c 500")) == 1
    os.mkdir(root / "~u %2Fapi%2F & ~c 500")
    use_many(root)
    assert "~u %2Fapi%2F & ~c 500" in os.listdir(root)


def test_one_used_before_can_be_saved_and_forgotten(mount):
    root = mount(SAMPLE, options=("--query", "~m POST")).path / "@query"
    assert len(os.listdir(root / "~c 404")) == 1
    os.mkdir(root / "~c 404")
    assert sorted(os.listdir(root)) == ["~c 404", "~m POST"]
    use_many(root)
    assert {"~c 404", "~m POST"} <= set(os.listdir(root))
    os.rmdir(root / "~c 404")
    os.rmdir(root / "~m POST")
    os.rmdir(root / "~c 169")
    assert not {"~c 404", "~m POST", "~c 169"} & set(os.listdir(root))
    assert len(os.listdir(root)) == 63


def test_what_is_not_there_is_not_removed(mount):
    root = mount(SAMPLE).path / "@query"
    for name in ("~c 404", "~c x", ".git"):
        refused(errno.ENOENT, os.rmdir, root / name)
    assert os.listdir(root) == []


def test_mistakes_are_told(mount):
    mounted = mount(SAMPLE)
    root = mounted.path / "@query"
    for name in ("~c 404 & (", "~u [", ".hidden"):
        refused(errno.EINVAL, os.mkdir, root / name)
    assert os.listdir(root) == []
    errors = (mounted.path / ".flowfs/errors").read_text().splitlines()
    assert [line.split(": ")[0] for line in errors] == ["@query/~c 404 & (", "@query/~u [", "@query/.hidden"]
    assert "at byte 10: " in errors[0]


def test_the_usual_commands(mount):
    root = mount(SAMPLE).path / "@query"
    for _ in range(2):
        subprocess.run(["mkdir", "-p", root / "~c 404"], check=True)
        os.makedirs(root / "~c 500", exist_ok=True)
    assert sorted(os.listdir(root)) == ["~c 404", "~c 500"]
    failed = subprocess.run(["mkdir", root / "~c 404"], capture_output=True, text=True)
    assert failed.returncode == 1 and "File exists" in failed.stderr
    subprocess.run(["rmdir", root / "~c 404", root / "~c 500"], check=True)
    assert os.listdir(root) == []


def test_only_queries_are_made(mount):
    mounted = mount(SAMPLE, options=("--query", "~c 404"))
    for place in ("new", "@by/new", "@by/method/NEW", "@query/~c 404/new", f"{mounted.hosts()[0].name}/new"):
        refused(errno.EROFS, os.mkdir, mounted.path / place)
    for place in ("@by/method/GET", "@by/method", mounted.hosts()[0].name, "@query"):
        refused(errno.EROFS, os.rmdir, mounted.path / place)
    refused(errno.EROFS, os.rename, mounted.path / "@query/~c 404", mounted.path / "@query/~c 500")
    refused(errno.EROFS, os.unlink, next((mounted.path / "@query/~c 404").iterdir()))


def test_read_only(mount):
    root = mount(SAMPLE, options=("-o", "ro", "--query", "~c 404")).path / "@query"
    refused(errno.EROFS, os.mkdir, root / "~c 500")
    refused(errno.EROFS, os.rmdir, root / "~c 404")
    assert os.listdir(root) == ["~c 404"]


def test_who_is_inside_stays(mount, tmp_path):
    capture = write(tmp_path / "a.mitm", http_flow(1))
    root = mount(capture).path / "@query"
    os.mkdir(root / "~m GET")
    inside = os.open(root / "~m GET", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(root / "~m GET")
    with open(capture, "ab") as file:
        file.write(dumps(http_flow(2)))
    os.mkdir(root / "~m GET")
    wait_until(lambda: len(os.listdir(root / "~m GET")) == 2)
    os.close(inside)
    use_many(root)
    assert "~m GET" in os.listdir(root)


@needs_root
def test_where_calls_cannot_be_seen(tmp_path):
    """Without the right to trace others only the programs' names are known: `mkdir` still saves."""
    path = tmp_path / "mnt"
    command = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", FLOWFS, SAMPLE, path]
    subprocess.run(command, check=True, timeout=60)
    try:
        root = path / "@query"
        subprocess.run(["mkdir", root / "~c 404"], check=True)
        made = subprocess.run([sys.executable, "-c", "import os, sys; os.mkdir(sys.argv[1])", root / "~c 500"],
                              capture_output=True, text=True)
        assert "File exists" in made.stderr
        use_many(root)
        assert "~c 404" in os.listdir(root) and "~c 500" not in os.listdir(root)
        subprocess.run(["rmdir", root / "~c 404"], check=True)
        assert "~c 404" not in os.listdir(root)
    finally:
        subprocess.run(["umount", "-l", path], check=False)
    assert not is_mounted(path)
