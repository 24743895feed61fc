//! The steps of an upgrade.

use dau_boot_state::BootState;
use dau_handoff::Job;
use dau_model::State;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// A step of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The order has not come yet.
    Idle,
    /// From the order to the parameter backup, but for [`Step::Rebuild`].
    Fetch,
    /// A delta was fetched, and the package is made of it.
    Rebuild,
    /// The job is armed, the flag is being set.
    Arm,
    /// The flag is set, RecoveryOS verifies.
    Verify,
    /// The unused kernel slot is written.
    KernelSlot,
    /// The root filesystem is written.
    Rootfs,
    /// The root filesystem grows and gets its parameters.
    Restore,
    /// Everything is in place, the boot state is switched.
    Commit,
    /// The new OS runs unconfirmed.
    Trial,
    /// RecoveryOS is upgraded.
    Recovery,
    /// The old root filesystem is reinstalled.
    ReturnRootfs,
    /// Its parameters are restored, the boot state follows.
    ReturnRestore,
    /// The job is over, its result is being reported.
    Report,
    /// The station has acknowledged the result.
    Done,
}

impl Step {
    /// Returns the step that follows in this boot state with this job.
    pub(crate) fn begin(self, of: Scenario, state: &BootState, job: Option<&Job>) -> Step {
        let step = self;
        let Some(job) = job else { return step };
        match job.state() {
            State::Verifying if of == Scenario::Delta => Step::Rebuild,
            state if state.is_preparing() => Step::Fetch,
            State::Armed if state.upgrade => Step::Verify,
            State::Armed => Step::Arm,
            State::Installing if matches!(step, Step::Rootfs | Step::Restore) => step,
            State::Installing => Step::KernelSlot,
            State::Trial if state.upgrade => Step::Commit,
            State::Trial => Step::Trial,
            State::UpdatingRecovery => Step::Recovery,
            State::RollingBack if step == Step::ReturnRestore => step,
            State::RollingBack => Step::ReturnRootfs,
            _ if job.is_acknowledged() => Step::Done,
            // It has its result.
            _ if state.upgrade => step,
            _ => Step::Report,
        }
    }
}
