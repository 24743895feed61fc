################################################################################
#
# dau-example-app
#
################################################################################

DAU_EXAMPLE_APP_VERSION = $(DAU_SOURCE_VERSION)
DAU_EXAMPLE_APP_SITE = $(DAU_SOURCE_SITE)
DAU_EXAMPLE_APP_SITE_METHOD = $(DAU_SOURCE_SITE_METHOD)
DAU_EXAMPLE_APP_SOURCE = $(DAU_SOURCE_FILE)
DAU_EXAMPLE_APP_DL_SUBDIR = dau
DAU_EXAMPLE_APP_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_SOURCE_EXCLUSIONS)
DAU_EXAMPLE_APP_SUBDIR = example-app
DAU_EXAMPLE_APP_LICENSE = MIT or Apache-2.0
DAU_EXAMPLE_APP_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
DAU_EXAMPLE_APP_CARGO_ENV = $(DAU_CARGO_ENV)

define DAU_EXAMPLE_APP_FETCH
	$(call DAU_CARGO_FETCH,$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV))
endef
DAU_EXAMPLE_APP_PRE_BUILD_HOOKS += DAU_EXAMPLE_APP_FETCH

define DAU_EXAMPLE_APP_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(DAU_EXAMPLE_APP_PKGDIR)/S80dau-example-app \
		$(TARGET_DIR)/etc/init.d/S80dau-example-app
endef

define DAU_EXAMPLE_APP_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(DAU_EXAMPLE_APP_PKGDIR)/dau-example-app.service \
		$(TARGET_DIR)/usr/lib/systemd/system/dau-example-app.service
endef

$(eval $(cargo-package))
