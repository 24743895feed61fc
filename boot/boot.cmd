# dau boot script: reads the boot state and boots the normal OS or RecoveryOS.
#
# boot.scr is machines/<machine>/boot.cmd, which may set what follows, and then this file:
#   dau_console  the kernel's console argument, e.g. ttyAMA0
#   dau_args     further kernel arguments
#   dau_root     those of the normal OS alone: where its root filesystem is, when its kernel looks for it [the partition rootfs].
#                RecoveryOS is not told: one without a working init would start the normal OS in its place
#   dau_fdt      address of the device tree, where the FIT images bring none
#   dau_addr     address that FIT images are loaded to
#   dau_config   the FIT images' configuration, where it is not called boot
#   dau_watchdog commands that start a hardware watchdog before the hand-over, where U-Boot has a driver for one
# U-Boot's distro boot sets devtype, devnum and distro_bootpart to the partition that holds boot.scr.
# U-Boot reads numbers as hexadecimal; its "test a = b" compares words. Where its words have 32 bits, itest takes 80000000 and more
# for negative.

test -n "${dau_addr}" || setenv dau_addr ${ramdisk_addr_r}
test -n "${dau_config}" || setenv dau_config boot
test -n "${dau_root}" || setenv dau_root "root=PARTLABEL=rootfs rootfstype=ext4 rootwait"
setexpr dau_readback ${dau_addr} + 1000
setenv dau_part "${devtype} ${devnum}:${distro_bootpart}"
setenv dau_state "dau_seq dau_upgrade dau_kind dau_kernel dau_recovery dau_trial dau_tries dau_check"

# Read state copy ${dau_copy}: dau_valid=1 when it is whole and holds values that a writer leaves. Nothing is inherited from the
# other copy, nor from memory that an earlier boot filled. There is no "for": where the configuration does not forbid it, U-Boot
# looks for a Ctrl-C in loops, and noise on the serial line would spoil what they find.
setenv dau_forget '
    setenv dau_seq; setenv dau_upgrade; setenv dau_kind; setenv dau_kernel
    setenv dau_recovery; setenv dau_trial; setenv dau_tries; setenv dau_check
'
setenv dau_read '
    setenv dau_valid 0
    setenv filesize
    run dau_forget
    if load ${dau_part} ${dau_addr} dau-${dau_copy}.env && test "${filesize}" = 1000; then
        if env import -c ${dau_addr} 1000 ${dau_state} && run dau_sane; then setenv dau_valid 1; fi
    fi
    test ${dau_valid} = 1 || echo "dau: state copy ${dau_copy} is not valid"
'
setenv dau_sane '
    setenv dau_strange 1
    setexpr dau_number ${dau_seq} "&" ffffffff
    if test "${dau_number}" = "${dau_seq}"; then setenv dau_strange; fi
    setenv dau_word "${dau_upgrade}" && run dau_bit
    test "${dau_kind}" = none || test "${dau_kind}" = kernel || test "${dau_kind}" = rootfs || test "${dau_kind}" = full || test "${dau_kind}" = rollback || setenv dau_strange 1
    setenv dau_word "${dau_kernel}" && run dau_slot
    setenv dau_word "${dau_recovery}" && run dau_slot
    setenv dau_word "${dau_trial}" && run dau_bit
    setexpr dau_number "${dau_tries}" "&" f
    test "${dau_number}" = "${dau_tries}" || setenv dau_strange 1
    itest "${dau_number}" -le 9 || setenv dau_strange 1
    test -n "${dau_check}" || setenv dau_check 0
    setenv dau_word "${dau_check}" && run dau_bit
    test -z "${dau_strange}"
'
setenv dau_bit 'test "${dau_word}" = 0 || test "${dau_word}" = 1 || setenv dau_strange 1'
setenv dau_slot 'test "${dau_word}" = a || test "${dau_word}" = b || setenv dau_strange 1'

# Write the variables with the next sequence over the other copy, and read it back: a count that does not stick would boot what is
# broken for ever.
setenv dau_save '
    setexpr dau_seq ${dau_seq} + 1
    setexpr dau_seq ${dau_seq} "&" ffffffff
    env export -c -s 1000 ${dau_addr} ${dau_state} &&
    fatwrite ${dau_part} ${dau_addr} dau-${dau_other}.env 1000 &&
    load ${dau_part} ${dau_readback} dau-${dau_other}.env &&
    cmp.b ${dau_addr} ${dau_readback} 1000
'

# Boot FIT image ${dau_image}; returns only when it is refused. U-Boot checks the hashes, but in memory: a file that was cut short
# could be completed by what an earlier boot left there, so the length is compared first, as words: as many bytes were loaded as the image says that it has. What a slot holds behind its image is not read.
# A break on the serial line must not restart Linux by SysRq. RecoveryOS's kernel is quiet but for errors: the terminal is out of service
# while a slow line takes its messages.
setenv dau_start '
    setenv bootargs "console=${dau_console} panic=5 sysctl.kernel.sysrq=0 ${dau_args} ${dau_own} dau.boot=${dau_boot} dau.reason=${dau_reason} ${dau_slots}"
    setenv dau_size ffffffff
    setenv filesize 0
    if load ${dau_part} ${dau_addr} ${dau_image} 1000 && fdt addr -q ${dau_addr} && fdt header get dau_size totalsize; then
        setenv filesize 0
        if load ${dau_part} ${dau_addr} ${dau_image} ${dau_size} && test "${filesize}" = "${dau_size}"; then
            test -z "${dau_watchdog}" || run dau_watchdog
            if test -z "${dau_fdt}"; then bootm ${dau_addr}#${dau_config};
            elif fdt get value dau_initramfs /configurations/${dau_config} ramdisk; then bootm ${dau_addr}#${dau_config} ${dau_addr}#${dau_config} ${dau_fdt};
            else bootm ${dau_addr}#${dau_config} - ${dau_fdt}; fi
        fi
    fi
    echo "dau: ${dau_image} refused"
'
setenv dau_start_normal '
    setenv dau_boot normal
    setenv dau_own "${dau_root}"
    setenv dau_slots "dau.kernel=${dau_kernel} dau.recovery=${dau_recovery}"
    setenv dau_image kernel-${dau_kernel}.itb
    echo "dau: booting normal OS, kernel ${dau_kernel} (${dau_reason})"
    run dau_start
'
setenv dau_start_recovery '
    setenv dau_boot recovery
    setenv dau_own quiet
    setenv dau_slots "dau.recovery=${dau_recovery}"
    test -z "${dau_kernel}" || setenv dau_slots "dau.kernel=${dau_kernel} ${dau_slots}"
    setenv dau_image recovery-${dau_recovery}.itb
    echo "dau: booting RecoveryOS, slot ${dau_recovery} (${dau_reason})"
    run dau_start
'

setenv dau_other_recovery 'if test ${dau_recovery} = a; then setenv dau_recovery b; else setenv dau_recovery a; fi'

# The valid copy with the higher sequence counts. Sequences wrap at 32 bits: b is newer when it is ahead by less than half of them.
setenv dau_copy a
run dau_read
setenv dau_valid_a ${dau_valid}
setenv dau_seq_a ${dau_seq}
setenv dau_copy b
setenv dau_other a
run dau_read
if test ${dau_valid_a} = 1; then
    setenv dau_ahead 0
    setenv dau_behind 0
    if test ${dau_valid} = 1; then
        setexpr dau_ahead ${dau_seq} - ${dau_seq_a}
        setexpr dau_ahead ${dau_ahead} "&" ffffffff
        setexpr dau_behind ${dau_ahead} "&" 80000000
    fi
    if itest ${dau_ahead} -eq 0 || itest ${dau_behind} -ne 0; then
        setenv dau_copy a
        setenv dau_other b
        run dau_read
    fi
fi

# What to boot, and why.
setenv dau_boot normal
setenv dau_reason steady
if test ${dau_valid} = 0; then
    setenv dau_boot recovery
    setenv dau_reason no-state
    run dau_forget
    setenv dau_recovery a
elif test ${dau_upgrade} = 1; then
    setenv dau_boot recovery
    setenv dau_reason upgrade
elif test ${dau_trial} = 1; then
    setenv dau_reason trial
    if test ${dau_tries} = 0; then
        setenv dau_boot recovery
        setenv dau_reason trial-ended
    else
        setexpr dau_tries ${dau_tries} - 1
        if run dau_save; then
            echo "dau: trial boot, ${dau_tries} tries left"
        else
            echo "dau: cannot count this trial boot"
            setenv dau_boot recovery
            setenv dau_reason trial-ended
        fi
    fi
elif test ${dau_check} = 1; then
    # Once: whatever becomes of it, the next boot finds the flag cleared and the slot in charge as it was.
    setenv dau_check 0
    setenv dau_reason check-refused
    if run dau_save; then
        setenv dau_reason check
        run dau_other_recovery
        run dau_start_recovery
        run dau_other_recovery
        setenv dau_boot normal
        setenv dau_reason check-refused
    else
        echo "dau: cannot note this check"
    fi
fi

# Each of these returns only when the image was refused; then the next one is tried.
if test ${dau_boot} = normal; then
    run dau_start_normal
    setenv dau_reason kernel-refused
fi
run dau_start_recovery
run dau_other_recovery
run dau_start_recovery

# Neither RecoveryOS is left. A normal OS that nothing was found wrong with is better than none.
if test ${dau_reason} != kernel-refused && test -n "${dau_kernel}"; then
    setenv dau_reason recovery-refused
    run dau_start_normal
fi
echo "dau: nothing boots; trying again"
sleep 5
reset
