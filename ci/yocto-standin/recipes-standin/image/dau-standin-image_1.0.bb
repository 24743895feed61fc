SUMMARY = "Packages and disk of standin-rootfs"
LICENSE = "CLOSED"
DAU_IMAGE = "standin-rootfs"
DAU_KERNEL_IMAGE = "Image.gz"
DAU_KERNEL_INITRAMFS = "${DEPLOY_DIR_IMAGE}/standin-kernel-initramfs-${MACHINE}.cpio.zst"
DAU_RECOVERY_IMAGE = "standin-recovery-initramfs"

inherit dau_bundle

do_dau_package[depends] += "standin-kernel-initramfs:do_image_complete"
