# Signed upgrade packages and the flashable disk of an image recipe: `inherit core-image dau_identity dau_upgrade_package` in it (or, in a
# recipe beside it, dau_bundle), and `bitbake` of it leaves in the deploy folder
#
#   NAME-kernel.dau, -rootfs.dau, -full.dau, -recovery.dau
#                             signed packages; NAME is dau-PRODUCT-VERSION, with -devkeys where development keys sign
#   NAME.img, NAME.img.bmap   the disk: boot, rootfs and mnt; its own full package lies on mnt
#   NAME.spdx.json            the SBOM whose digest the packages hold: normal OS, RecoveryOS, kernel and bootloader, where create-spdx is inherited
#   recovery.itb              RecoveryOS: kernel and DAU_RECOVERY_IMAGE
#   SHA256SUMS                of all these
#
# Variables are those of dau_settings, and:
#
#   DAU_DISK             "0": no disk, for those who lay out one of their own with these partitions and files (docs/architecture.md, "Disk")
#   DAU_KERNEL_IMAGE     kernel [KERNEL_IMAGETYPE]
#   DAU_KERNEL_INITRAMFS initramfs of the normal OS, where its kernel needs one [none]
#   DAU_RECOVERY_IMAGE   recipe of RecoveryOS's initramfs, .cpio.zst
#   DAU_ROOTFS_IMAGE     root filesystem, ext4 [the image's own]
#
# Keys are read from where the variables point to, and copied nowhere.

DAU_SBOM ?= "${@'${WORKDIR}/dau-sbom/sbom.spdx.json' if bb.data.inherits_class('create-spdx-3.0', d) else ''}"

inherit dau_settings

DAU_DISK ?= "1"
DAU_DISK[doc] = "0: make packages, but no disk."
DAU_KERNEL_IMAGE ?= "${KERNEL_IMAGETYPE}"
DAU_KERNEL_IMAGE[doc] = "Kernel in the deploy folder: Image, zImage, or a packed one."
DAU_KERNEL_INITRAMFS ?= ""
DAU_KERNEL_INITRAMFS[doc] = "Initramfs of the normal OS, where its kernel needs one."
DAU_RECOVERY_IMAGE ?= "dau-recovery-initramfs"
DAU_RECOVERY_IMAGE[doc] = "Recipe of RecoveryOS's initramfs."
DAU_ROOTFS_IMAGE ?= "${DEPLOY_DIR_IMAGE}/${IMAGE_LINK_NAME}.ext4"
DAU_ROOTFS_IMAGE[doc] = "Root filesystem of the normal OS, ext4."
DAU_DEPLOYDIR = "${WORKDIR}/dau-deploy"
DAU_DEPLOYDIR[doc] = "Where do_dau_package leaves its files, before they are deployed."

do_dau_package() {
    if [ "${DAU_DEVELOPMENT_KEYS}" = 1 ]; then
        bbwarn "DEVELOPMENT KEYS: whoever has ${DAU_PKI} can upgrade every terminal with this image. Not for the field." \
            "Set DAU_KEYRING, DAU_SIGNER and DAU_KEY (or DAU_SIGN_COMMAND)."
    fi
    input=${WORKDIR}/dau-input
    kernel=${DEPLOY_DIR_IMAGE}/${DAU_KERNEL_IMAGE}
    ln -s ${DAU_ROOTFS_IMAGE} $input/rootfs.ext4
    mkdir $input/modules
    [ ! -e ${DEPLOY_DIR_IMAGE}/modules-${MACHINE}.tgz ] || tar -xf ${DEPLOY_DIR_IMAGE}/modules-${MACHINE}.tgz -C $input/modules
    dau_boot make-modules ${DEPLOY_DIR_IMAGE}/${DAU_RECOVERY_IMAGE}-${MACHINE}.cpio.zst $input/modules $input
    initramfs=${DAU_KERNEL_INITRAMFS}
    [ ! -e $input/kernel-initramfs.cpio.zst ] || initramfs=$input/kernel-initramfs.cpio.zst
    dau_boot make-fit kernel $kernel $input/kernel.itb $initramfs
    dau_boot make-fit RecoveryOS $kernel $input/recovery.itb $input/recovery-initramfs.cpio.zst
    cp $input/recovery.itb ${DAU_DEPLOYDIR}/
    dau_boot keep-places $input
    dau_boot make-packages $input ${DAU_DEPLOYDIR}
    [ "${DAU_DISK}" = 0 ] || dau_boot make-disk $input ${DAU_DEPLOYDIR} ${DEPLOY_DIR_IMAGE}
    cd ${DAU_DEPLOYDIR}
    sha256sum * > ${WORKDIR}/SHA256SUMS
    mv ${WORKDIR}/SHA256SUMS .
}
do_dau_package[doc] = "Makes the signed upgrade packages, RecoveryOS, the flashable disk, its .bmap and SHA256SUMS."
addtask dau_package after do_image_complete before do_build

do_dau_package[dirs] = "${DAU_DEPLOYDIR} ${WORKDIR}/dau-input"
do_dau_package[cleandirs] = "${DAU_DEPLOYDIR} ${WORKDIR}/dau-input"
do_dau_package[prefuncs] += "dau_check_keys"
# Not of the passphrase: it changes no package, and its checksum, which is not secret, would help to guess it.
do_dau_package[file-checksums] += "${@dau_checksums(d, 'DAU_KEYRING DAU_SIGNER DAU_KEY DAU_BASE')} ${@dau_machine_checksums(d)}"
do_dau_package[depends] += "dau-boot-native:do_populate_sysroot dau-packager-native:do_populate_sysroot dau-keyring:do_populate_sysroot \
    bmaptool-native:do_populate_sysroot dosfstools-native:do_populate_sysroot dtc-native:do_populate_sysroot \
    e2fsprogs-native:do_populate_sysroot gptfdisk-native:do_populate_sysroot mtools-native:do_populate_sysroot \
    u-boot-tools-native:do_populate_sysroot zstd-native:do_populate_sysroot virtual/kernel:do_deploy ${DAU_RECOVERY_IMAGE}:do_image_complete \
    ${@'virtual/bootloader:do_deploy' if d.getVar('DAU_DISK') != '0' else ''}"

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

# The SBOM of an image names neither the kernel nor RecoveryOS.
python dau_make_sbom() {
    import oe.sbom30, oe.spdx30
    from pathlib import Path

    def element(folder, name):
        found, _ = oe.sbom30.find_root_obj_in_jsonld(d, folder, name, oe.spdx30.software_Package)
        return oe.sbom30.get_element_link_id(found)

    images = [d.getVar('IMAGE_BASENAME'), d.getVar('DAU_RECOVERY_IMAGE')]
    roots = [element('rootfs', '%s-%s-rootfs' % (image, d.getVar('MACHINE'))) for image in images]
    roots += [element('static', 'static-' + recipe) for recipe in dau_boot_recipes(d)]
    objset, _ = oe.sbom30.create_sbom(d, d.getVar('DAU_PRODUCT') or d.getVar('MACHINE'), roots)
    oe.sbom30.write_jsonld_doc(d, objset, Path(d.getVar('DAU_SBOM')))
}
dau_make_sbom[doc] = "Makes the SBOM of all that is on a terminal."
dau_make_sbom[cleandirs] = "${WORKDIR}/dau-sbom"

def dau_boot_recipes(d):
    virtual = ['virtual/kernel'] + (['virtual/bootloader'] if d.getVar('DAU_DISK') != '0' else [])
    return [recipe for recipe in (d.getVar('PREFERRED_PROVIDER_' + name) for name in virtual) if recipe]

python () {
    if d.getVar('DAU_SBOM').startswith(d.getVar('WORKDIR')):
        d.appendVarFlag('do_dau_package', 'prefuncs', ' dau_make_sbom')
        d.appendVarFlag('do_dau_package', 'recrdeptask', ' do_create_recipe_spdx do_create_spdx do_create_package_spdx do_create_rootfs_spdx')
    # The HSM or the other machine is reached by network, which bitbake takes from its tasks.
    if d.getVar('DAU_SIGN_COMMAND'):
        d.setVarFlag('do_dau_package', 'network', '1')
}
