SUMMARY = "Names of packages that others need at run time"
require ../standin.inc
PROVIDES += "initscripts update-rc.d"
inherit allarch
PACKAGE_ARCH = "all"
PACKAGES = "${PN} e2fsprogs-e2fsck e2fsprogs-resize2fs watchdog initscripts initd-functions update-rc.d"
ALLOW_EMPTY:${PN} = "1"
ALLOW_EMPTY:e2fsprogs-e2fsck = "1"
ALLOW_EMPTY:e2fsprogs-resize2fs = "1"
ALLOW_EMPTY:watchdog = "1"
ALLOW_EMPTY:initscripts = "1"
ALLOW_EMPTY:initd-functions = "1"
ALLOW_EMPTY:update-rc.d = "1"
