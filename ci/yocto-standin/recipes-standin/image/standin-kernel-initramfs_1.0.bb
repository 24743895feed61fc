SUMMARY = "The reference builder's kernel initramfs, with the programs that bitbake built"
STANDIN_PACKAGES = ""
STANDIN_FILE = "${PN}.cpio.zst"
STANDIN_DEPLOYED = "${PN}-${MACHINE}.cpio.zst"
require standin-image.inc
