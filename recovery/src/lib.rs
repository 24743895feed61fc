//! RecoveryOS's one program: `/init` of its initramfs, and by hand against directories and files.
//!
//! - [`plan`]: what to do, a pure function of what was found
//! - [`run`]: finds out, plans, acts
//! - [`verify`], [`kernel`], [`rootfs`], [`restore`], [`commit`]: the steps of an [`install`] and of a [`rollback`]
//! - [`check`]: what a new RecoveryOS shows before it is in charge
//! - [`init`]: process 1: mounts, modules, watchdog, a child that does the work, the reboot at the end
//!
//! docs/recovery.md tells why each step stands where it does.

pub mod check;
pub mod cli;
pub mod commit;
pub mod console;
pub mod cut;
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
