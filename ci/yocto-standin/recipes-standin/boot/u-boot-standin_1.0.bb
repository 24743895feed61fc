SUMMARY = "Debian's U-Boot"
require ../standin.inc
inherit deploy
PROVIDES = "virtual/bootloader"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_deploy() {
    install -D -m 0644 ${STANDIN}/u-boot.bin ${DEPLOYDIR}/u-boot.bin
}
do_deploy[file-checksums] = "${STANDIN}/u-boot.bin:True"
addtask deploy after do_compile before do_build
