# What normal OS, RecoveryOS and boot.cmd ask of a kernel or of U-Boot: fragments for all machines and for this one, merged into whatever the
# recipe configured. Kconfig drops what it cannot have without a word, so every line is compared with what came of it.
#
#   DAU_KCONFIG  linux or uboot: the fragments' name

inherit dau_machine

DAU_KCONFIG ?= ""
DAU_KCONFIG[doc] = "linux or uboot: name of the fragments."
DEPENDS += "dau-kconfig-native"
do_configure[file-checksums] += "${@dau_machine_checksums(d)}"

# dau_merge_fragments FOLDER: into the .config in FOLDER.
dau_merge_fragments() {
    shared=${STAGING_DATADIR_NATIVE}/dau-kconfig
    case ${DAU_MACHINE} in
        */*) machine=${DAU_MACHINE} ;;
        *) machine=$shared/machines/${DAU_MACHINE} ;;
    esac
    [ -e $machine/machine ] || bbfatal "$machine does not describe machine ${MACHINE}: set DAU_MACHINE (see docs/image-builders.md)"
    fragments="$shared/${DAU_KCONFIG}.config $machine/${DAU_KCONFIG}.config"
    ${S}/scripts/kconfig/merge_config.sh -m -O $1 $1/.config $fragments
    oe_runmake -C ${S} O=$1 olddefconfig
    $shared/check-config $1/.config $fragments || bbfatal_log "the configuration lacks what DAU asks for"
}
dau_merge_fragments[doc] = "Merges DAU's fragments into a configuration and checks what came of them."
