SUMMARY = "Fragments for kernel and U-Boot"
DESCRIPTION = "Apart from dau-boot-native, so that a change of the scripts there builds no kernel anew."
SECTION = "devel"

DAU_PATHS = "boot/check-config boot/linux.config boot/uboot.config boot/machines"

inherit dau_sources
inherit_defer native

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${datadir}/dau-kconfig
    for path in ${DAU_PATHS}; do
        cp -r ${S}/$path ${D}${datadir}/dau-kconfig/
    done
}
