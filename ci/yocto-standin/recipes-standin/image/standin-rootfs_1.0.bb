SUMMARY = "An image of somebody's own: the reference builder's root filesystem, with the programs that bitbake built"
STANDIN_PACKAGES = "dau-agent dau-conf dau-example-app dau-keyring"
STANDIN_FILE = "rootfs.ext4"
STANDIN_DEPLOYED = "${PN}-${MACHINE}.rootfs.ext4"
require standin-image.inc
