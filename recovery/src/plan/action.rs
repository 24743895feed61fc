//! What a plan may be.

use std::fmt;

use dau_boot_state::Slot;
use dau_handoff::JobResult;

use super::Package;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Verify a package, then plan again.
    Judge(Package),
    /// Write what the job orders, restore the parameters, commit.
    Install,
    /// Put back what was installed before, give the job its result, trust the old OS again.
    Rollback(Rollback),
    /// Give the job its result if it has none yet, then clear flag and trial.
    Settle {
        /// The kernel that boots.
        kernel: Slot,
        /// How the job ended; `None`: nothing is written to the job.
        result: Option<JobResult>,
    },
    /// Put the kernel that was confirmed last into the slot that was not refused, and boot that one.
    RepairKernel {
        /// The slot that U-Boot refused.
        refused: Slot,
    },
    /// Write a boot state where there is none.
    Rebuild {
        /// The slot whose kernel belongs to the root filesystem, as far as is known.
        kernel: Option<Slot>,
        /// Whether the OS is unconfirmed.
        trial: bool,
    },
    /// Nothing to put back is left: let the new OS try again.
    TrialAgain {
        /// Why, for the log.
        why: String,
    },
    /// Nothing is pending: reboot.
    Nothing,
    /// Nothing can be done now: say why, wait, look again.
    Stuck {
        /// Why, for people.
        why: String,
    },
}

/// How to go back, and what the result will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Whether the root filesystem is put back, or only the kernel slot switched.
    pub rootfs: bool,
    /// The kernel slot that ran before, where it is known.
    pub kernel: Option<Slot>,
    /// A slot that U-Boot refused.
    pub refused: Option<Slot>,
    /// How the job ends.
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
                write!(formatter, "put back {what}: {}", plan.result.message)
            }
            Plan::Settle { kernel, result } => {
                write!(formatter, "boot the OS that is there with kernel {kernel}")?;
                match result {
                    Some(result) => write!(formatter, ": {}: {}", result.word, result.message),
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
