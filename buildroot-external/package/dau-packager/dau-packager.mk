################################################################################
#
# dau-packager
#
################################################################################

DAU_PACKAGER_VERSION = $(DAU_SOURCE_VERSION)
DAU_PACKAGER_SITE = $(DAU_SOURCE_SITE)
DAU_PACKAGER_SITE_METHOD = $(DAU_SOURCE_SITE_METHOD)
HOST_DAU_PACKAGER_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = $(DAU_SOURCE_EXCLUSIONS)
DAU_PACKAGER_SUBDIR = packager
DAU_PACKAGER_LICENSE = MIT or Apache-2.0
DAU_PACKAGER_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
HOST_DAU_PACKAGER_DEPENDENCIES = host-pkgconf host-openssl

define HOST_DAU_PACKAGER_FETCH
	$(call DAU_CARGO_FETCH,$(HOST_MAKE_ENV) $(HOST_PKG_CARGO_ENV))
endef
HOST_DAU_PACKAGER_PRE_BUILD_HOOKS += HOST_DAU_PACKAGER_FETCH

$(eval $(host-cargo-package))
