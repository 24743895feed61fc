SUMMARY = "U-Boot's boot script and the boot state as it leaves the factory"
DESCRIPTION = "boot.scr and dau-a.env, dau-b.env for partition boot. What the script must know of a machine is in files/MACHINE/boot.cmd; a layer of yours adds its \
own with a bbappend."
SECTION = "bootloaders"
CVE_PRODUCT = "dau-boot"

DEPENDS = "u-boot-tools-native"

DAU_PATHS = "boot"

inherit dau_sources deploy

SRC_URI += "file://boot.cmd"

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"

do_configure[noexec] = "1"

do_compile() {
    # The configuration of dau-fit.inc.
    { cat ${UNPACKDIR}/boot.cmd; echo 'setenv dau_config boot-1'; } > ${B}/machine.cmd
    ${S}/boot/make-boot-files ${B}/machine.cmd ${B}
}

do_install[noexec] = "1"
ALLOW_EMPTY:${PN} = "1"

do_deploy() {
    install -D -m 0644 -t ${DEPLOYDIR} ${B}/boot.scr ${B}/dau-a.env ${B}/dau-b.env
}
addtask deploy after do_compile before do_build
