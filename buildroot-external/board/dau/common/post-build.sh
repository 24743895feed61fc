#!/bin/bash
# Identity and keyring, in normal OS and RecoveryOS. $1: the root filesystem.
set -euo pipefail
target=$1
# Buildroot's own lines, in the place of ours, say what Buildroot is.
printf 'ID=dau\nNAME="DAU Buildroot"\n' > "$target/usr/lib/os-release"
"$BR2_EXTERNAL_DAU_PATH/../boot/make-identity" "$target"
"$BR2_EXTERNAL_DAU_PATH/../boot/make-keyring" "$target"
# e2fsprogs' tools for compiling; they name the awk of the building machine.
rm -f "$target"/{,usr/}bin/{compile_et,mk_cmds}
