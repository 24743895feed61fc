# QEMU's virt machine: it hands U-Boot the device tree of what it emulates.
setenv dau_console ttyAMA0
setenv dau_fdt ${fdtcontroladdr}
setenv dau_root "root=PARTLABEL=rootfs rootfstype=ext4 rootwait"
