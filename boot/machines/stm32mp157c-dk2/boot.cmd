# STM32MP157C-DK2. The device tree travels with kernel and RecoveryOS.
setenv dau_console ttySTM0,115200
