SUMMARY = "Configuration of the upgrade agent"
DESCRIPTION = "Settings of dau-agent, lists of the parameters that survive an upgrade, health checks. Per machine: \
replace or extend it in a layer of your own."
SECTION = "base"
CVE_PRODUCT = "dau-conf"

DAU_PATHS = "rootfs-overlay"

inherit dau_sources

PACKAGECONFIG ??= "example-app"
# Settings, parameters and health check of dau-example-app.
PACKAGECONFIG[example-app] = ",,,dau-example-app"

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${sysconfdir}/dau/agent.d ${D}${sysconfdir}/dau/health.d ${D}${sysconfdir}/dau/parameters.d
    cd ${S}/rootfs-overlay/etc
    install -m 0644 dau/agent.toml ${D}${sysconfdir}/dau/
    install -m 0644 dau/parameters.d/dau.list ${D}${sysconfdir}/dau/parameters.d/
    if ${@bb.utils.contains('PACKAGECONFIG', 'example-app', 'true', 'false', d)}; then
        install -m 0644 dau/parameters.d/example.list ${D}${sysconfdir}/dau/parameters.d/
        install -m 0755 dau/health.d/10-iec104 ${D}${sysconfdir}/dau/health.d/
        install -d ${D}${sysconfdir}/dau-example
        install -m 0644 dau-example/* ${D}${sysconfdir}/dau-example/
    fi
}

CONFFILES:${PN} = "${sysconfdir}/dau/agent.toml"
