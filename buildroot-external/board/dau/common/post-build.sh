#!/bin/bash
# Identity and keyring, in normal OS and RecoveryOS. $1: the root filesystem.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$0")/settings.sh"
target=$1

keys
mkdir -p "$target/etc/dau"
rm -rf "$target/etc/dau/keyring"
cp -r "$DAU_KEYRING" "$target/etc/dau/keyring"
find "$target/etc/dau/keyring" -type f -exec chmod 644 {} +

# e2fsprogs' tools for compiling; they name the awk of the building machine.
rm -f "$target"/{,usr/}bin/{compile_et,mk_cmds}

# /etc/os-release is a link to it.
cat > "$target/usr/lib/os-release" <<IDENTITY
ID=dau
NAME="DAU Buildroot"
PRETTY_NAME="DAU $DAU_PRODUCT $DAU_VERSION"
VERSION_ID=$DAU_VERSION
DAU_PRODUCT=$DAU_PRODUCT
DAU_ROLLBACK_INDEX=$DAU_ROLLBACK_INDEX
DAU_BUILD_TIME=$DAU_BUILD_TIME
IDENTITY
