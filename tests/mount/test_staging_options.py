"""Where staged files are kept, and how a mount is asked for it."""

import os
import shutil

import pytest
from conftest import CAPTURES, is_mounted, wait_until

SAMPLE = CAPTURES / "sample.mitm"


def stage_a_flow(mounted):
    """A set of one flow; the bytes of its flow file."""
    staging = mounted.path / "@staging"
    flow = mounted.path / "shop.example"
    shutil.copytree(next(path for path in sorted(flow.iterdir()) if path.name != ".flowfs"), staging / "fix",
                    ignore=shutil.ignore_patterns(".flowfs"))
    return (staging / "fix.mitm").read_bytes()


def test_files_stay_at_the_same_path(mount):
    mounted = mount(SAMPLE)
    packed = stage_a_flow(mounted)
    assert os.listdir(mounted.path / "@staging" / "fix")
    mounted.end()
    assert (mounted.path / "fix.mitm").read_bytes() == packed
    assert (mounted.path / "fix" / "request.headers").exists()


def test_a_mount_that_stages_nothing_leaves_nothing(mount, tmp_path):
    mounted = mount(SAMPLE)
    assert os.listdir(mounted.path / "@staging") == []
    mounted.end()
    assert os.listdir(mounted.path) == []


@pytest.mark.parametrize("how", ["--staging", "-o"])
def test_a_folder_of_its_own(mount, tmp_path, how):
    folder = tmp_path / "made, if missing"
    value = str(folder) if how == "--staging" else "staging=" + str(folder).replace(",", "\\,")
    mounted = mount(SAMPLE, options=(how, value))
    packed = stage_a_flow(mounted)
    wait_until(lambda: (folder / "fix.mitm").exists() and (folder / "fix.mitm").read_bytes() == packed)
    mounted.end()
    assert os.listdir(mounted.path) == []
    assert (folder / "fix.mitm").read_bytes() == packed
    again = mount(SAMPLE, options=(how, value))
    assert (again.path / "@staging" / "fix.mitm").read_bytes() == packed


def test_a_folder_that_others_change(mount, tmp_path):
    folder = tmp_path / "shared"
    mounted = mount(SAMPLE, options=("--staging", folder))
    packed = stage_a_flow(mounted)
    staging = mounted.path / "@staging"
    assert (staging / "fix" / "request.headers").read_text().startswith("GET ")
    text = (folder / "fix" / "request.headers").read_text()
    (folder / "fix" / "request.headers").write_text(text.replace("GET ", "PUT ", 1))
    assert (staging / "fix" / "request.headers").read_text().startswith("PUT ")
    changed = (staging / "fix.mitm").read_bytes()
    assert changed != packed and b"3:PUT," in changed
    (folder / "new").mkdir()
    assert set(os.listdir(staging)) >= {"fix", "new"}
    (folder / "fix" / "request.headers").write_text("GET\n")
    assert "fix.errors" in os.listdir(staging)
    with pytest.raises(OSError, match="Bad message"):
        (staging / "fix.mitm").read_bytes()


def test_read_only(mount):
    mounted = mount(SAMPLE, options=("-o", "ro"))
    assert "@staging" not in os.listdir(mounted.path)
    assert not (mounted.path / "@staging").exists()


def test_one_mount_a_folder(mount, run, tmp_path):
    folder = tmp_path / "folder"
    mount(SAMPLE, options=("--staging", folder))
    result = run("--staging", folder, SAMPLE, tmp_path / "other")
    assert result.returncode == 3
    assert "in use by another mount" in result.stderr
    assert not is_mounted(tmp_path / "other")


def test_a_staging_folder_that_is_none(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("--staging", tmp_path / "file", SAMPLE, tmp_path / "mnt")
    assert result.returncode == 3
    assert "file" in result.stderr and "Not a directory" in result.stderr


def test_control_is_not_listed_where_it_would_be_copied_and_removed(mount):
    mounted = mount(SAMPLE, options=("--show-control",))
    stage_a_flow(mounted)
    staged = mounted.path / "@staging" / "fix"
    assert ".flowfs" not in os.listdir(staged)
    assert {"curl", "flows.har", "stats.txt"} <= set(os.listdir(staged / ".flowfs"))
    assert (staged / ".flowfs" / "flows.mitm").read_bytes() == (staged.parent / "fix.mitm").read_bytes()
    shutil.copytree(staged, staged.parent / "copy")
    shutil.rmtree(staged)
    assert sorted(os.listdir(staged.parent)) == ["copy", "copy.mitm"]
