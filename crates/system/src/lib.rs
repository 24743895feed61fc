//! Linux functions for agent and RecoveryOS.
//!
//! - [`durable`]: files that are either the old or the new version after a power cut
//! - [`partitions`]: partitions found by label, never by number
//! - [`volume`]: a partition, or a folder in its place in tests, mounted only while it is used
//! - [`clock`]: a lower bound for a clock with a dead battery
//! - [`cmdline`]: the bootloader's words on the kernel's command line
//! - [`release`]: `/etc/os-release`, the description of an OS
//!
//! # What it guarantees
//!
//! - When [`durable::write`] returns, no power cut undoes it; whenever power goes, the file holds
//!   its old or its new content.
//! - No file hangs a reader or makes it grow without bound: pipes are not waited for, and
//!   [`durable::read`] takes the limit.
//! - A partition is unmounted when its value is dropped, too.
//!
//! # Example
//!
//! ```
//! use dau_system::{clock, durable};
//!
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! let file = folder.path().join("settings.toml");
//! durable::write(&file, b"port = 2404\n", 0o600)?;
//! assert_eq!(durable::read(&file, 4096)?, b"port = 2404\n");
//! assert!(durable::read(&file, 4).is_err(), "longer than what may be read");
//!
//! // The clock says 1970; the image was built in 2026: the clock is set to that at least.
//! assert_eq!(clock::floor(0, Some(1_790_000_000), None), Some(1_790_000_000));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub mod clock;
pub mod cmdline;
pub mod durable;
pub mod partitions;
pub mod release;
pub mod volume;

/// Label of the partition read by the bootloader.
pub const BOOT_LABEL: &str = "boot";
/// Label of the normal OS's partition.
pub const ROOTFS_LABEL: &str = "rootfs";
/// Label of the partition that no image overwrites.
pub const MNT_LABEL: &str = "mnt";
