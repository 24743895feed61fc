#!/bin/bash
# FIT images, the SBOM, the signed packages, the disk image and its .bmap, SHA256SUMS. $1: the folder images/.
set -euo pipefail
images=$1 boot=$BR2_EXTERNAL_DAU_PATH/../boot
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$boot/make-modules" "$images/dau-recovery.cpio.zst" "$TARGET_DIR" "$work"
"$boot/make-fit" kernel "$images/$DAU_KERNEL_IMAGE" "$images/kernel.itb" "$(find "$work" -name kernel-initramfs.cpio.zst)"
"$boot/make-fit" RecoveryOS "$images/$DAU_KERNEL_IMAGE" "$images/recovery.itb" "$work/recovery-initramfs.cpio.zst"
if [ -z "${DAU_SBOM:-}" ]; then
    # Buildroot's own, with the crates in our programs. The generator would fetch the names of all licences, where this file is missing; a
    # build asks nothing of the network, so licences stand as Buildroot spells them.
    generator=utils/generate-cyclonedx
    mkdir "$work/cyclonedx"
    echo '{"enum": []}' > "$work/cyclonedx/spdx-$(sed -n 's/^CYCLONEDX_VERSION = "\([0-9.]*\)".*/\1/p' $generator).schema.json"
    unset MAKEFLAGS MFLAGS MAKELEVEL
    make --no-print-directory -C "$CONFIG_DIR" show-info > "$work/show-info"
    BR2_DL_DIR="$work" $generator -i "$work/show-info" -o "$work/buildroot.json"
    export DAU_SBOM=$work/sbom.cdx.json
    "$boot/make-sbom" "$DAU_CRATES" "$work/buildroot.json" > "$DAU_SBOM"
fi
"$boot/keep-places" "$images"
"$boot/make-packages" "$images" "$images"
"$boot/make-disk" "$images" "$images"
# Of every version that lies there; recovery.itb is that of the version built last.
(shopt -s nullglob && cd "$images" && sha256sum dau-*.img dau-*.bmap dau-*.dau dau-*.json recovery.itb > SHA256SUMS)
