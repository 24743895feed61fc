SUMMARY = "Kernel of the normal OS as a FIT image"
DESCRIPTION = "kernel.itb: the kernel with its device tree. It has no initramfs and finds the root filesystem by its label."

INITRAMFS_IMAGE = ""
DAU_ITB = "kernel.itb"

require dau-fit.inc

FIT_DESC = "DAU ${DAU_PRODUCT} ${DAU_VERSION} kernel"
