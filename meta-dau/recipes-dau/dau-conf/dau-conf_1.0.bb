SUMMARY = "Configuration of the upgrade agent"
DESCRIPTION = "Settings of dau-agent and lists of the parameters that survive an upgrade. Per machine: replace or extend it in a layer of your own."
SECTION = "base"
CVE_PRODUCT = "dau-conf"

DAU_PATHS = "rootfs-overlay/agent"

inherit dau_sources

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${sysconfdir}/dau/agent.d ${D}${sysconfdir}/dau/health.d
    cp -r --no-preserve=ownership ${S}/rootfs-overlay/agent/etc/. ${D}${sysconfdir}/
}

CONFFILES:${PN} = "${sysconfdir}/dau/agent.toml"
