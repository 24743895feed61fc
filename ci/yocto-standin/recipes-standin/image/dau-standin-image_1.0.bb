SUMMARY = "dau-image without do_rootfs: the reference builder's root filesystem, with the programs that bitbake built"
require ../standin.inc

IMAGE_BASENAME = "${PN}"
IMAGE_LINK_NAME = "${PN}-${MACHINE}.rootfs"
IMAGE_NAME = "${IMAGE_LINK_NAME}"
IMAGE_FSTYPES = "ext4 wic"
CONVERSIONTYPES = ""
IMGDEPLOYDIR = "${WORKDIR}/deploy-image"
IMAGE_ROOTFS = "${WORKDIR}/rootfs"
# scarthgap's wic, which can be had, calls it so.
DAU_WKS_BOOT_SOURCE = "bootimg-partition"
DAU_SBOM = "${STANDIN}/sbom.spdx.json"

inherit nopackages image_types_wic dau_upgrade_package

do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_image() {
    install -D -m 0644 ${STANDIN}/rootfs.ext4 ${IMGDEPLOYDIR}/${IMAGE_NAME}.ext4
    install -d ${IMAGE_ROOTFS}/etc
}
do_image[file-checksums] = "${STANDIN}/rootfs.ext4:True"
do_image[cleandirs] = "${IMGDEPLOYDIR}"
addtask image after do_install

do_rootfs_wicenv[prefuncs] = ""
do_flush_pseudodb[noexec] = "1"

do_image_wic() {
    ${IMAGE_CMD:wic}
}

do_image_complete() {
    install -d ${DEPLOY_DIR_IMAGE}
    cp --sparse=always ${IMGDEPLOYDIR}/* ${DEPLOY_DIR_IMAGE}/
}
addtask image_complete after do_image do_image_wic before do_build
