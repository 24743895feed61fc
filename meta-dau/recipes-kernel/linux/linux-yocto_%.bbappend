require ${@bb.utils.contains('DISTRO_FEATURES', 'dau', 'linux-dau.inc', '', d)}
