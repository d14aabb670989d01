# shellcheck shell=bash
# shellcheck disable=SC2034  # the lists of needs are for the scripts that source this
#
# What the scripts beside this file share: where the project is, which Debian packages it needs,
# and how a build directory is made and brought up to date. Sourced, never run.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A need is "probe package": the package is installed if the probe finds nothing. Probes look for
# the thing, not the package, so that a compiler or a library of one's own counts too.
#   command:NAME   a program in PATH        library:NAME  a pkg-config module
#   python:NAME    a module of /usr/bin/python3
#   header:NAME    a header of the C compiler
#   clang-runtime:NAME    a runtime library of clang's
build_needs=(
    "command:gcc gcc"
    "header:stdio.h libc6-dev"
    "command:meson meson"
    "command:ninja ninja-build"
    "command:pkg-config pkg-config"
    "command:fusermount3 fuse3"
    "library:fuse3 libfuse3-dev"
    "library:zlib zlib1g-dev"
    "library:jansson libjansson-dev"
    "library:libbrotlidec libbrotli-dev"
    "library:libzstd libzstd-dev"
    "library:libpcre2-8 libpcre2-dev"
)
test_needs=(
    "command:clang clang"
    "clang-runtime:asan libclang-rt-dev"
    "command:llvm-symbolizer llvm"
    "command:clang-format clang-format"
    "library:cmocka libcmocka-dev"
    "python:pytest python3-pytest"
    "command:http httpie"
    "command:npm npm"
    "command:node nodejs"
    "python:hypothesis python3-hypothesis"
    "python:mitmproxy mitmproxy"
    "command:shellcheck shellcheck"
    "command:rg ripgrep"
    "command:rsync rsync"
    "command:jq jq"
    "command:getfattr attr"
    "command:git git"
    "command:curl curl"
    "command:tar tar"
    "command:vim vim"
    "command:nano nano"
    "command:perl perl"
    "command:findmnt util-linux"
    "command:mount mount"
    "command:openssl openssl"
)
bench_needs=(
    "command:mksquashfs squashfs-tools"
    "command:rg ripgrep"
    "command:squashfuse_ll squashfuse"
)

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_there() {
    case $1 in
    command:*) command -v "${1#*:}" >/dev/null ;;
    library:*) pkg-config --exists "${1#*:}" 2>/dev/null ;;
    header:*) echo "#include <${1#*:}>" | gcc -E -x c - >/dev/null 2>&1 ;;
    python:*)
        /usr/bin/python3 -c 'import importlib.util, sys
sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "${1#*:}" 2>/dev/null
        ;;
    clang-runtime:*)
        compgen -G "$(clang --print-runtime-dir 2>/dev/null)/libclang_rt.${1#*:}*.a" >/dev/null
        ;;
    *) fail "unknown probe $1" ;;
    esac
}

# Prints the packages that are missing of the needs given, one a line.
missing_packages() {
    local need
    for need in "$@"; do
        is_there "${need% *}" || printf '%s\n' "${need#* }"
    done
}

install_packages() {
    local sudo=() apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    if ! command -v apt-get >/dev/null; then
        fail "these Debian packages, or what your system has for them, are missing: $*
There is no apt-get here to install them. Install them and run this again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            fail "missing packages, and neither root nor sudo to install them. As root, run:
  apt-get install --no-install-recommends $*"
        sudo=(sudo)
    fi
    printf 'Installing %s\n' "$*"
    "${sudo[@]}" "${apt[@]}" update
    "${sudo[@]}" "${apt[@]}" -y --no-install-recommends install "$@"
}

# Installs what is missing of the needs given; costs a few milliseconds a need if nothing is.
ensure_needs() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -eq 0 ] && return
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -eq 0 ] ||
        fail "apt-get was content, but still missing: ${missing[*]}"
}

# True if DIRECTORY is configured for this place and, if build_in made it, with these options.
is_configured() {
    local directory=$1 wanted=$2
    [ -f "$directory/build.ninja" ] &&
        grep -qsF "\"source\": \"$project\"" "$directory/meson-info/meson-info.json" &&
        { [ ! -f "$directory/configured-for" ] ||
            [ "$(cat "$directory/configured-for")" = "$wanted" ]; }
}

# build_in DIRECTORY [MESON OPTION...]: configures DIRECTORY (below the project) if it is not yet,
# and compiles; the compiler is CC's. A directory of other options, or of another place (a copied
# tree, which would go on building that place's sources), is made anew.
build_in() {
    local directory=$project/$1 wanted="CC=${CC:-} ${*:2}" output
    if ! is_configured "$directory" "$wanted"; then
        rm -rf "$directory"
        printf 'Building in %s\n' "$1"
        if ! output=$(meson setup "$directory" "$project" "${@:2}" 2>&1); then
            printf '%s\n' "$output" >&2
            return 1
        fi
        printf '%s\n' "$wanted" >"$directory/configured-for"
    fi
    ninja --quiet -C "$directory" | sed '/^ninja: no work to do\.$/d'
}
