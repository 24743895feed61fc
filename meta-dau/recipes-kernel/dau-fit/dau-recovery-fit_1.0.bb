SUMMARY = "RecoveryOS as a FIT image: the same kernel, with its initramfs"
DESCRIPTION = "recovery.itb: the kernel of the normal OS with its device tree and dau-recovery-initramfs."

INITRAMFS_IMAGE = "dau-recovery-initramfs"
DAU_ITB = "recovery.itb"

require dau-fit.inc

FIT_SUPPORTED_INITRAMFS_FSTYPES = "cpio.zst"
FIT_DESC = "DAU ${DAU_PRODUCT} ${DAU_VERSION} RecoveryOS"
