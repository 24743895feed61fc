SUMMARY = "Debian's kernel, as core's kernel recipe leaves it for FIT images"
require ../standin.inc
inherit deploy
PROVIDES = "virtual/kernel"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_deploy() {
    install -D -m 0644 ${STANDIN}/linux.bin ${DEPLOYDIR}/linux.bin
    printf gzip > ${DEPLOYDIR}/linux_comp
}
do_deploy[file-checksums] = "${STANDIN}/linux.bin:True"
addtask deploy after do_compile before do_build
