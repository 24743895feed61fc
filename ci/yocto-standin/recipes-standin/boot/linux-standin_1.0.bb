SUMMARY = "Debian's kernel"
require ../standin.inc
inherit deploy
PROVIDES = "virtual/kernel"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_deploy() {
    install -D -m 0644 ${STANDIN}/Image.gz ${DEPLOYDIR}/Image.gz
}
do_deploy[file-checksums] = "${STANDIN}/Image.gz:True"
addtask deploy after do_compile before do_build
