SUMMARY = "Certificates that vouch for upgrade packages"
DESCRIPTION = "The keyring of normal OS and RecoveryOS, from DAU_KEYRING. With DAU_DEVELOPMENT_KEYS it is made once, in DAU_PKI."
SECTION = "base"
CVE_PRODUCT = "dau-keyring"

DEPENDS = "dau-boot-native dau-packager-native"

inherit dau_sources dau_settings

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"
# Another build folder makes development keys of its own.
SSTATE_SKIP_CREATION = "${DAU_DEVELOPMENT_KEYS}"

do_configure[noexec] = "1"

do_compile() {
    dau_boot make-keyring ${B}/root
}
do_compile[prefuncs] += "dau_check_keys"
do_compile[file-checksums] += "${@dau_checksums(d, 'DAU_KEYRING')} ${@dau_machine_checksums(d)}"

do_install() {
    cp -r --no-preserve=ownership ${B}/root/. ${D}/
}
