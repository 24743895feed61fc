################################################################################
#
# RecoveryOS: a second root filesystem, pruned to what dau-recovery needs
#
################################################################################

ROOTFS_DAU_RECOVERY_IMAGE_NAME = dau-recovery.cpio
ROOTFS_DAU_RECOVERY_DEPENDENCIES = dau-programs e2fsprogs busybox host-cpio

# Like every hook here it becomes a line of a script that runs as if by root,
# on this filesystem's own copy of the target.
define ROOTFS_DAU_RECOVERY_PRUNE
	$(BR2_EXTERNAL_DAU_PATH)/fs/dau-recovery/prune "$(TARGET_DIR)" "$(BINARIES_DIR)/dau-recovery" $(call qstrip,$(BR2_TARGET_ROOTFS_DAU_RECOVERY_PROGRAMS))
endef
ROOTFS_DAU_RECOVERY_PRE_GEN_HOOKS += ROOTFS_DAU_RECOVERY_PRUNE

define ROOTFS_DAU_RECOVERY_CMD
	cd $(TARGET_DIR) && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc > $@
endef

$(eval $(rootfs))
