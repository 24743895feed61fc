SUMMARY = "Stands for the utility's application"
DESCRIPTION = "Serves IEC 60870-5-104's TCP port and keeps its settings in files, the parameters that must survive an upgrade. For demo and tests, not for \
terminals in the field."
SECTION = "base"
LICENSE = "(MIT | Apache-2.0) & MIT"

require dau-program.inc

inherit systemd update-rc.d

SYSTEMD_SERVICE:${PN} = "dau-example-app.service"
INITSCRIPT_NAME = "dau-example-app"
INITSCRIPT_PARAMS = "defaults 80 20"

do_install:append() {
    cp -r --no-preserve=ownership ${S}/rootfs-overlay/example/. ${D}/
    dau_install_init example
}

# The script starts it by dau-agent's supervise.
RDEPENDS:${PN} = "${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'dau-agent', '', d)}"
