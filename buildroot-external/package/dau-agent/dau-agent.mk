################################################################################
#
# dau-agent
#
################################################################################

DAU_AGENT_VERSION = $(DAU_SOURCE_VERSION)
DAU_AGENT_SITE = $(DAU_SOURCE_SITE)
DAU_AGENT_SITE_METHOD = $(DAU_SOURCE_SITE_METHOD)
DAU_AGENT_SOURCE = $(DAU_SOURCE_FILE)
DAU_AGENT_DL_SUBDIR = dau
DAU_AGENT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_SOURCE_EXCLUSIONS)
DAU_AGENT_SUBDIR = agent
DAU_AGENT_LICENSE = MIT or Apache-2.0
DAU_AGENT_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
DAU_AGENT_DEPENDENCIES = host-pkgconf openssl
DAU_AGENT_CARGO_ENV = $(DAU_CARGO_ENV)
DAU_AGENT_CARGO_BUILD_OPTS = $(DAU_CARGO_OPTS)
DAU_AGENT_CARGO_INSTALL_OPTS = $(DAU_CARGO_OPTS)

define DAU_AGENT_FETCH
	$(call DAU_CARGO_FETCH,$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV))
endef
DAU_AGENT_PRE_BUILD_HOOKS += DAU_AGENT_FETCH

define DAU_AGENT_INSTALL_SUPPORT
	$(INSTALL) -D -m 0755 $(DAU_AGENT_PKGDIR)/supervise \
		$(TARGET_DIR)/usr/lib/dau/supervise
	$(INSTALL) -D -m 0755 $(DAU_AGENT_PKGDIR)/mount-mnt \
		$(TARGET_DIR)/usr/lib/dau/mount-mnt
endef
DAU_AGENT_POST_INSTALL_TARGET_HOOKS += DAU_AGENT_INSTALL_SUPPORT

define DAU_AGENT_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(DAU_AGENT_PKGDIR)/S00dau-mnt \
		$(TARGET_DIR)/etc/init.d/S00dau-mnt
	$(INSTALL) -D -m 0755 $(DAU_AGENT_PKGDIR)/S90dau-agent \
		$(TARGET_DIR)/etc/init.d/S90dau-agent
endef

define DAU_AGENT_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(DAU_AGENT_PKGDIR)/mnt.mount \
		$(TARGET_DIR)/usr/lib/systemd/system/mnt.mount
	$(INSTALL) -D -m 0644 $(DAU_AGENT_PKGDIR)/dau-mnt-read-only.service \
		$(TARGET_DIR)/usr/lib/systemd/system/dau-mnt-read-only.service
	$(INSTALL) -D -m 0644 $(DAU_AGENT_PKGDIR)/dau-agent.service \
		$(TARGET_DIR)/usr/lib/systemd/system/dau-agent.service
	$(INSTALL) -D -m 0644 $(DAU_AGENT_PKGDIR)/dau-trial.service \
		$(TARGET_DIR)/usr/lib/systemd/system/dau-trial.service
	$(INSTALL) -D -m 0644 $(DAU_AGENT_PKGDIR)/dau-log.service \
		$(TARGET_DIR)/usr/lib/systemd/system/dau-log.service
endef

$(eval $(cargo-package))
