SUMMARY = "Builds, signs, verifies and inspects upgrade packages"
DESCRIPTION = "The command line tool for upgrade packages (.dau): builds them of a kernel and a root filesystem, signs them with a key or a signing command, \
verifies them as a terminal does, and makes development keys."
SECTION = "devel"
LICENSE = "(MIT | Apache-2.0) & Apache-2.0 & BSD-3-Clause & MIT"

require dau-program.inc

BBCLASSEXTEND = "native nativesdk"
