//! Console lines of the terminal's programs, in one place.

/// boot.cmd starts the normal OS; kernel slot and reason follow.
pub const NORMAL: &str = "dau: booting normal OS";
/// boot.cmd starts RecoveryOS; slot and reason follow.
pub const RECOVERY: &str = "dau: booting RecoveryOS";
/// U-Boot starts a new RecoveryOS, which checks itself.
pub const CHECK: &str = "dau: booting RecoveryOS, slot b (check)";
/// U-Boot's first line.
pub const U_BOOT: &str = "U-Boot 20";
/// U-Boot's last line.
pub const KERNEL: &str = "Starting kernel ...";
/// The kernel's last line before `/init`.
pub const INIT: &str = "Run /init as init process";
/// dau-recovery's first line: whether there is a watchdog.
pub const RECOVERY_INIT: &str = "dau-recovery: ";
/// RecoveryOS cannot continue.
pub const STUCK: &str = "nothing can be done now; looking";
/// dau-recovery verifies a package.
pub const VERIFYING: &str = "verifying ";
/// The root filesystem was unpacked in memory and compared with the medium.
pub const IMAGE_CHECKED: &str = "image checked: ";
/// dau-recovery begins to write a kernel slot.
pub const WRITING_KERNEL: &str = "writing kernel-";
/// The kernel slot was written and read back; the root filesystem is next, if the job has one.
pub const KERNEL_WRITTEN: &str = "write-kernel: ";
/// The blocks of the root filesystem that differ were written and read back.
pub const BLOCKS_WRITTEN: &str = "bytes differed and were written";
/// The root filesystem was also grown and checked.
pub const ROOTFS_WRITTEN: &str = "write-rootfs: ";
/// The parameters were restored.
pub const RESTORED: &str = "restore: ";
/// The boot state was committed.
pub const COMMITTED: &str = "committed: ";
/// dau-recovery's largest resident memory; KiB follow.
pub const PEAK_MEMORY: &str = "peak memory: ";
