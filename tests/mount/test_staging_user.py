"""Staging in a mount of a user who is not root, as most mounts are: the daemon may do no more than its user."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import CAPTURES, FLOWFS, LONGER, needs_root

DRIVER = FLOWFS.parents[1] / "tests" / "mount" / "random_operations"

pytestmark = [
    needs_root,
    pytest.mark.skipif(not os.stat(shutil.which("fusermount3") or "/").st_mode & 0o4000,
                       reason="without a setuid fusermount3 only root can mount"),
]

# In a place of its own, where everybody may use /dev/fuse, and from where no mount is left behind.
IN_A_MOUNT = """
set -e
mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
user="setpriv --reuid=65534 --regid=65534 --clear-groups"
$user prlimit --nofile="$2:$2" ./flowfs -f sample.mitm mnt &
daemon=$!
until $user mountpoint -q mnt; do kill -0 $daemon && sleep 0.02; done
status=0
$user sh -ec "$1" || status=$?
umount mnt
wait $daemon
exit $status
"""


@pytest.fixture
def own_mount():
    """own_mount(commands, open_files=4096): what they print; the user runs them where `mnt` is the mount, `plain` is a
    folder, and the daemon may have so many files open."""
    folder = Path(tempfile.mkdtemp(prefix="flowfs-test-"))
    folder.chmod(0o755)
    shutil.copy(FLOWFS, folder / "flowfs")
    shutil.copy(DRIVER, folder / "random_operations")
    shutil.copy(CAPTURES / "sample.mitm", folder)
    for name in ("mnt", "plain"):
        (folder / name).mkdir()
        os.chown(folder / name, 65534, 65534)

    def run(commands, open_files=4096):
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        result = subprocess.run([*apart, "sh", "-c", IN_A_MOUNT, "sh", commands, f"{open_files}"], cwd=folder, text=True,
                                capture_output=True, errors="replace", timeout=300 * max(1, LONGER))
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run.folder = folder
    yield run
    shutil.rmtree(folder)


def test_random_operations(own_mount):
    """--gentle: with modes that take the owner's rights away the daemon cannot do what an open file allows."""
    own_mount(f"""
        mkdir -p mnt/@staging/set/tree plain/set/tree
        ./random_operations --seed 1 --gentle --operations {int(20_000 * LONGER)} plain/set/tree mnt/@staging/set/tree
    """)


def test_what_it_makes_is_the_users(own_mount):
    own_mount("""
        umask 027
        cd mnt/@staging
        mkdir set && cp -r ../shop.example/* set && mkfifo set/fifo && ln -s a set/link
        test -s set.mitm
    """)
    for folder, folders, names in os.walk(own_mount.folder / "mnt"):
        for name in folders + names:
            status = os.lstat(os.path.join(folder, name))
            assert (status.st_uid, status.st_gid) == (65534, 65534)


def test_files_that_have_become_read_only(own_mount):
    """Whoever has one open goes on writing; whoever has not cannot. Git and cp -a make such files."""
    said = own_mount("""
        cd mnt/@staging
        (umask 0777; echo made > shut)
        exec 3> written
        chmod 400 written
        for number in $(seq 100); do echo $number >&3; done
        (echo no > written) 2>/dev/null || echo refused
        tail -n 1 written
        mkdir folder && touch folder/inside && chmod 400 folder
        ls folder 2>/dev/null
        chmod 700 folder
        stat -c %a%s shut
    """)
    assert said.split() == ["refused", "100", "inside", "05"]


def test_many_read_only_files(own_mount):
    """More than the daemon may have open, as a repository has."""
    own_mount("""
        mkdir mnt/@staging/many && cd mnt/@staging/many
        for number in $(seq 3000); do (umask 0277; echo $number > $number); done
        test $(cat * | wc -l) = 3000
    """, open_files=200)
