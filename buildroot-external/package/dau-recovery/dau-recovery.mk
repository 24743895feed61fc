################################################################################
#
# dau-recovery
#
################################################################################

DAU_RECOVERY_VERSION = $(DAU_SOURCE_VERSION)
DAU_RECOVERY_SITE = $(DAU_SOURCE_SITE)
DAU_RECOVERY_SITE_METHOD = $(DAU_SOURCE_SITE_METHOD)
DAU_RECOVERY_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_SOURCE_EXCLUSIONS)
DAU_RECOVERY_SUBDIR = recovery
DAU_RECOVERY_LICENSE = MIT or Apache-2.0
DAU_RECOVERY_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
DAU_RECOVERY_DEPENDENCIES = host-pkgconf openssl
DAU_RECOVERY_CARGO_ENV = $(DAU_CARGO_ENV)
# RecoveryOS alone has it.
DAU_RECOVERY_INSTALL_TARGET = NO
DAU_RECOVERY_INSTALL_IMAGES = YES

define DAU_RECOVERY_FETCH
	$(call DAU_CARGO_FETCH,$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV))
endef
DAU_RECOVERY_PRE_BUILD_HOOKS += DAU_RECOVERY_FETCH

define DAU_RECOVERY_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/dau-recovery \
		$(BINARIES_DIR)/dau-recovery
	$(TARGET_STRIP) $(BINARIES_DIR)/dau-recovery
endef

$(eval $(cargo-package))
