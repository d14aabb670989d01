"""Many readers at once see what one sees, also while flows are read and dropped all the time."""

import subprocess

import pytest
from conftest import CAPTURES, PROJECT

READERS = 8


def checksums(path):
    command = ["sh", "-c", "find . -type f -exec cksum {} + | sort", "sh"]
    return subprocess.Popen(command, cwd=path, stdout=subprocess.PIPE)


@pytest.mark.parametrize("options", [(), ("--cache", "100K"), ("-s",)])
def test_readers(mount, tmp_path, options):
    capture = tmp_path / "many.mitm"
    subprocess.run([PROJECT / "scripts" / "make-capture", "--flows", "300", capture], check=True)
    mounted = mount(capture, CAPTURES / "encodings.mitm", options=options)
    readers = [checksums(mounted.path) for _ in range(READERS)]
    results = {reader.communicate(timeout=120)[0] for reader in readers}
    assert len(results) == 1
    alone = mount(capture, CAPTURES / "encodings.mitm", options=("-s",))
    assert checksums(alone.path).communicate(timeout=120)[0] in results
