# BeagleBone Black. The device tree travels with kernel and RecoveryOS.
setenv dau_console ttyS0,115200
