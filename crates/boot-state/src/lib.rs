//! The record that U-Boot reads and RecoveryOS writes.
//!
//! Two files on the boot partition, [`COPY_NAMES`], each [`COPY_SIZE`] bytes in U-Boot's environment format
//! (see [`env`]). The valid copy with the higher sequence counts ([`newest`]); a writer overwrites the other
//! one, in place, in one write, then fsync ([`Store::save`]). `boot/boot.cmd` is the other reader and writer.
//!
//! What stands in the kernel and RecoveryOS slots beside it is judged by [`fit`] and written by [`slot`].
//!
//! What the bootloader does with a state is written down in [`decide`], which tests hold against boot.cmd.

mod decide;
pub mod env;
pub mod fit;
pub mod slot;
mod state;
mod store;

pub use decide::{decide, Boot};
pub use state::{newest, BootState, DecodeError, Kind, ParseError, Slot, DEFAULT_TRIES};
pub use store::{Store, StoreError};

/// Names of the two copies on the boot partition.
pub const COPY_NAMES: [&str; 2] = ["dau-a.env", "dau-b.env"];
/// Length of a copy, in bytes.
pub const COPY_SIZE: usize = 4096;
/// Names of the kernel FIT images, slot a and b.
pub const KERNEL_NAMES: [&str; 2] = ["kernel-a.itb", "kernel-b.itb"];
/// Names of the RecoveryOS FIT images, slot a and b.
pub const RECOVERY_NAMES: [&str; 2] = ["recovery-a.itb", "recovery-b.itb"];
