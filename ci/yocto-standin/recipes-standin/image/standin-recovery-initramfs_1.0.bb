SUMMARY = "The reference builder's recovery initramfs, with the programs that bitbake built"
STANDIN_PACKAGES = "dau-recovery dau-keyring"
STANDIN_FILE = "${PN}.cpio.zst"
STANDIN_DEPLOYED = "${PN}-${MACHINE}.cpio.zst"
require standin-image.inc
