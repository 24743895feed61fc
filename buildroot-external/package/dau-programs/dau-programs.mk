################################################################################
#
# dau-programs
#
################################################################################

DAU_PROGRAMS_OWN_VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' $(BR2_EXTERNAL_DAU_PATH)/../Cargo.toml)

# The repository that holds this tree, or a fixed revision of it.
ifeq ($(BR2_DAU_SOURCE_GIT),y)
DAU_PROGRAMS_VERSION = $(call qstrip,$(BR2_DAU_SOURCE_GIT_REVISION))
DAU_PROGRAMS_SITE = $(call qstrip,$(BR2_DAU_SOURCE_GIT_URL))
DAU_PROGRAMS_SITE_METHOD = git
DAU_PROGRAMS_CPE_ID_VERSION = $(DAU_PROGRAMS_OWN_VERSION)
else
DAU_PROGRAMS_VERSION = $(DAU_PROGRAMS_OWN_VERSION)
DAU_PROGRAMS_SITE = $(abspath $(BR2_EXTERNAL_DAU_PATH)/..)
DAU_PROGRAMS_SITE_METHOD = local
endif
DAU_PROGRAMS_LICENSE = MIT or Apache-2.0 (programs), Apache-2.0, BSD-3-Clause, MIT (crates linked in)
DAU_PROGRAMS_CPE_ID_VENDOR = dau
DAU_PROGRAMS_CPE_ID_PRODUCT = dau
HOST_DAU_PROGRAMS_LICENSE = $(DAU_PROGRAMS_LICENSE)
DAU_PROGRAMS_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
DAU_PROGRAMS_DEPENDENCIES = host-pkgconf openssl
HOST_DAU_PROGRAMS_DEPENDENCIES = host-pkgconf host-openssl
# RecoveryOS takes its program from there.
DAU_PROGRAMS_INSTALL_IMAGES = YES

# What a developer has built there is not copied, nor given away by legal-info,
# which copies a local source with no other exclusions than these.
DAU_PROGRAMS_EXCLUSIONS = --exclude /target --exclude /build --exclude /buildroot --exclude /output
DAU_PROGRAMS_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_PROGRAMS_EXCLUSIONS)
HOST_DAU_PROGRAMS_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_PROGRAMS_EXCLUSIONS)
dau-programs-legal-info host-dau-programs-legal-info: RSYNC_VCS_EXCLUSIONS += $(DAU_PROGRAMS_EXCLUSIONS)

# Buildroot sets the release profile by environment variables, so the
# workspace's own (small binaries, an overflow stops the program) is said again.
DAU_PROGRAMS_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
	CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true

DAU_PROGRAMS_TARGET = dau-agent $(if $(BR2_PACKAGE_DAU_PROGRAMS_EXAMPLE_APP),dau-example-app)

# Places of panics in the programs name no folder of the building machine. A
# "cfg" table adds to the flags that Buildroot sets for the target's own.
DAU_PROGRAMS_CARGO_BUILD_OPTS = $(addprefix --package ,$(DAU_PROGRAMS_TARGET) dau-recovery) \
	--config 'target."cfg(all())".rustflags=[ \
	"--remap-path-prefix=$(@D)=/usr/src/dau", \
	"--remap-path-prefix=$(BR_CARGO_HOME)=/usr/src/cargo"]'
HOST_DAU_PROGRAMS_CARGO_BUILD_OPTS = --package dau-packager

# Buildroot vendors crates when it downloads a source; a local one is not
# downloaded, and cargo runs offline. So the crates are fetched before the
# build, guarded by the checksums in Cargo.lock. It needs rustc, which is not
# there yet when a local source is copied.
ifneq ($(BR2_DAU_SOURCE_GIT),y)
define DAU_PROGRAMS_FETCH_CRATES
	mkdir -p $(BR_CARGO_HOME)
	cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_COMMON_CARGO_ENV) flock $(BR_CARGO_HOME)/.br-lock \
		cargo fetch --locked
endef
DAU_PROGRAMS_PRE_CONFIGURE_HOOKS += DAU_PROGRAMS_FETCH_CRATES
HOST_DAU_PROGRAMS_PRE_CONFIGURE_HOOKS += DAU_PROGRAMS_FETCH_CRATES
endif

# What is linked into each program, for the SBOM.
define DAU_PROGRAMS_LIST_CRATES
	rm -rf $(@D)/dau-crates
	mkdir -p $(@D)/dau-crates
	$(foreach program,$(DAU_PROGRAMS_TARGET) dau-recovery,\
		cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) boot/list-crates \
			$(program) $(RUSTC_TARGET_NAME) > dau-crates/$(program)$(sep))
endef
DAU_PROGRAMS_POST_BUILD_HOOKS += DAU_PROGRAMS_LIST_CRATES

DAU_PROGRAMS_BUILT = $(@D)/target/$(RUSTC_TARGET_NAME)/$(if $(BR2_ENABLE_DEBUG),debug,release)

# $(1): folder of rootfs-overlay
define DAU_PROGRAMS_OVERLAY
	cp -a $(@D)/rootfs-overlay/$(strip $(1))/. $(TARGET_DIR)/
endef

define DAU_PROGRAMS_INSTALL_TARGET_CMDS
	$(foreach program,$(DAU_PROGRAMS_TARGET),\
		$(INSTALL) -D -m 0755 $(DAU_PROGRAMS_BUILT)/$(program) \
			$(TARGET_DIR)/usr/bin/$(program)$(sep))
	$(call DAU_PROGRAMS_OVERLAY,agent)
	$(if $(BR2_PACKAGE_DAU_PROGRAMS_EXAMPLE_APP),$(call DAU_PROGRAMS_OVERLAY,example))
endef

define DAU_PROGRAMS_INSTALL_INIT_SYSV
	$(call DAU_PROGRAMS_OVERLAY,agent-sysv)
	$(if $(BR2_PACKAGE_DAU_PROGRAMS_EXAMPLE_APP),$(call DAU_PROGRAMS_OVERLAY,example-sysv))
endef

define DAU_PROGRAMS_INSTALL_INIT_SYSTEMD
	$(call DAU_PROGRAMS_OVERLAY,agent-systemd)
	$(if $(BR2_PACKAGE_DAU_PROGRAMS_EXAMPLE_APP),$(call DAU_PROGRAMS_OVERLAY,example-systemd))
endef

define DAU_PROGRAMS_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0755 $(DAU_PROGRAMS_BUILT)/dau-recovery $(BINARIES_DIR)/dau-recovery
	$(TARGET_STRIP) $(BINARIES_DIR)/dau-recovery
endef

define HOST_DAU_PROGRAMS_INSTALL_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/release/dau-packager $(HOST_DIR)/bin/dau-packager
endef

$(eval $(cargo-package))
$(eval $(host-cargo-package))

# Where the hash of a revision's archive is missing, Buildroot would not say
# what it is; where it is wrong, it does ("got").
ifeq ($(BR2_DAU_SOURCE_GIT),y)
ifeq ($(shell grep -hs ' $(DAU_PROGRAMS_SOURCE)$$' $(DAU_PROGRAMS_HASH_FILES)),)
DAU_PROGRAMS_NO_HASH = $(BUILD_DIR)/dau-programs.hash
define DAU_PROGRAMS_WRITE_NO_HASH
	printf '# missing\nsha256  %064d  %s\n' 0 $(DAU_PROGRAMS_SOURCE) > $(DAU_PROGRAMS_NO_HASH)
endef
DAU_PROGRAMS_PRE_DOWNLOAD_HOOKS += DAU_PROGRAMS_WRITE_NO_HASH
HOST_DAU_PROGRAMS_PRE_DOWNLOAD_HOOKS += DAU_PROGRAMS_WRITE_NO_HASH
DAU_PROGRAMS_HASH_FILES += $(DAU_PROGRAMS_NO_HASH)
HOST_DAU_PROGRAMS_HASH_FILES += $(DAU_PROGRAMS_NO_HASH)
endif
endif
