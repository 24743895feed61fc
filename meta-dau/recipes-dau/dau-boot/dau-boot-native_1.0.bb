SUMMARY = "What makes packages and disk, and describes machines"
DESCRIPTION = "The scripts and descriptions of boot/, which every builder shares."
SECTION = "devel"

DAU_PATHS = "boot"

inherit dau_sources
inherit_defer native

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${datadir}/dau
    cp -r ${S}/boot ${D}${datadir}/dau/
}
