//! The boot state: the record by which U-Boot, RecoveryOS and agent agree on what boots next.
//!
//! Two files on the boot partition, [`COPY_NAMES`], each [`COPY_SIZE`] bytes in U-Boot's
//! environment format ([`mod@env`]). The valid copy with the higher sequence counts ([`newest`]).
//! `boot/boot.cmd` is the other reader and writer; docs/formats/boot-state.md describes every byte.
//!
//! - [`access`]: mounts the partition, reads or changes the state, and unmounts
//! - [`decide()`]: what the bootloader does with a state; tests hold boot.cmd to it
//! - [`fit`], [`slot`]: checks and writes the images in the kernel and RecoveryOS slots beside it
//!
//! # What it guarantees
//!
//! - Power may go at any instant: a change is one write over the copy that does not count, then
//!   fsync. Before it is on the medium the old state counts, after it the new one.
//! - A damaged, torn or missing copy is never taken for a state.
//! - No content of the partition panics, and none takes more memory than a few copies.
//!
//! # Example
//!
//! The agent sets the upgrade flag, and the bootloader starts RecoveryOS:
//!
//! ```
//! use dau_boot_state::access::{self, AccessError};
//! use dau_boot_state::{decide, Boot, BootState, Operation, COPY_NAMES};
//! use dau_model::Kind;
//! use dau_system::volume::Volume;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let partition = tempfile::tempdir()?;
//! for name in COPY_NAMES {
//!     std::fs::write(partition.path().join(name), BootState::factory().encode()?)?;
//! }
//! // On a terminal: Volume::Partition, by its label.
//! let boot = Volume::Directory(partition.path().to_owned());
//! let armed = access::change(&boot, |state| {
//!     let state = state.cloned().unwrap_or_else(BootState::factory);
//!     Ok::<_, AccessError>(Some(state.armed(Operation::Install(Kind::Full))))
//! })?;
//!
//! assert_eq!(access::read(&boot)?, armed);
//! assert!(matches!(decide(armed.as_ref()), Boot::RecoveryOs { .. }));
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

use dau_model::Slot;

pub mod access;
mod decide;
pub mod env;
pub mod fit;
mod operation;
pub mod slot;
mod state;
mod store;

pub use decide::{decide, Boot};
pub use operation::Operation;
pub use state::{newest, BootState, DecodeError, EncodeError, DEFAULT_TRIES};
pub use store::{Store, StoreError};

/// Names of the two copies on the boot partition.
pub const COPY_NAMES: [&str; 2] = ["dau-a.env", "dau-b.env"];
/// Length of a copy, in bytes.
pub const COPY_SIZE: usize = 4096;
/// Name of the kernel's FIT image in a slot.
pub fn kernel_name(slot: Slot) -> &'static str {
    slot.of("kernel-a.itb", "kernel-b.itb")
}

/// Name of RecoveryOS's FIT image in a slot.
pub fn recovery_name(slot: Slot) -> &'static str {
    slot.of("recovery-a.itb", "recovery-b.itb")
}
