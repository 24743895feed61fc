//! What the agent and RecoveryOS ask of Linux.
//!
//! - [`durable`]: files that are either the old or the new version after a power cut
//! - [`partitions`]: partitions found by label, never by number
//! - [`volume`]: a partition, or in tests a directory standing for one, mounted only while used
//! - [`clock`]: a floor under a clock whose battery is dead
//! - [`cmdline`]: what the bootloader said on the kernel's command line
//! - [`release`]: what `/etc/os-release` says of the OS that runs

pub mod clock;
pub mod cmdline;
pub mod durable;
pub mod partitions;
pub mod release;
pub mod volume;

/// Label of the partition that the bootloader reads.
pub const BOOT_LABEL: &str = "boot";
/// Label of the partition that holds the normal OS.
pub const ROOTFS_LABEL: &str = "rootfs";
/// Label of the partition that no image touches.
pub const MNT_LABEL: &str = "mnt";
