SUMMARY = "Agent of remote OS upgrades"
DESCRIPTION = "Daemon of the normal OS: takes upgrade orders over MQTT, downloads packages, verifies them, backs up the parameters and hands over to \
RecoveryOS; confirms a new OS and reports the result. Its configuration is in dau-conf and dau-keyring."
SECTION = "base"
LICENSE = "(MIT | Apache-2.0) & Apache-2.0 & BSD-3-Clause & MIT"

require dau-program.inc

inherit systemd update-rc.d

PACKAGE_BEFORE_PN = "dau-console dau-mnt"

SYSTEMD_PACKAGES = "${PN} dau-mnt"
SYSTEMD_SERVICE:${PN} = "dau-agent.service dau-trial.service dau-log.service"
SYSTEMD_SERVICE:dau-mnt = "mnt.mount"
INITSCRIPT_PACKAGES = "${PN} dau-console dau-mnt"
INITSCRIPT_NAME:${PN} = "dau-agent"
INITSCRIPT_PARAMS:${PN} = "defaults 90 10"
# Before all others.
INITSCRIPT_NAME:dau-console = "dau-console"
INITSCRIPT_PARAMS:dau-console = "start 01 S ."
INITSCRIPT_NAME:dau-mnt = "dau-mnt"
INITSCRIPT_PARAMS:dau-mnt = "start 08 S . stop 38 0 6 ."

do_install:append() {
    install -d ${D}${nonarch_libdir}
    cp -r --no-preserve=ownership ${S}/rootfs-overlay/agent/usr/lib/. ${D}${nonarch_libdir}/
    dau_install_init agent
}

SUMMARY:dau-console = "Keeps noise on the serial line from stopping what prints there"
ALLOW_EMPTY:dau-console = "1"
FILES:dau-console = "${sysconfdir}/init.d/dau-console"
SUMMARY:dau-mnt = "Mounts the partition that keeps packages, jobs and backups"
FILES:dau-mnt = "${systemd_system_unitdir}/mnt.mount ${systemd_system_unitdir}/dau-mnt-read-only.service \
    ${sysconfdir}/init.d/dau-mnt ${nonarch_libdir}/dau/mount-mnt"
FILES:${PN} += "${nonarch_libdir}/dau"

RDEPENDS:${PN} = "${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'dau-console', '', d)} dau-mnt"
# Checked before it is mounted.
RDEPENDS:dau-mnt = "e2fsprogs-e2fsck"
