#!/bin/bash
# The disk image and its .bmap, the signed packages, recovery.itb, SHA256SUMS. $1: the folder images/.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$0")/settings.sh"
images=$1
case $DAU_MACHINE in
    */*) machine=$DAU_MACHINE ;;
    *) machine=$BR2_EXTERNAL_DAU_PATH/board/dau/$DAU_MACHINE ;;
esac
work=$BUILD_DIR/dau-image

# fit IMAGE DESCRIPTION [ARGUMENT]...: $work/input/IMAGE.itb
fit() {
    local image=$1 description=$2 compression=none
    shift 2
    case $DAU_KERNEL_IMAGE in *.gz) compression=gzip ;; *.lz4) compression=lz4 ;; *.zst) compression=zstd ;; esac
    [ -z "$DAU_FDT" ] || set -- "$@" -f "$images/$DAU_FDT"
    "$SHARED/make-fit" -d "DAU $DAU_PRODUCT $DAU_VERSION $description" -a "$DAU_ARCH" -l "$DAU_KERNEL_LOAD" \
        -k "$images/$DAU_KERNEL_IMAGE" -c "$compression" "$@" -o "$work/input/$image.itb"
}

# package KIND ARGUMENT...
package() {
    local kind=$1
    shift
    dau-packager build --product "$DAU_PRODUCT" --version "$DAU_VERSION" --rollback-index "$DAU_ROLLBACK_INDEX" \
        "$@" "${SIGNING[@]}" -o "$images/$NAME-$kind.dau"
    dau-packager verify --keyring "$DAU_KEYRING" "$images/$NAME-$kind.dau" > /dev/null
}

# disk: the image, from boot/disk.cfg and the machine's bootloader.cfg, where it has one.
disk() {
    local config=$work/disk.cfg
    "$SHARED/make-boot-files" "$machine/boot.cmd" "$work/input"
    "$SHARED/make-slot" "$kernel" "$work/input/kernel-slot"
    "$SHARED/make-slot" "$work/input/recovery.itb" "$work/input/recovery-slot"
    cp "$rootfs" "$work/input/rootfs.ext4"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH resize2fs "$work/input/rootfs.ext4" "$DAU_ROOTFS_SIZE" > /dev/null
    cp "$images/$NAME-full.dau" "$work/mnt/dau/packages/installed.dau"
    "$SHARED/make-ext4" mnt "$work/mnt" "$work/input/mnt.ext4" "$DAU_MNT_SIZE"
    "$(dirname "$0")/disk-config" "$machine" > "$config"
    if [ -e "$machine/bootloader.cfg" ]; then
        sed -n 's/.*image = "\(.*\)"/\1/p' "$machine/bootloader.cfg" | while read -r part; do
            cp "$images/$part" "$work/input/"
        done
    fi
    find "$work/input" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
    genimage --config "$config" --inputpath "$work/input" --outputpath "$work/output" --rootpath "$work/root" \
        --tmppath "$work/tmp" --loglevel 1
    mv "$work/output/disk.img" "$images/$NAME.img"
    bmaptool --quiet create -o "$images/$NAME.img.bmap" "$images/$NAME.img"
    # Names no time and no tool's version, so it repeats with the image.
    sed -i '/^<!--/,/-->$/d' "$images/$NAME.img.bmap"
}

keys
rm -rf "$work"
mkdir -p "$work"/{input,root} "$work"/mnt/dau/{identity,packages,backup,log}
rootfs=$images/rootfs.ext2
kernel=$work/input/kernel.itb

fit kernel kernel
fit recovery RecoveryOS -i "$images/dau-recovery.cpio.zst"
cp "$work/input/recovery.itb" "$images/"
package kernel --kernel "$kernel"
package rootfs --rootfs "$rootfs"
package full --kernel "$kernel" --rootfs "$rootfs"
package recovery --recovery "$work/input/recovery.itb"
disk
rm -rf "$work"
(cd "$images" && sha256sum ./"$NAME"* recovery.itb | sed 's| \./| |' > SHA256SUMS)
echo "dau: made $(cd "$images" && echo "$NAME"* recovery.itb SHA256SUMS) in $images"
