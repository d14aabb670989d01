"""libflowcodec as others use it: installed into a clean prefix, found by pkg-config, linked shared and static,
and compared with flowcat."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import CAPTURES, FLOWCAT, PROJECT, flowcat
from tnetstring import dumps, http_flow, write

BUILD = FLOWCAT.parents[1]
EXAMPLE = PROJECT / "tests" / "library" / "example.c"
LIBRARY = BUILD / "codec" / "libflowcodec.so"


def run(*command, code=0, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, timeout=120, **options)
    assert result.returncode == code, (command, result.stdout, result.stderr)
    return result


def build_option(name):
    options = json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())
    return next(option["value"] for option in options if option["name"] == name)


def compiler():
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    return commands[0]["command"].split()[0]


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root)
    return root


@pytest.fixture(scope="session")
def pkg_config(prefix):
    (file,) = prefix.rglob("flowcodec.pc")
    environment = os.environ | {"PKG_CONFIG_PATH": str(file.parent), "PKG_CONFIG_SYSROOT_DIR": str(prefix)}

    def ask(*arguments):
        return run("pkg-config", *arguments, "flowcodec", env=environment, text=True).stdout.split()

    return ask


def sanitize():
    which = build_option("b_sanitize")
    return [] if which == "none" else [f"-fsanitize={which}"]


@pytest.fixture(scope="session", params=["shared", "static"])
def example(request, prefix, pkg_config, tmp_path_factory):
    program = tmp_path_factory.mktemp(request.param) / "example"
    (library,) = {path.parent for path in prefix.rglob("libflowcodec.a")}
    if request.param == "shared":
        libraries = [*pkg_config("--libs"), f"-Wl,-rpath,{library}"]
    else:
        libraries = [library / "libflowcodec.a",
                     *[word for word in pkg_config("--static", "--libs") if word != "-lflowcodec"]]
    run(compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", *sanitize(), *pkg_config("--cflags"),
        EXAMPLE, "-o", program, *libraries)
    linked = run("readelf", "-d", program, text=True).stdout
    assert ("libflowcodec.so.0" in linked) == (request.param == "shared")
    return program


def lines(output):
    return output.decode().splitlines()


def test_only_what_the_header_declares_is_exported(prefix):
    header = re.sub(r"/\*.*?\*/|typedef [^;]*;", "", (PROJECT / "codec/codec.h").read_text(), flags=re.S)
    declared = set(re.findall(r"\b(flowcodec_[a-z_]+)\(", header))
    (static,) = prefix.rglob("libflowcodec.a")
    for library, options in [(LIBRARY, ["-D"]), (static, ["-g"])]:
        symbols = run("nm", *options, "--defined-only", library, text=True).stdout.splitlines()
        names = {line.split()[2].partition("@")[0] for line in symbols if re.match(r"[0-9a-f]+ [TDBRVW] ", line)}
        names = {name for name in names if not re.match("(__asan|__odr_asan|__ubsan|asan[._]|_init|_fini|__local_asan)", name)}
        assert names == declared
    versions = run("readelf", "--version-info", "-W", LIBRARY, text=True).stdout
    assert "FLOWCODEC_0.1" in versions


def test_the_header_is_cplusplus_too(pkg_config, tmp_path):
    source = tmp_path / "uses.cc"
    source.write_text('#include <flowcodec/codec.h>\nint main() { return *flowcodec_version() == 0; }\n')
    run(shutil.which("g++") or "clang++", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", *pkg_config("--cflags"), source)


def test_the_readmes_program(prefix, pkg_config, tmp_path):
    text = (PROJECT / "README.md").read_text()
    source = tmp_path / "list.c"
    source.write_text(re.search(r"```c\n(.*?)```", text, re.S)[1])
    (library,) = {path.parent for path in prefix.rglob("libflowcodec.a")}
    run(compiler(), *sanitize(), source, "-o", tmp_path / "list", *pkg_config("--cflags", "--libs"),
        f"-Wl,-rpath,{library}")
    found = lines(run(tmp_path / "list", CAPTURES / "sample.mitm").stdout)
    assert found == [f"{each['status'] or 0} {each['url']}" for each in summaries(CAPTURES / "sample.mitm")]


def summaries(*captures):
    return [json.loads(line) for line in lines(flowcat("-t", "jsonl", *captures).stdout)]


@pytest.mark.parametrize("name", ["sample.mitm", "types.mitm", "sample.har", "sample.zhar", "sample.mitm.gz"])
def test_it_reads_what_flowcat_reads(example, name):
    found = [line.split(" ")[:2] for line in lines(run(example, "list", CAPTURES / name).stdout)]
    assert found == [[each["id"], each["type"].replace("websocket", "http")] for each in summaries(CAPTURES / name)]
    assert len(found) > 2


def test_it_tells_what_flows_have(example):
    found = lines(run(example, "list", CAPTURES / "sample.mitm").stdout)
    for line, summary in zip(found, summaries(CAPTURES / "sample.mitm"), strict=True):
        assert line.startswith(f"{summary['id']} http {summary['method']} {summary['url']} {summary['status'] or 0}")
        assert not summary["error"] or line.endswith(summary["error"])
    assert any("=" in line for line in found)


def test_many_paths_and_folders(example, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "b.mitm", http_flow(2))
    write(folder / "a.mitm", http_flow(1))
    last = write(tmp_path / "c.mitm", http_flow(3))
    found = lines(run(example, "list", folder, last).stdout)
    assert [line.split(" ")[3].rpartition("/")[2] for line in found] == ["1", "2", "3"]


@pytest.mark.parametrize("how", ["pipe", "file", "memory"])
def test_other_ways_in(example, how):
    expected = run(example, "list", CAPTURES / "sample.mitm").stdout
    content = (CAPTURES / "sample.mitm").read_bytes()
    if how == "pipe":
        found = run(example, "stdin", input=content)
    elif how == "file":
        with open(CAPTURES / "sample.mitm", "rb") as file:
            found = run(example, "stdin", stdin=file)
    else:
        found = run(example, "memory", CAPTURES / "sample.mitm")
    assert found.stdout == expected


def test_gaps_are_told_and_passed_over(example, tmp_path):
    whole = dumps(http_flow(1))
    broken = tmp_path / "broken.mitm"
    broken.write_bytes(whole + b"garbage" + dumps(http_flow(2)) + whole[:-9])
    found = run(example, "list", broken)
    assert [line.split(" ")[3].rpartition("/")[2] for line in lines(found.stdout)] == ["1", "2"]
    assert f"broken.mitm: bytes {len(whole)} to {len(whole) + 7}: " in found.stderr.decode()
    assert len(lines(found.stderr)) == 2


@pytest.mark.parametrize("expression", ["~c 404", "~m POST | ~bs fox", "~all", "~tcp"])
def test_a_filtered_copy_is_flowcats(example, tmp_path, expression):
    copy = tmp_path / "copy.mitm"
    run(example, "copy", expression, CAPTURES / "sample.mitm", copy)
    assert copy.read_bytes() == flowcat("-f", expression, CAPTURES / "sample.mitm").stdout


def test_a_function_chooses(example, tmp_path):
    copy = tmp_path / "copy.mitm"
    run(example, "odd", CAPTURES / "sample.mitm", copy)
    statuses = [each["status"] or 0 for each in summaries(CAPTURES / "sample.mitm")]
    assert [each["status"] for each in summaries(copy)] == [status for status in statuses if status % 2] != []


def test_errors_have_their_place(example, tmp_path):
    failed = run(example, "copy", "~d a & ~c x", CAPTURES / "sample.mitm", tmp_path / "no", code=1).stderr.decode()
    assert re.search("error 22 at byte 10: .*expected", failed)
    assert "error 2 " in run(example, "body", tmp_path / "missing", code=1).stderr.decode()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["curl", "httpie", "raw", "raw_request", "raw_response"])
def test_exports_are_flowcats(example, name):
    capture = CAPTURES / "http1.mitm"
    found = subprocess.run([example, "export", name, capture], capture_output=True, timeout=60)
    listed = subprocess.run([FLOWCAT, "-t", name, capture], capture_output=True, timeout=60)
    # Between flows a line end may stand or not; what is exported is the same.
    assert found.stdout.replace(b"\n", b"") == listed.stdout.replace(b"\n", b"") != b""


def test_bodies_are_decoded(example, tmp_path):
    flowcat("--unpack", tmp_path / "tree", CAPTURES / "encodings.mitm")
    found = run(example, "body", CAPTURES / "encodings.mitm").stdout
    bodies = [path.read_bytes() for path in (tmp_path / "tree").rglob("response.body")]
    assert bodies and len(found) == sum(map(len, bodies)) and all(body in found for body in bodies)


def test_formats_are_listed(example):
    found = lines(run(example, "formats").stdout)
    listed = lines(flowcat("--list-formats").stdout)
    names = [line.split()[1].rstrip(":") for line in found if line.startswith("output")]
    assert names == [line.split()[0] for line in listed]
    assert [line.split()[1] for line in found if line.startswith("export")] == [
        "curl:", "httpie:", "raw:", "raw_request:", "raw_response:"]
