# Packages and disk of an image that is not ours, by a recipe of its own beside it:
#
#   SUMMARY = "Upgrade packages of my-image"
#   LICENSE = "MIT"
#   DAU_IMAGE = "my-image"
#   inherit dau_bundle
#
# my-image inherits dau_identity, has ext4 among its IMAGE_FSTYPES, and installs dau-agent, dau-conf and dau-keyring. Variables are those of
# dau_upgrade_package; DAU_DISK = "0" where the disk is not ours either.

inherit nopackages nospdx

DAU_IMAGE ?= ""
DAU_IMAGE[doc] = "Image recipe whose root filesystem goes into the packages."
DAU_ROOTFS_IMAGE ?= "${DEPLOY_DIR_IMAGE}/${DAU_IMAGE}-${MACHINE}.rootfs.ext4"
IMAGE_BASENAME = "${DAU_IMAGE}"

inherit dau_upgrade_package

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"
EXCLUDE_FROM_WORLD = "1"

do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
do_populate_lic[noexec] = "1"
do_populate_sysroot[noexec] = "1"

do_dau_package[depends] += "${DAU_IMAGE}:do_image_complete"

python () {
    if not d.getVar('DAU_IMAGE'):
        raise bb.parse.SkipRecipe('DAU_IMAGE is not set: name the image recipe whose root filesystem goes into the packages')
}
