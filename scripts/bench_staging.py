"""Section f of bench: staging beside the plain folder, and making flow files of sets."""
import os
import shutil
import statistics
import subprocess
import time

from bench_tools import Mount, note, ratio, seconds, table, timed

PIECE = 1 << 20


def write_and_sync(path, size):
    """Seconds to write a new file in pieces of 1 MiB and sync it."""
    piece = os.urandom(PIECE)
    os.sync()
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    spent = time.perf_counter() - start
    os.unlink(path)
    return spent


def write_row(bench, folder):
    plain = folder / "plain"
    plain.mkdir()
    size = bench.options.write_size * PIECE
    own, peer = [], []
    with Mount(bench.flowfs, bench.capture(100), bench.directory / "mnt",
               options=f"staging={folder / 'staged'}") as mount:
        staging = f"{mount.mountpoint}/@staging/big"
        # The first round brings memory to the system that the other rounds then have.
        for round_number in range(bench.options.rounds + 1):
            note(f"writing into staging, round {round_number}")
            own.append(write_and_sync(staging, size))
            peer.append(write_and_sync(plain / "big", size))
    return [f"{size / 1e9:.1f} GB written in pieces of 1 MiB, then fsync", seconds(own[1:]),
            "the same on the plain folder", seconds(peer[1:]),
            f"{ratio(own[1:], peer[1:])} × the time"]


def look(path):
    start = time.perf_counter()
    size = os.stat(path).st_size
    return time.perf_counter() - start, size


def pack_rows(bench, folder):
    flows = bench.options.pack_flows
    staged = folder / "packed"
    staged.mkdir()
    note(f"unpacking {flows} flows")
    subprocess.run([bench.options.flowcat, "--unpack", staged / "set", bench.capture(flows)],
                   check=True)
    packs, reads, repacks, copies = [], [], [], []
    files = sorted((staged / "set").glob("*/*/request.headers"))
    for round_number in range(bench.options.rounds):
        note(f"packing, round {round_number + 1}")
        with Mount(bench.flowfs, bench.capture(100), bench.directory / "mnt",
                   options=f"staging={staged}") as mount:
            pack = f"{mount.mountpoint}/@staging/set.mitm"
            spent, size = look(pack)
            packs.append(spent)
            for path in files[round_number::len(files) // 3]:
                edited = f"{mount.mountpoint}/@staging/{path.relative_to(staged)}"
                with open(edited, "a", encoding="ascii") as file:
                    file.write("X-Edited: yes\n")
                repacks.append(look(pack)[0])
        reads.append(timed(["tar", "-cf", "/dev/null", "-C", staged, "set"]))
        copies.append(timed(["cp", staged / "set.mitm", staged / "copy"]))
        (staged / "set.mitm").unlink()
    shutil.rmtree(staged)
    speed = size / 1e6 / statistics.median(packs)
    return [[f"first look at a set of {flows:,} flows: {size / 1e6:.0f} MB, {speed:.0f} MB/s",
             seconds(packs), "`tar -cf /dev/null` of its folder", seconds(reads),
             f"{ratio(packs, reads)} × the time"],
            ["the look after one edit", seconds(repacks), "`cp` of the flow file",
             seconds(copies), f"{ratio(repacks, copies)} × the time"]]


def run(bench):
    folder = bench.directory / "staging"
    folder.mkdir()
    rows = [write_row(bench, folder), *pack_rows(bench, folder)]
    print(f"\n**Staging**: medians of {bench.options.rounds}; with the mount's files on the disk of "
          "the plain folder. A look at a flow file makes it current first.")
    table(["", "staging", "beside it", "", ""], rows)
