SUMMARY = "Debian's OpenSSL: arm64 for terminals, the building machine's for native"
require ../standin.inc
STANDIN_ROOT = "${STANDIN}/sysroot"
STANDIN_ROOT:class-native = ""
STANDIN_TRIPLET = "aarch64-linux-gnu"
STANDIN_TRIPLET:class-native = "x86_64-linux-gnu"

do_install() {
    install -d ${D}${includedir} ${D}${libdir}/pkgconfig
    cp -rL ${STANDIN_ROOT}/usr/include/openssl ${D}${includedir}/
    cp -rL ${STANDIN_ROOT}/usr/include/${STANDIN_TRIPLET}/openssl/. ${D}${includedir}/openssl/
    for library in ssl crypto; do
        cp -L ${STANDIN_ROOT}/usr/lib/${STANDIN_TRIPLET}/lib$library.so.3 ${D}${libdir}/
        ln -s lib$library.so.3 ${D}${libdir}/lib$library.so
    done
    cat > ${D}${libdir}/pkgconfig/openssl.pc <<PC
Name: openssl
Description: stand-in
Version: 3.0.0
Libs: -L${libdir} -lssl -lcrypto
Cflags: -I${includedir}
PC
}

BBCLASSEXTEND = "native"
