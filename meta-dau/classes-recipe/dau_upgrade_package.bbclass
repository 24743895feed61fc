# Signed upgrade packages and the flashable disk of an image recipe: `inherit core-image dau_upgrade_package` in it, and `bitbake` of it leaves in
# the deploy folder
#
#   DAU_NAME-kernel.dau, -rootfs.dau, -full.dau,
#   -recovery.dau                                 signed packages
#   DAU_NAME.img, DAU_NAME.img.bmap               the disk: boot, rootfs and mnt; its own full package lies on mnt
#   recovery.itb                                  RecoveryOS (dau-recovery-fit)
#   SHA256SUMS                                    of all these
#
# Variables beside those of dau_settings (names, version, keys):
#
#   DAU_PACKAGES         kinds of packages to make: kernel, rootfs, full, recovery
#   DAU_FULL_RECOVERY    "1": the full package brings RecoveryOS, too
#   DAU_MINIMUM_RECOVERY terminals with an older RecoveryOS refuse the packages
#   DAU_LEVEL            zstd level of packages; 19 for a release that goes over many poor links
#   DAU_KERNEL_ITB       kernel and device tree as a FIT image [that of dau-kernel-fit]
#   DAU_RECOVERY_ITB     RecoveryOS as a FIT image [that of dau-recovery-fit]
#   DAU_ROOTFS_IMAGE     root filesystem, ext4 [the image's own]
#   DAU_DISK_IMAGE       disk without a package on mnt [the image's own, made by wic]
#   DAU_SBOM             SPDX file of the image; its SHA-256 stands in the signed manifest of every package [the image's own, while
#                        create-spdx is inherited, which is the default; "" for none]
#   DAU_BOOT_OFFSET      start of the first partition: room for a bootloader
#   DAU_BOOT_SIZE        partition boot: two kernels and two RecoveryOS
#   DAU_ROOTFS_SIZE      partition rootfs: the largest normal OS that this disk will ever take
#   DAU_MNT_SIZE         partition mnt: three packages, backups and logs
#   DAU_WKS_FILE         layout of the disk; another one must have partitions of the same labels
#   DAU_RAW_FILES        bootloader files outside of the partitions, FILE@KIB each: "MLO@128 u-boot.img@384"
#
# Partitions never move: choose their sizes for the terminal's life. Keys are read from where the variables point to, and copied nowhere.

inherit dau_settings

DAU_PACKAGES ?= "kernel rootfs full recovery"
DAU_PACKAGES[doc] = "Kinds of upgrade packages to make."
DAU_FULL_RECOVERY ?= "0"
DAU_FULL_RECOVERY[doc] = "1: the full package brings RecoveryOS, too."
DAU_MINIMUM_RECOVERY ?= ""
DAU_MINIMUM_RECOVERY[doc] = "Terminals with an older RecoveryOS refuse the packages."
DAU_LEVEL ?= "9"
DAU_LEVEL[doc] = "zstd level of upgrade packages."
DAU_KERNEL_ITB ?= "${DEPLOY_DIR_IMAGE}/kernel.itb"
DAU_KERNEL_ITB[doc] = "Kernel and device tree as a FIT image."
DAU_RECOVERY_ITB ?= "${DEPLOY_DIR_IMAGE}/recovery.itb"
DAU_RECOVERY_ITB[doc] = "RecoveryOS as a FIT image."
DAU_ROOTFS_IMAGE ?= "${DEPLOY_DIR_IMAGE}/${IMAGE_LINK_NAME}.ext4"
DAU_ROOTFS_IMAGE[doc] = "Root filesystem of the normal OS, ext4."
DAU_DISK_IMAGE ?= "${DEPLOY_DIR_IMAGE}/${IMAGE_LINK_NAME}.wic"
DAU_DISK_IMAGE[doc] = "The disk as wic made it, without a package on mnt."
DAU_SBOM ?= "${@'${DEPLOY_DIR_IMAGE}/${IMAGE_LINK_NAME}.spdx.json' if bb.data.inherits_class('create-spdx', d) else ''}"
DAU_SBOM[doc] = "SPDX file of the image; its SHA-256 stands in the signed manifest of every package."
# The defaults of boot/sizes.
DAU_BOOT_OFFSET ?= "1M"
DAU_BOOT_OFFSET[doc] = "Start of the first partition: room for a bootloader."
DAU_BOOT_SIZE ?= "160M"
DAU_BOOT_SIZE[doc] = "Size of partition boot: two kernels and two RecoveryOS."
DAU_ROOTFS_SIZE ?= "192M"
DAU_ROOTFS_SIZE[doc] = "Size of partition rootfs: the largest normal OS that this disk will ever take."
DAU_MNT_SIZE ?= "512M"
DAU_MNT_SIZE[doc] = "Size of partition mnt: three packages, backups and logs."
DAU_RAW_FILES ?= ""
DAU_RAW_FILES[doc] = "Bootloader files outside of the partitions, FILE@KIB each."

# The disk, by wic: files/wic/dau.wks.in. Machines bring a WKS_FILE of their own, hence a variable of ours. scarthgap looks for it in wic/
# only, and calls the plugin for boot bootimg-partition.
DAU_WKS_FILE ?= "dau.wks.in"
DAU_WKS_FILE[doc] = "Layout of the disk, for wic."
WKS_FILE = "${DAU_WKS_FILE}"
WKS_FILE_DEPENDS = "wic-native bmaptool-native dosfstools-native e2fsprogs-native gptfdisk-native mtools-native parted-native"
WKS_SEARCH_PATH:append = ":${DAU_REPOSITORY}/meta-dau/files/wic"
DAU_WKS_BOOT_SOURCE ?= "bootimg_partition"
DAU_WKS_BOOT_SOURCE[doc] = "wic's plugin that fills boot from IMAGE_BOOT_FILES."
DAU_WKS_BOOTLOADER = "${@dau_wks_bootloader(d)}"
DAU_WKS_BOOTLOADER[doc] = "Lines of dau.wks.in for DAU_RAW_FILES."
DAU_DISK_ROOTFS = "${WORKDIR}/dau-disk/rootfs.ext4"
DAU_DISK_ROOTFS[doc] = "Root filesystem, grown to its partition."
IMAGE_BOOT_FILES = "boot.scr dau-a.env dau-b.env kernel-slot;kernel-a.itb kernel-slot;kernel-b.itb recovery-slot;recovery-a.itb recovery-slot;recovery-b.itb"
IMAGE_TYPEDEP:wic = "ext4"

# The same identity of rootfs as boot/make-ext4 gives it.
EXTRA_IMAGECMD:ext4 = "-b 4096 -m 1 -I 256 -L rootfs -U ab3f7c52-6d0e-4f1b-9f43-8a8c0d2b7e01 -O ^metadata_csum,uninit_bg,^orphan_file -E hash_seed=ab3f7c52-6d0e-4f1b-9f43-8a8c0d2b7e01,root_owner=0:0"

def dau_wks_bootloader(d):
    lines = []
    for entry in (d.getVar('DAU_RAW_FILES') or '').split():
        name, separator, offset = entry.partition('@')
        if not offset.isdigit():
            bb.fatal('DAU_RAW_FILES: "%s" is not FILE@KIB, such as MLO@128' % entry)
        lines.append('part --source rawcopy --sourceparams="file=%s" --ondisk mmcblk0 --no-table --offset %sK' % (name, offset))
    return '\n'.join(lines)

dau_grow_rootfs() {
    install -d ${WORKDIR}/dau-disk
    cp --sparse=always ${IMGDEPLOYDIR}/${IMAGE_NAME}.ext4 ${DAU_DISK_ROOTFS}
    E2FSPROGS_FAKE_TIME=${DAU_BUILD_TIME} resize2fs ${DAU_DISK_ROOTFS} ${DAU_ROOTFS_SIZE}
}
dau_grow_rootfs[doc] = "Grows a copy of the root filesystem to its partition."
do_image_wic[prefuncs] += "dau_grow_rootfs"
DAU_BOOT_DEPENDS ?= "dau-boot:do_deploy dau-kernel-fit:do_deploy dau-recovery-fit:do_deploy virtual/bootloader:do_deploy"
DAU_BOOT_DEPENDS[doc] = "Tasks that deploy what lies on boot, and the bootloader."
do_image_wic[depends] += "${DAU_BOOT_DEPENDS} e2fsprogs-native:do_populate_sysroot"

DAU_DEPLOYDIR = "${WORKDIR}/dau-deploy"
DAU_DEPLOYDIR[doc] = "Where do_dau_package leaves its files, before they are deployed."

python dau_check_keys() {
    fault = dau_key_fault(d, True)
    if fault:
        bb.fatal(fault)
}
dau_check_keys[doc] = "Stops the build, with what to set, when there are no keys."

# dau_package KIND: makes and verifies one package.
dau_package() {
    file=${DAU_DEPLOYDIR}/${DAU_NAME}-$1.dau
    case $1 in
        kernel) set -- --kernel ${DAU_KERNEL_ITB} ;;
        rootfs) set -- --rootfs ${DAU_ROOTFS_IMAGE} ;;
        full)
            set -- --kernel ${DAU_KERNEL_ITB} --rootfs ${DAU_ROOTFS_IMAGE}
            [ "${DAU_FULL_RECOVERY}" != 1 ] || set -- "$@" --recovery ${DAU_RECOVERY_ITB}
            ;;
        recovery) set -- --recovery ${DAU_RECOVERY_ITB} ;;
        *) bbfatal "DAU_PACKAGES: $1 is no kind of package; kernel, rootfs, full and recovery are" ;;
    esac
    [ -z "${DAU_MINIMUM_RECOVERY}" ] || set -- "$@" --minimum-recovery "${DAU_MINIMUM_RECOVERY}"
    set -- "$@" --signer "${DAU_SIGNER}"
    if [ -n "$dau_sign_command" ]; then
        set -- "$@" --command "$dau_sign_command"
    else
        set -- "$@" --key "${DAU_KEY}"
        [ -z "${DAU_PASSPHRASE_FILE}" ] || set -- "$@" --passphrase-file "${DAU_PASSPHRASE_FILE}"
    fi
    [ -z "${DAU_SBOM}" ] || set -- "$@" --sbom ${DAU_SBOM}
    SOURCE_DATE_EPOCH=${DAU_BUILD_TIME} dau-packager build --product "${DAU_PRODUCT}" --version "${DAU_VERSION}" \
        --rollback-index ${DAU_ROLLBACK_INDEX} --level ${DAU_LEVEL} "$@" -o $file
    dau-packager verify --keyring "${DAU_KEYRING}" $file
}
dau_package[doc] = "Makes and verifies one upgrade package."

# dau_fill_mnt IMAGE PACKAGE: folders of the hand-off, and PACKAGE as what is installed, on partition mnt of the disk IMAGE.
dau_fill_mnt() {
    start=$(parted -s -m $1 unit B print | sed -n 's/^[0-9]*:\([0-9]*\)B:[^:]*:[^:]*:[^:]*:mnt:.*/\1/p')
    [ -n "$start" ] || bbfatal "$1 has no partition named mnt: look at DAU_WKS_FILE"
    for folder in dau dau/identity dau/packages dau/backup dau/log; do
        echo "mkdir $folder"
    done > ${WORKDIR}/dau-mnt.debugfs
    cat >> ${WORKDIR}/dau-mnt.debugfs <<COMMANDS
write $2 dau/packages/installed.dau
set_inode_field dau/packages/installed.dau uid 0
set_inode_field dau/packages/installed.dau gid 0
set_inode_field dau/packages/installed.dau mode 0100644
COMMANDS
    E2FSPROGS_FAKE_TIME=${DAU_BUILD_TIME} debugfs -w -f ${WORKDIR}/dau-mnt.debugfs "$1?offset=$start"
    # debugfs ends with 0 whatever happened.
    debugfs -R "dump dau/packages/installed.dau ${WORKDIR}/dau-mnt.check" "$1?offset=$start"
    cmp $2 ${WORKDIR}/dau-mnt.check || bbfatal "the package does not fit on mnt: set DAU_MNT_SIZE higher"
    rm ${WORKDIR}/dau-mnt.check
}
dau_fill_mnt[doc] = "Lays folders and the installed package on partition mnt."

do_dau_package() {
    dau_sign_command=$(cat <<'COMMAND'
${DAU_SIGN_COMMAND}
COMMAND
)
    if [ "${DAU_DEVELOPMENT_KEYS}" = 1 ]; then
        bbwarn "DEVELOPMENT KEYS: whoever has ${DAU_PKI} can upgrade every terminal with this image. Not for the field." \
            "Set DAU_KEYRING, DAU_SIGNER and DAU_KEY (or DAU_SIGN_COMMAND)."
    fi
    for kind in ${DAU_PACKAGES}; do
        dau_package $kind
    done
    cd ${DAU_DEPLOYDIR}
    if [ -n "${DAU_DISK_IMAGE}" ] && [ -e ${DAU_NAME}-full.dau ]; then
        cp --sparse=always ${DAU_DISK_IMAGE} ${DAU_NAME}.img
        dau_fill_mnt ${DAU_NAME}.img ${DAU_NAME}-full.dau
        bmaptool --quiet create -o ${DAU_NAME}.img.bmap ${DAU_NAME}.img
        # Names no time and no tool's version, so it repeats with the image.
        sed -i -e '/^<!--/,/-->$/d' ${DAU_NAME}.img.bmap
    fi
    { sha256sum *; cd $(dirname ${DAU_RECOVERY_ITB}); sha256sum $(basename ${DAU_RECOVERY_ITB}); } > ${WORKDIR}/SHA256SUMS
    mv ${WORKDIR}/SHA256SUMS ${DAU_DEPLOYDIR}/
}
do_dau_package[doc] = "Makes the signed upgrade packages, the flashable disk, its .bmap and SHA256SUMS."
addtask dau_package after do_image_complete before do_build

do_dau_package[dirs] = "${DAU_DEPLOYDIR}"
do_dau_package[cleandirs] = "${DAU_DEPLOYDIR}"
do_dau_package[prefuncs] += "dau_check_keys"
# Not of the passphrase: it changes no package, and its checksum, which is not secret, would help to guess it.
do_dau_package[file-checksums] += "${@dau_checksums(d, 'DAU_KEYRING DAU_SIGNER DAU_KEY')}"
do_dau_package[depends] += "dau-packager-native:do_populate_sysroot dau-keyring:do_populate_sysroot e2fsprogs-native:do_populate_sysroot \
    bmaptool-native:do_populate_sysroot parted-native:do_populate_sysroot dau-kernel-fit:do_deploy dau-recovery-fit:do_deploy"

# Signing is asked for once for each change; the packages are not kept a second time in the sstate cache.
SSTATETASKS += "do_dau_package"
SSTATE_SKIP_CREATION:task-dau-package = "1"
do_dau_package[sstate-inputdirs] = "${DAU_DEPLOYDIR}"
do_dau_package[sstate-outputdirs] = "${DEPLOY_DIR_IMAGE}"
do_dau_package[stamp-extra-info] = "${MACHINE_ARCH}"

python do_dau_package_setscene () {
    sstate_setscene(d)
}
addtask do_dau_package_setscene

# The digest in the manifest is that of the finished SBOM.
python () {
    if d.getVar('DAU_SBOM') and bb.data.inherits_class('create-spdx', d):
        bb.build.addtask('do_dau_package', 'do_build', 'do_create_image_sbom_spdx', d)
    # The HSM or the other machine is reached by network, which bitbake takes from its tasks.
    if d.getVar('DAU_SIGN_COMMAND'):
        d.setVarFlag('do_dau_package', 'network', '1')
}
