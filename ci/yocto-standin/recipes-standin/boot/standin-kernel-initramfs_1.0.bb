SUMMARY = "The reference builder's kernel initramfs, with the programs that bitbake built"
require standin-initramfs.inc
