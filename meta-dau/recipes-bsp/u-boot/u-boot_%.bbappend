require ${@bb.utils.contains('DISTRO_FEATURES', 'dau', 'u-boot-dau.inc', '', d)}
