//! The possible actions of RecoveryOS.

use std::fmt;

use dau_handoff::JobResult;
use dau_model::Slot;

use super::Package;

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Verify a package, then plan again.
    Judge(Package),
    /// Install the job's parts, restore the parameters, commit.
    Install,
    /// Reinstall what was installed before, give the job its result, trust the old OS again.
    Rollback(Rollback),
    /// Give the job its result if it has none yet, then clear flag and trial.
    Settle {
        /// The kernel to boot.
        kernel: Slot,
        /// The result; `None`: the job is not changed.
        result: Option<JobResult>,
    },
    /// Write the last confirmed kernel to the slot that was not refused, and boot that one.
    RepairKernel {
        /// The slot that U-Boot refused.
        refused: Slot,
    },
    /// Write a new boot state.
    Rebuild {
        /// The slot whose kernel belongs to the root filesystem, if known.
        kernel: Option<Slot>,
        /// Whether the OS is unconfirmed.
        trial: bool,
    },
    /// Let the new OS try again, as nothing is left to reinstall.
    TrialAgain {
        /// The reason, for the log.
        why: String,
    },
    /// Nothing is pending: reboot.
    Nothing,
    /// Say why nothing can be done now, wait, try again.
    Stuck {
        /// The reason, for people.
        why: String,
    },
}

/// A rollback and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Whether the root filesystem is reinstalled; if not, only the kernel slot is switched.
    pub rootfs: bool,
    /// The kernel slot that ran before, if known.
    pub kernel: Option<Slot>,
    /// A slot that U-Boot refused.
    pub refused: Option<Slot>,
    /// The job's result.
    pub result: JobResult,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Judge(Package::Candidate) => write!(formatter, "verify candidate.dau"),
            Plan::Judge(Package::Installed) => write!(formatter, "verify installed.dau"),
            Plan::Install => write!(formatter, "install candidate.dau"),
            Plan::Rollback(plan) => {
                let what = if plan.rootfs {
                    "the old OS"
                } else {
                    "the old kernel"
                };
                write!(formatter, "put back {what}: {}", plan.result.reason.message)
            }
            Plan::Settle { kernel, result } => {
                write!(formatter, "boot the OS that is there with kernel {kernel}")?;
                match result {
                    Some(result) => write!(formatter, ": {}", result.reason),
                    None => Ok(()),
                }
            }
            Plan::RepairKernel { refused } => {
                write!(
                    formatter,
                    "replace kernel {refused}, which the bootloader refused"
                )
            }
            Plan::Rebuild { .. } => write!(formatter, "write the boot state anew"),
            Plan::TrialAgain { why } => write!(formatter, "let the new OS try again: {why}"),
            Plan::Nothing => write!(formatter, "nothing is pending"),
            Plan::Stuck { why } => write!(formatter, "wait: {why}"),
        }
    }
}
