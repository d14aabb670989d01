"""flowcat as a command, and where the captures are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FLOWCAT = Path(os.environ.get("FLOWCAT", PROJECT / "build" / "codec" / "flowcat"))
CAPTURES = PROJECT / "tests" / "captures"
CORPUS = Path(os.environ.get("FLOWFS_CORPUS", PROJECT.parent / "shared" / "corpus"))

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of captures at {CORPUS}")

# The mounts' tests know how to make captures.
sys.path.append(str(PROJECT / "tests" / "mount"))


def flowcat(*arguments, code=0, **options):
    """The output of flowcat, which must end with that exit code."""
    result = subprocess.run([FLOWCAT, *map(str, arguments)], capture_output=True, timeout=120, **options)
    assert result.returncode == code, result.stderr.decode(errors="replace")
    return result


@pytest.fixture
def folder(tmp_path):
    """folder(request={...}, response={...}, ...): a new flow's folder; folder(None): an empty one."""
    from editing import Folder
    from tnetstring import http_flow

    made = []

    def make(*empty, **changes):
        made.append(None)
        return Folder(tmp_path / f"flows{len(made)}", None if empty else http_flow(**changes))

    return make
