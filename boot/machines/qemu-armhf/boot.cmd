# QEMU hands U-Boot the device tree of what it emulates.
setenv dau_console ttyAMA0
setenv dau_fdt ${fdtcontroladdr}
