//! RecoveryOS's one program: `/init` of its initramfs, and by hand against directories and files.
//!
//! It verifies an upgrade package, writes kernel and root filesystem, restores the parameters, and
//! commits or rolls back. docs/recovery.md tells why each step stands where it does.
//!
//! - [`plan`]: what to do, a pure function of what was found
//! - [`run`]: finds out, plans, acts
//! - [`verify`], [`kernel`], [`rootfs`], [`restore`], [`boot`]: the steps of an [`install`] and of
//!   a [`rollback`]
//! - [`check`]: what a new RecoveryOS shows before it is in charge
//! - [`init`]: process 1: mounts, modules, watchdog, a child that does the work, the reboot at the
//!   end
//!
//! # What it guarantees
//!
//! - Nothing changes on kernel or root filesystem before signature, MD5 and SHA-256 of the whole
//!   package are checked here, whatever the agent did before.
//! - Power may go at any instant: the boot state leads back here until one write commits, and the
//!   package on mnt is installed again from the start. The slot that it runs from is never written.
//! - A new OS that does not prove itself is replaced by what was installed before, with the
//!   parameters as they were; a step that fails for ever ends in a result, not in a loop.
//!
//! # Example
//!
//! No job, no flag: RecoveryOS has nothing to do, and the normal OS starts.
//!
//! ```
//! use dau_boot_state::BootState;
//! use dau_recovery::plan::{plan, Facts, JobFound, Plan, Verdict};
//!
//! let facts = Facts {
//!     state: Some(BootState::factory()),
//!     reason: None,
//!     job: JobFound::None,
//!     candidate: Verdict::Unknown,
//!     installed: Verdict::Unknown,
//! };
//! assert!(matches!(plan(&facts), Plan::Nothing));
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

pub mod boot;
pub mod check;
pub mod cli;

pub mod console;
pub mod failpoint;
pub mod heartbeat;
pub mod init;
pub mod install;
pub mod kernel;
pub mod oslog;
pub mod plan;
pub mod restore;
pub mod rollback;
pub mod rootfs;
pub mod run;
pub mod session;
pub mod terminal;
pub mod verify;

#[cfg(test)]
mod tests;
#[cfg(test)]
use tests::fixture as tests_support;
