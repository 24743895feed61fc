SUMMARY = "Certificates that vouch for upgrade packages"
DESCRIPTION = "The keyring of normal OS and RecoveryOS, from DAU_KEYRING. With DAU_DEVELOPMENT_KEYS it is made once, in DAU_PKI."
SECTION = "base"
CVE_PRODUCT = "dau-keyring"

DEPENDS = "${@'dau-packager-native' if d.getVar('DAU_DEVELOPMENT_KEYS') == '1' else ''}"

inherit dau_sources

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"
# Another build folder makes development keys of its own.
SSTATE_SKIP_CREATION = "${DAU_DEVELOPMENT_KEYS}"

python dau_check_keyring() {
    fault = dau_key_fault(d, False)
    if fault:
        bb.fatal(fault)
}
dau_check_keyring[doc] = "Stops the build, with what to set, when there is no keyring."

do_configure[noexec] = "1"

do_compile() {
    if [ "${DAU_DEVELOPMENT_KEYS}" = 1 ] && [ ! -e "${DAU_PKI}/keyring" ]; then
        dau-packager keygen --out "${DAU_PKI}"
    fi
}
do_compile[prefuncs] += "dau_check_keyring"
do_compile[file-checksums] += "${@dau_checksums(d, 'DAU_KEYRING')}"
do_compile[lockfiles] = "${TMPDIR}/dau-development-pki.lock"

do_install() {
    install -d ${D}${sysconfdir}/dau/keyring
    for file in "${DAU_KEYRING}"/*; do
        install -m 0644 "$file" ${D}${sysconfdir}/dau/keyring/
    done
}
