SUMMARY = "The reference builder's recovery initramfs, with the programs that bitbake built"
require standin-initramfs.inc
