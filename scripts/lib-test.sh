# shellcheck shell=bash
#
# The steps of scripts/test, and how a step is run. Sourced by it after lib.sh, which sets
# `project`; `reports` is a directory for what sanitizers and steps report.
# shellcheck disable=SC2154,SC2034

# Lines of the summary, how many steps failed, and whether the last one passed. (Not a status that
# step returns: who asks for that in an `if` has bash go on after commands that fail.)
results=()
failed=0
passed=true

# step NAME COMMAND...: runs the command with its output shown, notes how it went and how long it
# took. A sanitizer's report fails the step in which it was made.
step() {
    local name=$1 start=$SECONDS status=0 verdict=passed
    shift
    passed=true
    printf '\n==== %s\n' "$name"
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    if compgen -G "$reports/sanitizer*" >/dev/null; then
        printf '\nThe sanitizer reported:\n'
        head -n 100 "$reports"/sanitizer*
        rm -f "$reports"/sanitizer*
        status=1
    fi
    if [ "$status" -ne 0 ]; then
        verdict=FAILED
        passed=false
        failed=$((failed + 1))
    elif [ -s "$reports/skipped" ]; then
        verdict="passed; $(paste -sd ';' "$reports/skipped")"
    fi
    rm -f "$reports/skipped"
    results+=("$(printf '%-28s %4d s  %s' "$name" $((SECONDS - start)) "$verdict")")
    printf '%s\n' "---- ${results[-1]}"
}

clean_up() {
    # An interrupted step may have left its mount.
    umount -l "$reports/mnt" 2>/dev/null || fusermount3 -u -z "$reports/mnt" 2>/dev/null || true
    rm -rf "$reports"
}

# Notes what a step leaves out, and why, for the summary.
skip() {
    printf '%s\n' "$*" >>"$reports/skipped"
    printf 'skipped: %s\n' "$*"
}

summary() {
    printf '\n==== summary\n'
    printf '%s\n' "${results[@]}"
    if [ "$failed" -gt 0 ]; then
        printf '%d of %d steps FAILED\n' "$failed" "${#results[@]}"
        exit 1
    fi
    printf 'all %d steps passed\n' "${#results[@]}"
}

# Versions of clang-format disagree with each other, so one of them is the judge.
check_formatting() {
    local version
    version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
    if [ "$version" != 14 ]; then
        skip "formatting: clang-format is version $version, the project's is 14"
        return
    fi
    find codec fs tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run -Werror
}

# codec/ is a library that knows no FUSE and nothing of fs/; in fs/ only the files that answer the
# kernel's requests know FUSE.
check_layers() {
    local fuse='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]fuse' found=0 file header
    if grep -nE "$fuse" codec/*.[ch]; then
        echo "codec/ must not include FUSE"
        found=1
    fi
    for file in fs/*.[ch]; do
        case $file in
        fs/ll*.[ch] | fs/main.c) continue ;;
        esac
        if grep -nHE "$fuse" "$file" || grep -nHE '#include "ll[a-z_]*\.h"' "$file"; then
            echo "$file must not include FUSE: only fs/ll*.c and fs/main.c do"
            found=1
        fi
    done
    for file in codec/*.[ch]; do
        while read -r header; do
            [ -f "codec/$header" ] || [ "$header" = version.h ] && continue
            echo "$file includes \"$header\", which is not in codec/"
            found=1
        done < <(sed -n 's/^#include "\(.*\)"/\1/p' "$file")
    done
    return "$found"
}

check_shell_scripts() {
    local file scripts=()
    for file in scripts/* .ci/run; do
        [ ! -f "$file" ] || ! head -n 2 "$file" | grep -qE '^#!.*\bbash|shell=bash' ||
            scripts+=("$file")
    done
    shellcheck -x "${scripts[@]}"
    echo "${#scripts[@]} scripts are fine"
}

# build_with COMPILER DIRECTORY OPTION...: warnings are errors, as everywhere.
build_with() {
    CC=$1 build_in "${@:2}"
}

# unit_tests DIRECTORY [NAME...]: all of a build's tests, or those with the names. Shows each
# program's own closing lines.
unit_tests() {
    local directory=$1 log=$1/meson-logs/testlog.txt known name tests=() status=0
    shift
    if [ $# -gt 0 ]; then
        known=$(meson test -C "$directory" --list)
        for name in "$@"; do
            # The list says "project:suite / name".
            mapfile -t -O "${#tests[@]}" tests < <(sed 's/.* \/ //' <<<"$known" | grep -F "$name")
        done
        [ "${#tests[@]}" -gt 0 ] || {
            echo "no unit test is named like one of: $*"
            return 1
        }
    fi
    rm -f "$log"
    meson test -C "$directory" --no-rebuild --print-errorlogs --timeout-multiplier 5 \
        "${tests[@]}" || status=$?
    grep -E '^(test:|\[==========\] .* run|\[  (PASSED|FAILED|SKIPPED) +\]|# |Bail out)' "$log" \
        2>/dev/null || {
        echo "no unit test was run"
        return 1
    }
    awk '/^\[  SKIPPED \] [0-9]+ test/ {n += $4} END {if (n) print n " skipped"}' "$log" \
        >>"$reports/skipped"
    [ -d "${FLOWFS_CORPUS:-../shared/corpus}" ] ||
        skip "the corpus: neither FLOWFS_CORPUS nor ../shared/corpus is there"
    return "$status"
}

# mount_tests DIRECTORY [OPTION...]: pytest, with these options, on real mounts by that build's flowfs.
mount_tests() {
    if [ ! -c /dev/fuse ]; then
        skip "mount tests: /dev/fuse is not there"
        return
    fi
    local status=0
    FLOWFS=$project/$1/fs/flowfs /usr/bin/python3 -m pytest -rs "${@:2}" tests/mount |
        tee "$reports/pytest" || status=$?
    sed -n '$s/.*\([0-9][0-9]* skipped\).*/\1/p' "$reports/pytest" >>"$reports/skipped"
    return "$status"
}

# flowcat_tests DIRECTORY: pytest on that build's flowcat.
flowcat_tests() {
    local status=0
    FLOWCAT=$project/$1/codec/flowcat /usr/bin/python3 -m pytest -rs tests/flowcat |
        tee "$reports/pytest" || status=$?
    sed -n '$s/.*\([0-9][0-9]* skipped\).*/\1/p' "$reports/pytest" >>"$reports/skipped"
    return "$status"
}

# What a reader of the folder sees: the checksum of every file.
checksums() {
    (cd "$1" && find . -type f -exec cksum {} + | sort | cksum)
}

# parallel_readers DIRECTORY: eight readers of one mount at once, with a cache that is too small for
# them, so that flows are read and dropped all the time.
parallel_readers() {
    if [ ! -c /dev/fuse ]; then
        skip "parallel readers: /dev/fuse is not there"
        return
    fi
    local mountpoint=$reports/mnt capture=$reports/parallel.mitm daemon reader readers=() status=0
    scripts/make-capture --flows 500 "$capture"
    mkdir "$mountpoint"
    "$1/fs/flowfs" -f --cache 256K "$capture" "$mountpoint" &
    daemon=$!
    until findmnt --mountpoint "$mountpoint" >/dev/null; do
        kill -0 "$daemon" || return 1
        sleep 0.05
    done
    for reader in 1 2 3 4 5 6 7 8; do
        checksums "$mountpoint" >"$reports/reader-$reader" &
        readers+=($!)
    done
    for reader in "${readers[@]}"; do
        wait "$reader" || status=1
    done
    checksums "$mountpoint" >"$reports/reader-0"
    for reader in 1 2 3 4 5 6 7 8; do
        cmp "$reports/reader-0" "$reports/reader-$reader" || status=1
    done
    umount "$mountpoint" 2>/dev/null || fusermount3 -u "$mountpoint" || kill "$daemon"
    wait "$daemon" || status=1
    rm -rf "$capture" "$mountpoint" "$reports"/reader-*
    [ "$status" -ne 0 ] || echo "8 readers saw the same"
    return "$status"
}
