"""What the sections of bench share: times taken and printed, and mounts that end."""
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path


def note(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def timed(command, **options):
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, **options)
    return time.perf_counter() - start


def warm(path):
    """Has the kernel keep the file's pages, so that no disk is measured."""
    subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)


def seconds(times):
    return f"{statistics.median(times):.3f} s"


def ratio(times, peer):
    return f"{statistics.median(times) / statistics.median(peer):.2f}"


def table(head, rows):
    print("\n| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


class Mount:
    """A file system mounted by `program image mountpoint`; leaves when the block ends."""

    def __init__(self, program, image, mountpoint, debug_log=None, options=None):
        given = ["-o", options] if options else []
        self.command = [str(program), *given, str(image), str(mountpoint)]
        self.mountpoint = str(mountpoint)
        self.debug_log = debug_log
        self.daemon = None
        self.pid = None

    def __enter__(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        start = time.perf_counter()
        if self.debug_log:
            self.command.insert(1, "-d")
            with open(self.debug_log, "wb") as log:
                self.daemon = subprocess.Popen(self.command, stdout=log, stderr=log)
        else:
            subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)
        self.seconds = time.perf_counter() - start
        try:
            self.wait_until(lambda: os.path.ismount(self.mountpoint))
            self.pid = self.daemon.pid if self.daemon else self.find_process()
        except Exception:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        unmount = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        if subprocess.run([*unmount, self.mountpoint]).returncode != 0:
            subprocess.run([*unmount, "-l" if os.geteuid() == 0 else "-z", self.mountpoint])
        # What a daemon does when it ends is nobody else's time.
        if self.daemon:
            self.daemon.wait(timeout=60)
        elif self.pid:
            self.wait_until(lambda: not self.is_running(self.pid))

    @staticmethod
    def is_running(pid):
        try:
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state != b"Z"  # some systems take a second to bury an orphan

    @staticmethod
    def wait_until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("a file system did not start or end within a minute")
            time.sleep(0.005)

    def find_process(self):
        wanted = "\0".join(self.command).encode() + b"\0"
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (directory / "cmdline").read_bytes() == wanted:
                    return int(directory.name)
        raise LookupError(f"no process serves {self.mountpoint}")

    def memory(self, field="VmRSS"):
        """Bytes of memory that the daemon occupies."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) * 1024
