SUMMARY = "RecoveryOS: the initramfs of recovery.itb"
DESCRIPTION = "dau-recovery as /init, the tools of ext4, busybox for who has to look inside, and the keyring."
LICENSE = "MIT"

# The bare minimum.
PACKAGE_INSTALL = "dau-recovery dau-keyring ${VIRTUAL-RUNTIME_base-utils} base-passwd"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
# What the disk needs is built into the kernel.
PACKAGE_EXCLUDE = "kernel-image-* kernel-module-*"

IMAGE_FSTYPES = "cpio.zst"
IMAGE_NAME_SUFFIX = ""
IMAGE_ROOTFS_SIZE = "8192"
IMAGE_ROOTFS_EXTRA_SPACE = "0"

# It is unpacked into the terminal's memory, twice lies on boot, and is downloaded over poor links.
INITRAMFS_FSTYPES = "cpio.zst"
INITRAMFS_MAXSIZE = "32768"

inherit image features_check dau_identity

REQUIRED_DISTRO_FEATURES = "dau"
