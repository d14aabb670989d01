"""The README's transcripts: each command is run by a shell, in a folder like the project's, and says what stands
there."""

import os
import re
import shutil
import ssl
import subprocess
import sys

import pytest
from conftest import FLOWFS, PROJECT

sys.path += [str(PROJECT / "scripts"), str(PROJECT / "tests" / "flowcat")]

NEEDS = ("jq", "mitmdump", "openssl")
TRANSCRIPTS = re.findall(r"```console\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)

# Where the sample capture was recorded, and requests of it are sent when they are replayed.
RECORDED_PORT = 46191


def steps(transcript):
    """Commands with what they say."""
    found = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture
def recorded_server(tmp_path):
    """The server that was recorded, at its old place."""
    from fixture_server import Handler, Server
    from recorder import certificate

    class There(Server):
        def server_bind(self):
            self.server_address = ("127.0.0.1", RECORDED_PORT)
            super().server_bind()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = There(Handler, context)
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path):
    """A folder with the captures; the commands are in PATH. What is mounted is unmounted with the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tests").symlink_to(PROJECT / "tests")
    yield folder
    if os.path.ismount(folder / "mnt"):
        subprocess.run(["umount", "-l", folder / "mnt"], check=True)


def run_all(commands, folder):
    """What each says, with errors; in one shell, so that `cd` counts."""
    mark = "===== next command ====="
    script = "exec 2>&1\n" + "".join(f"echo '{mark}'\n{command}\necho\n" for command in commands)
    build = FLOWFS.parent.parent
    environment = {
        **os.environ,
        "PATH": f"{build / 'fs'}:{build / 'codec'}:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "LC_ALL": "C.UTF-8",
    }
    said = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    ).stdout
    return said.split(mark)[1:]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda text: steps(text)[0][0][:40])
def test_transcript(project, recorded_server, transcript):
    missing = [need for need in NEEDS if not shutil.which(need)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    expected = steps(transcript)
    found = run_all([command for command, _ in expected], project)
    for (command, lines), said in zip(expected, found, strict=True):
        # A terminal shows names side by side.
        assert said.split() == " ".join(lines).split(), command


def test_there_are_transcripts():
    commands = [command for transcript in TRANSCRIPTS for command, _ in steps(transcript)]
    assert any("mitmdump" in command and ".mitm" in command for command in commands)
    assert any(command.startswith("flowcat --pack") for command in commands)
