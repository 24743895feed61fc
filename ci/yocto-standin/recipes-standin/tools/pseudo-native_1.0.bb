SUMMARY = "Debian's pseudo where core looks for its own"
require ../standin.inc
inherit native
PROVIDES += "virtual/fakeroot-native"

do_install() {
    install -D -m 0755 /usr/bin/pseudo ${D}${bindir}/pseudo
    install -D -m 0755 /usr/bin/pseudodb ${D}${bindir}/pseudodb
    install -d ${D}${prefix}/lib/pseudo/lib64 ${D}${localstatedir}/pseudo
    install -m 0644 $(find /usr/lib -name libpseudo.so | head -n 1) ${D}${prefix}/lib/pseudo/lib64/
}
