# i.MX6UL EVK. The device tree travels with kernel and RecoveryOS.
setenv dau_console ttymxc0,115200
setenv dau_addr 84000000
# U-Boot's environment for this board has both used where they lie in the FIT image, which has no room for what is added.
setenv fdt_high
setenv initrd_high
