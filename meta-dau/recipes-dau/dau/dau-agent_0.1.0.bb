SUMMARY = "Agent of remote OS upgrades"
DESCRIPTION = "Daemon of the normal OS: takes upgrade orders over MQTT, downloads packages, verifies them, backs up the parameters and hands over to \
RecoveryOS; confirms a new OS and reports the result. Its configuration is in dau-conf and dau-keyring."
SECTION = "base"

DAU_INIT = "buildroot-external/package/dau-agent"

require dau-program.inc
DAU_PATHS:append = " rootfs-overlay"

inherit systemd update-rc.d

PACKAGE_BEFORE_PN = "dau-mnt"

SYSTEMD_PACKAGES = "${PN} dau-mnt"
SYSTEMD_SERVICE:${PN} = "dau-agent.service dau-trial.service dau-log.service"
SYSTEMD_SERVICE:dau-mnt = "mnt.mount"
INITSCRIPT_PACKAGES = "${PN} dau-mnt"
INITSCRIPT_NAME:${PN} = "dau-agent"
INITSCRIPT_PARAMS:${PN} = "defaults 90 10"
INITSCRIPT_NAME:dau-mnt = "dau-mnt"
INITSCRIPT_PARAMS:dau-mnt = "start 08 S . stop 38 0 6 ."

do_install:append() {
    init=${S}/${DAU_INIT}
    install -d ${D}${nonarch_libdir}/dau
    install -m 0755 ${S}/rootfs-overlay/usr/lib/dau/begin-trial ${D}${nonarch_libdir}/dau/
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -d ${D}${systemd_system_unitdir}
        install -m 0644 $init/dau-agent.service $init/dau-trial.service $init/dau-log.service $init/mnt.mount $init/dau-mnt-read-only.service \
            ${D}${systemd_system_unitdir}/
    fi
    if ${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'true', 'false', d)}; then
        install -d ${D}${sysconfdir}/init.d
        install -m 0755 $init/S90dau-agent ${D}${sysconfdir}/init.d/dau-agent
        install -m 0755 $init/S00dau-mnt ${D}${sysconfdir}/init.d/dau-mnt
        install -m 0755 $init/supervise $init/mount-mnt ${D}${nonarch_libdir}/dau/
    fi
}

SUMMARY:dau-mnt = "Mounts the partition that keeps packages, jobs and backups"
FILES:dau-mnt = "${systemd_system_unitdir}/mnt.mount ${systemd_system_unitdir}/dau-mnt-read-only.service \
    ${sysconfdir}/init.d/dau-mnt ${nonarch_libdir}/dau/mount-mnt"
FILES:${PN} += "${nonarch_libdir}/dau"

RDEPENDS:${PN} = "dau-mnt"
# Checked before it is mounted.
RDEPENDS:dau-mnt = "e2fsprogs-e2fsck"
