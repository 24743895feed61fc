################################################################################
#
# What the packages of this tree share, and what the scripts in board/ are told
#
################################################################################

# For the scripts: what stands in the configuration, unless the environment or
# the command line of make says otherwise (make DAU_VERSION=1.1.0).
DAU_MACHINE = $(call qstrip,$(BR2_DAU_MACHINE))
DAU_PRODUCT ?= $(call qstrip,$(BR2_DAU_PRODUCT))
DAU_VERSION ?= $(call qstrip,$(BR2_DAU_VERSION))
DAU_ROLLBACK_INDEX ?= $(BR2_DAU_ROLLBACK_INDEX)
DAU_KEYRING ?= $(call qstrip,$(BR2_DAU_KEYRING))
DAU_SIGNER ?= $(call qstrip,$(BR2_DAU_SIGNER))
DAU_KEY ?= $(call qstrip,$(BR2_DAU_KEY))
DAU_SIGN_COMMAND ?= $(call qstrip,$(BR2_DAU_SIGN_COMMAND))
DAU_PKI ?= $(or $(call qstrip,$(BR2_DAU_PKI)),$(BASE_DIR)/dau-development-pki)
DAU_BOOT_OFFSET ?= $(call qstrip,$(BR2_DAU_BOOT_OFFSET))
DAU_BOOT_SIZE ?= $(call qstrip,$(BR2_DAU_BOOT_SIZE))
DAU_ROOTFS_SIZE ?= $(call qstrip,$(BR2_DAU_ROOTFS_SIZE))
DAU_MNT_SIZE ?= $(call qstrip,$(BR2_DAU_MNT_SIZE))
DAU_KERNEL_IMAGE = $(call qstrip,$(BR2_DAU_KERNEL_IMAGE))
DAU_KERNEL_LOAD = $(call qstrip,$(BR2_DAU_KERNEL_LOAD))
DAU_FDT = $(call qstrip,$(BR2_DAU_FDT))
DAU_ARCH = $(KERNEL_ARCH)
DAU_READELF = $(TARGET_READELF)

# The time of the product's commit: in every image and package, and the floor
# of the terminal's clock.
DAU_BUILD_TIME := $(or $(DAU_BUILD_TIME), \
	$(shell git -C $(BR2_EXTERNAL_DAU_PATH) log -1 --format=%ct 2>/dev/null), \
	$(SOURCE_DATE_EPOCH), \
	$(shell date +%s))

export DAU_MACHINE DAU_PRODUCT DAU_VERSION DAU_ROLLBACK_INDEX DAU_KEYRING DAU_SIGNER DAU_KEY \
	DAU_SIGN_COMMAND DAU_PKI DAU_BOOT_OFFSET DAU_BOOT_SIZE DAU_ROOTFS_SIZE DAU_MNT_SIZE \
	DAU_KERNEL_IMAGE DAU_KERNEL_LOAD DAU_FDT DAU_ARCH DAU_READELF DAU_BUILD_TIME

# Where the sources of our programs come from: the repository that holds this
# tree, or a fixed revision of it.
ifeq ($(BR2_DAU_SOURCE_GIT),y)
DAU_SOURCE_VERSION = $(call qstrip,$(BR2_DAU_SOURCE_GIT_REVISION))
DAU_SOURCE_SITE = $(call qstrip,$(BR2_DAU_SOURCE_GIT_URL))
DAU_SOURCE_SITE_METHOD = git
else
DAU_SOURCE_VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' $(BR2_EXTERNAL_DAU_PATH)/../Cargo.toml)
DAU_SOURCE_SITE = $(abspath $(BR2_EXTERNAL_DAU_PATH)/..)
DAU_SOURCE_SITE_METHOD = local
endif

# One archive for all packages: the workspace with its crates.
DAU_SOURCE_FILE = dau-$(DAU_SOURCE_VERSION).tar.gz

# What a developer has built there is not copied.
DAU_SOURCE_EXCLUSIONS = --exclude /target --exclude /build --exclude /buildroot --exclude /output

# Nor does it belong to what legal-info gives away, which copies a local source
# with no other exclusions than these.
dau-agent-legal-info dau-example-app-legal-info dau-recovery-legal-info host-dau-packager-legal-info: \
	RSYNC_VCS_EXCLUSIONS += $(DAU_SOURCE_EXCLUSIONS)

# Buildroot sets the release profile by environment variables, so the
# workspace's own (small binaries, an overflow stops the program) is said again.
DAU_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
	CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true

# Places of panics in the programs name no folder of the building machine. A
# "cfg" table adds to the flags that Buildroot sets for the target's own.
DAU_CARGO_OPTS = --config 'target."cfg(all())".rustflags=[ \
	"--remap-path-prefix=$(@D)=/usr/src/dau", \
	"--remap-path-prefix=$(BR_CARGO_HOME)=/usr/src/cargo"]'

# Buildroot vendors crates when it downloads a source; a local one is not
# downloaded, and cargo runs offline. So the crates are fetched before the
# build, guarded by the checksums in Cargo.lock. It needs rustc, which is not
# there yet when a local source is copied.
# $(1): environment
ifneq ($(BR2_DAU_SOURCE_GIT),y)
define DAU_CARGO_FETCH
	mkdir -p $(BR_CARGO_HOME)
	cd $($(PKG)_SRCDIR) && $(1) flock $(BR_CARGO_HOME)/.br-lock \
		cargo fetch --locked --manifest-path Cargo.toml
endef
endif

# Kconfig drops what it does not know or cannot have, without a word. So every
# line of every fragment is compared with what came of it.
define DAU_CHECK_LINUX_CONFIG
	$(BR2_EXTERNAL_DAU_PATH)/board/dau/common/check-config $(@D)/.config \
		$(call qstrip,$(BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE) $(BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
LINUX_POST_CONFIGURE_HOOKS += DAU_CHECK_LINUX_CONFIG

define DAU_CHECK_UBOOT_CONFIG
	$(BR2_EXTERNAL_DAU_PATH)/board/dau/common/check-config $(@D)/.config \
		$(call qstrip,$(BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
UBOOT_POST_CONFIGURE_HOOKS += DAU_CHECK_UBOOT_CONFIG

define DAU_CHECK_BUSYBOX_CONFIG
	$(BR2_EXTERNAL_DAU_PATH)/board/dau/common/check-config $(@D)/.config \
		$(call qstrip,$(BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES))
endef
# check-package TypoInPackageVariable
BUSYBOX_POST_CONFIGURE_HOOKS += DAU_CHECK_BUSYBOX_CONFIG
