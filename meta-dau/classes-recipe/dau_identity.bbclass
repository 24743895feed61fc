# For the recipe of an image: what it is, in its /etc/os-release, which the agent and RecoveryOS read, and an ext4 that packages take. The
# distribution's own lines stay, but for the version. See dau_settings for the variables.

inherit dau_settings

dau_identity() {
    dau_boot make-identity ${IMAGE_ROOTFS}
}
dau_identity[doc] = "Writes product, version, rollback index and time into the image's os-release."
ROOTFS_POSTPROCESS_COMMAND += "dau_identity"
do_rootfs[depends] += "dau-boot-native:do_populate_sysroot"

# The same features and identity of rootfs as from every builder.
EXTRA_IMAGECMD:ext4 = "$(${STAGING_DATADIR_NATIVE}/dau/boot/ext4-options rootfs)"
do_image_ext4[depends] += "dau-boot-native:do_populate_sysroot"
