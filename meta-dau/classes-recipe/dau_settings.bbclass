# Settings of an image, of the same names in every builder (docs/image-builders.md), for the scripts of boot/ that make its identity, packages
# and disk. To be set in a configuration (local.conf, a distribution, kas); none has to be, except for the keys. An empty one is what the
# machine's description says, or a default.

inherit dau_machine

DAU_PRODUCT ?= ""
DAU_PRODUCT[doc] = "What upgrade packages are for: a terminal refuses those of another product [the machine's]."
DAU_VERSION ?= "1.0.0"
DAU_VERSION[doc] = "Version of the OS and of its upgrade packages."
DAU_ROLLBACK_INDEX ?= ""
DAU_ROLLBACK_INDEX[doc] = "A counter of releases, from 1: terminals refuse packages with a lower one than that of what they have installed [1 with \
development keys; else it must be set]."
DAU_BUILD_TIME ?= "${@dau_commit_time(d)}"
DAU_BUILD_TIME[doc] = "Seconds since 1970: the time in every package, and the floor of a terminal's clock [the layer's commit]."

DAU_KEYRING ?= ""
DAU_KEYRING[doc] = "Folder of the certificates (*.pem) that terminals trust, and of the list of revoked signers."
DAU_SIGNER ?= ""
DAU_SIGNER[doc] = "PEM file: certificate of the signer, then its intermediates."
DAU_KEY ?= ""
DAU_KEY[doc] = "PEM file: private key of the signer."
DAU_PASSPHRASE_FILE ?= ""
DAU_PASSPHRASE_FILE[doc] = "File whose first line is the passphrase of DAU_KEY."
DAU_SIGN_COMMAND ?= ""
DAU_SIGN_COMMAND[doc] = "Shell command that signs, instead of DAU_KEY. It runs with network, and finds programs that HOSTTOOLS names."
DAU_DEVELOPMENT_KEYS ?= "0"
DAU_DEVELOPMENT_KEYS[doc] = "1: make development keys in DAU_PKI and sign with them; every name says -devkeys. Not for the field."
DAU_PKI ?= "${TOPDIR}/dau-development-pki"
DAU_PKI[doc] = "Folder of the development keys, outside of every layer."

DAU_PACKAGES ?= "kernel rootfs full recovery"
DAU_PACKAGES[doc] = "Kinds of upgrade packages to make."
DAU_FULL_RECOVERY ?= "0"
DAU_FULL_RECOVERY[doc] = "1: the full package brings RecoveryOS, too."
DAU_MINIMUM_RECOVERY ?= ""
DAU_MINIMUM_RECOVERY[doc] = "Terminals with an older RecoveryOS refuse the packages."
DAU_BASE ?= ""
DAU_BASE[doc] = "Earlier packages (.dau): a delta is made from each to the new package of its kind, and the root filesystem is laid out like that of the first that has one."
# Weak: dau_upgrade_package, which may come after, has a better one.
DAU_SBOM ??= ""
DAU_SBOM[doc] = "SBOM whose SHA-256 stands in the signed manifest of every package [with create-spdx, that of all that is on a terminal, by SPDX 3]."
DAU_LEVEL ?= ""
DAU_LEVEL[doc] = "zstd level of packages; 19 for a release that goes over many poor links."

DAU_BOOTLOADER ?= ""
DAU_BOOTLOADER[doc] = "Bootloader files before boot, FILE@OFFSET each: MLO@128K u-boot.img@384K; with :NAME in a partition of that name [the machine's]."
DAU_BOOT_OFFSET ?= ""
DAU_BOOT_OFFSET[doc] = "Start of the first partition: room for a bootloader [the machine's]."
DAU_BOOT_SIZE ?= ""
DAU_BOOT_SIZE[doc] = "Size of partition boot: two kernels and two RecoveryOS."
DAU_ROOTFS_SIZE ?= ""
DAU_ROOTFS_SIZE[doc] = "Size of partition rootfs: the largest normal OS that this disk will ever take [the machine's]."
DAU_MNT_SIZE ?= ""
DAU_MNT_SIZE[doc] = "Size of partition mnt: three packages, backups and logs [the machine's]."
DAU_KERNEL_LOAD ?= ""
DAU_KERNEL_LOAD[doc] = "Address that U-Boot puts the kernel to [the machine's]."
DAU_FDT ?= ""
DAU_FDT[doc] = "Device tree that travels with the kernel, a file in the deploy folder [the machine's]."
DAU_MODULES ?= ""
DAU_MODULES[doc] = "Kernel modules that the normal OS loads when it starts; they are in kernel.itb."
DAU_RECOVERY_MODULES ?= ""
DAU_RECOVERY_MODULES[doc] = "Kernel modules that RecoveryOS loads."

DAU_SETTINGS = "DAU_BASE DAU_BOOTLOADER DAU_BOOT_OFFSET DAU_BOOT_SIZE DAU_BUILD_TIME DAU_FDT DAU_FULL_RECOVERY DAU_KERNEL_LOAD DAU_KEY DAU_KEYRING \
    DAU_LEVEL DAU_MACHINE DAU_MINIMUM_RECOVERY DAU_MNT_SIZE DAU_MODULES DAU_PACKAGES DAU_PASSPHRASE_FILE DAU_PKI DAU_PRODUCT \
    DAU_RECOVERY_MODULES DAU_ROLLBACK_INDEX DAU_ROOTFS_SIZE DAU_SBOM DAU_SIGNER DAU_SIGN_COMMAND DAU_VERSION"
DAU_SETTINGS[doc] = "Names of the settings that the scripts of boot/ are told."

# dau_boot SCRIPT [ARGUMENT]...: runs a script of boot/, with the settings.
dau_boot() {
    ${@dau_exports(d)}
    dau_script=$1
    shift
    ${STAGING_DATADIR_NATIVE}/dau/boot/$dau_script "$@" || bbfatal_log "$dau_script failed"
}
dau_boot[doc] = "Runs a script of boot/ with the settings of the image."
dau_boot[vardeps] += "${DAU_SETTINGS} DAU_DEVELOPMENT_KEYS"

def dau_exports(d):
    import shlex
    names = d.getVar('DAU_SETTINGS').split()
    if d.getVar('DAU_DEVELOPMENT_KEYS') == '1':
        names = [name for name in names if name not in ('DAU_KEYRING', 'DAU_SIGNER', 'DAU_KEY', 'DAU_PASSPHRASE_FILE', 'DAU_SIGN_COMMAND')]
    else:
        names.remove('DAU_PKI')
    return '; '.join('export %s=%s' % (name, shlex.quote(d.getVar(name) or '')) for name in names)

def dau_commit_time(d):
    layer = os.path.dirname(bb.utils.which(d.getVar('BBPATH'), 'classes-recipe/dau_settings.bbclass'))
    try:
        # The repository may be another user's: in a container, for instance.
        return bb.process.run(['git', '-c', 'safe.directory=*', '-C', layer, 'log', '-1', '--format=%ct'])[0].strip()
    except bb.process.CmdError:
        return d.getVar('REPRODUCIBLE_TIMESTAMP_ROOTFS')

# Keys are no part of a layer: whoever has the layer would have them.
def dau_key_fault(d):
    if d.getVar('DAU_DEVELOPMENT_KEYS') == '1':
        pki = os.path.realpath(d.getVar('DAU_PKI'))
        for layer in d.getVar('BBLAYERS').split():
            if (pki + '/').startswith(os.path.realpath(layer) + '/'):
                return 'DAU_PKI = "%s" is inside the layer %s: keys belong in no layer, set it to another folder' % (pki, layer)
    elif not d.getVar('DAU_KEYRING'):
        return ('no keys: set DAU_KEYRING, DAU_SIGNER and DAU_KEY (or DAU_SIGN_COMMAND) in local.conf, or DAU_DEVELOPMENT_KEYS = "1" for keys '
                'that serve in the laboratory only (see docs/yocto.md)')
    return ''

python dau_check_keys() {
    fault = dau_key_fault(d)
    if fault:
        bb.fatal(fault)
}
dau_check_keys[doc] = "Stops the build, with what to set, when there are no keys."

# For file-checksums: the files and folders that these variables name, one or several each.
def dau_checksums(d, names):
    paths = ' '.join(d.getVar(name) or '' for name in names.split()).split()
    return ' '.join('%s:%s' % (path, os.path.exists(path)) for path in paths)
