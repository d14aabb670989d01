#!/bin/sh
# Makes a static library in which only what codec.h declares can be linked to: its rooms are joined
# into one object, and all other names become local.
#
#     static-library.sh ROOMS.a OUT.a DIRECTORY
set -eu
mkdir -p "$3"
ld -r -o "$3/flowcodec.o" --whole-archive "$1"
objcopy --wildcard --keep-global-symbol='flowcodec_*' "$3/flowcodec.o"
rm -f "$2"
ar rcs "$2" "$3/flowcodec.o"
