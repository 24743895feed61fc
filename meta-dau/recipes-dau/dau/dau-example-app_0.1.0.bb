SUMMARY = "Stands for the utility's application"
DESCRIPTION = "Serves IEC 60870-5-104's TCP port and keeps its settings in files, the parameters that must survive an upgrade. For demo and tests, not for \
terminals in the field."
SECTION = "base"

DAU_INIT = "buildroot-external/package/dau-example-app"

require dau-program.inc

inherit systemd update-rc.d

SYSTEMD_SERVICE:${PN} = "dau-example-app.service"
INITSCRIPT_NAME = "dau-example-app"
INITSCRIPT_PARAMS = "defaults 80 20"

do_install:append() {
    init=${S}/${DAU_INIT}
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -d ${D}${systemd_system_unitdir}
        install -m 0644 $init/dau-example-app.service ${D}${systemd_system_unitdir}/
    fi
    if ${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'true', 'false', d)}; then
        install -d ${D}${sysconfdir}/init.d
        install -m 0755 $init/S80dau-example-app ${D}${sysconfdir}/init.d/dau-example-app
    fi
}

# The script starts it by dau-agent's supervise.
RDEPENDS:${PN} = "${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'dau-agent', '', d)}"
