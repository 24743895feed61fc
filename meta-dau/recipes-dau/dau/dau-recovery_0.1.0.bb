SUMMARY = "The program of RecoveryOS"
DESCRIPTION = "Verifies an upgrade package, writes kernel and root filesystem, restores the parameters, commits or rolls back. For RecoveryOS only: it is \
its /init."
SECTION = "base"
LICENSE = "(MIT | Apache-2.0) & Apache-2.0 & BSD-3-Clause & MIT"

require dau-program.inc

do_install:append() {
    ln -s ${bindir}/dau-recovery ${D}/init
    # Kernel modules that RecoveryOS loads, one a line: none, what the disk needs is built into the kernel.
    install -d ${D}${sysconfdir}/dau
    : > ${D}${sysconfdir}/dau/modules
    chmod 0644 ${D}${sysconfdir}/dau/modules
}

FILES:${PN} += "/init"

RDEPENDS:${PN} = "e2fsprogs-e2fsck e2fsprogs-resize2fs"
