# What an image is, in its /etc/os-release: the agent and RecoveryOS read it. The distribution's own lines stay, but for the version.
# See dau_settings for the variables.

inherit dau_settings

dau_identity() {
    release=${IMAGE_ROOTFS}${nonarch_libdir}/os-release
    install -d ${IMAGE_ROOTFS}${nonarch_libdir} ${IMAGE_ROOTFS}${sysconfdir}
    [ -e $release ] || printf 'ID=dau\nNAME="DAU"\n' > $release
    sed -i -e '/^VERSION_ID=/d; /^PRETTY_NAME=/d; /^DAU_/d' $release
    cat >> $release <<IDENTITY
VERSION_ID=${DAU_VERSION}
PRETTY_NAME="DAU ${DAU_PRODUCT} ${DAU_VERSION}"
DAU_PRODUCT=${DAU_PRODUCT}
DAU_ROLLBACK_INDEX=${DAU_ROLLBACK_INDEX}
DAU_BUILD_TIME=${DAU_BUILD_TIME}
IDENTITY
    ln -sf ..${nonarch_libdir}/os-release ${IMAGE_ROOTFS}${sysconfdir}/os-release
}
dau_identity[doc] = "Writes product, version, rollback index and time into the image's os-release."
ROOTFS_POSTPROCESS_COMMAND += "dau_identity"
