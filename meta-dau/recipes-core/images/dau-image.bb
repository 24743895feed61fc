SUMMARY = "Normal OS of a terminal, its disk and its upgrade packages"
DESCRIPTION = "A small OS with the upgrade agent; the flashable disk with RecoveryOS; signed upgrade packages. Put your application in with IMAGE_INSTALL:append, \
or require this recipe in one of your own."
LICENSE = "MIT"

IMAGE_INSTALL = "packagegroup-core-boot dau-agent dau-conf dau-keyring ${CORE_IMAGE_EXTRA_INSTALL}"
IMAGE_LINGUAS = ""
# Nothing is loaded: a kernel-only upgrade cannot meet modules of another version.
PACKAGE_EXCLUDE = "kernel-module-*"
BAD_RECOMMENDATIONS = "kernel-modules"

IMAGE_FSTYPES = "ext4"

inherit core-image features_check dau_identity dau_upgrade_package

REQUIRED_DISTRO_FEATURES = "dau"

# The kernel and its device tree are in kernel.itb; many machines want them in every image all the same.
dau_without_kernel() {
    rm -rf ${IMAGE_ROOTFS}/boot/*
}
dau_without_kernel[doc] = "Takes kernel and device trees out of the root filesystem."
ROOTFS_POSTPROCESS_COMMAND += "dau_without_kernel"
