################################################################################
#
# dau: what the scripts in boot/ are told, and checks of our fragments
#
################################################################################

# Nothing of it concerns a configuration that merely has this tree in
# BR2_EXTERNAL.
ifneq ($(or $(DAU_MACHINE),$(call qstrip,$(BR2_DAU_MACHINE))),)

# Settings of the same names everywhere (docs/image-builders.md): what stands in
# the configuration, unless the environment or the command line of make says
# otherwise (make DAU_VERSION=1.1.0). An empty one is the machine's or a default.
DAU_SETTINGS = \
	BASE BOOTLOADER BOOT_OFFSET BOOT_SIZE FDT KERNEL_LOAD KEY KEYRING LEVEL MACHINE \
	MINIMUM_RECOVERY MNT_SIZE MODULES PACKAGES PASSPHRASE_FILE PKI PRODUCT \
	RECOVERY_MODULES ROLLBACK_INDEX ROOTFS_SIZE SBOM SIGNER SIGN_COMMAND VERSION
$(foreach name,$(DAU_SETTINGS),$(eval DAU_$(name) ?= $$(call qstrip,$$(BR2_DAU_$(name)))))
DAU_FULL_RECOVERY ?= $(if $(BR2_DAU_FULL_RECOVERY),1)
ifeq ($(DAU_KEYRING)$(DAU_PKI),)
DAU_PKI = $(BASE_DIR)/dau-development-pki
endif

# The time of the product's commit: in every image and package, and the floor
# of the terminal's clock.
ifeq ($(DAU_BUILD_TIME),)
ifneq ($(wildcard $(BR2_EXTERNAL_DAU_PATH)/../.git),)
DAU_BUILD_TIME := $(shell git -C $(BR2_EXTERNAL_DAU_PATH) log -1 --format=%ct)
ifeq ($(DAU_BUILD_TIME),)
$(error git cannot tell the time of the commit, see above: mend that or set DAU_BUILD_TIME to seconds since 1970)
endif
else
DAU_BUILD_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell date +%s))
endif
endif

export DAU_BUILD_TIME DAU_FULL_RECOVERY $(addprefix DAU_,$(DAU_SETTINGS))
# For post-image.sh and fs/dau-recovery/prune
export DAU_KERNEL_IMAGE = $(LINUX_IMAGE_NAME)
export DAU_CRATES = $(DAU_PROGRAMS_DIR)/dau-crates
export DAU_READELF = $(TARGET_READELF)

# BR2_TARGET_ROOTFS_EXT2_MKFS_OPTIONS of every configuration
DAU_EXT4_OPTIONS := $(shell $(BR2_EXTERNAL_DAU_PATH)/../boot/ext4-options rootfs)

# Modules travel with their kernel, in kernel.itb; on rootfs, a kernel-only
# upgrade would leave those of another version.
define DAU_NO_MODULES
	rm -rf $(TARGET_DIR)/lib/modules
endef
# check-package TypoInPackageVariable
ROOTFS_EXT2_PRE_GEN_HOOKS += DAU_NO_MODULES

# Kconfig drops what it does not know or cannot have, without a word. So every
# line of every fragment is compared with what came of it.
# $(1): fragments
define DAU_CHECK_CONFIG
	$(BR2_EXTERNAL_DAU_PATH)/../boot/check-config $(@D)/.config $(call qstrip,$(1))
endef

define DAU_CHECK_LINUX_CONFIG
	$(call DAU_CHECK_CONFIG,$(BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE) $(BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
LINUX_POST_CONFIGURE_HOOKS += DAU_CHECK_LINUX_CONFIG

define DAU_CHECK_UBOOT_CONFIG
	$(call DAU_CHECK_CONFIG,$(BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
UBOOT_POST_CONFIGURE_HOOKS += DAU_CHECK_UBOOT_CONFIG

define DAU_CHECK_BUSYBOX_CONFIG
	$(call DAU_CHECK_CONFIG,$(BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
BUSYBOX_POST_CONFIGURE_HOOKS += DAU_CHECK_BUSYBOX_CONFIG

endif
