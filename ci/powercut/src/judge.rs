//! The cheap check of a crash state, without booting it: what boots next, and whether all it needs
//! is there and intact.

use std::cell::Ref;
use std::path::Path;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{decide, recovery_name, Boot as Leads};
use dau_handoff::Job;
use dau_system::cmdline::BootReason;

use crate::cache::Cache;
use crate::crash::State;
use crate::evidence::Evidence;
use crate::image::Image;
use crate::next_boot::NextBoot;
use crate::recorded::Recorded;
use crate::timeline::Timeline;
use crate::volumes::Boot;

/// Checks the states of one recording.
#[derive(Debug)]
pub struct Judge {
    evidence: Evidence,
    timeline: Arc<Timeline>,
}

impl Judge {
    /// Temporary files go to `folder`.
    pub fn new(
        recorded: Arc<Recorded>,
        timeline: Arc<Timeline>,
        cache: Arc<Cache>,
        keyring: &Path,
        folder: &Path,
    ) -> Result<Self> {
        Ok(Judge {
            evidence: Evidence::new(recorded, cache, keyring, folder)?,
            timeline,
        })
    }

    /// Returns the disk of the current state.
    pub fn image(&self) -> Ref<'_, Image> {
        self.evidence.image.borrow()
    }

    /// Sets the disk to a state without checking it.
    pub fn show(&self, state: &State) {
        self.evidence.show(state);
    }

    /// Tells whether the job on the disk says that the station acknowledged its result.
    pub fn acknowledged(&self) -> Result<bool> {
        self.evidence.acknowledged()
    }

    /// Checks a state and says in a few words, for the table, what boots next.
    ///
    /// # Errors
    /// Says what is lost or wrong.
    pub fn judge(&self, state: &State) -> Result<String> {
        let evidence = &self.evidence;
        evidence.show(state);
        evidence.check_boot()?;
        let jobs = evidence.jobs()?;
        let boot = Boot::open(&evidence.image)?;
        let counts = boot
            .state()?
            .context("neither copy of the boot state is valid")?;
        let possible = self.timeline.possible(state.settled, state.last + 1);
        ensure!(
            possible.iter().any(|(_, state)| *state == counts),
            "the boot state that counts is an older one, which another had followed for good: {counts:?}"
        );
        evidence.fit(&boot, recovery_name(counts.recovery))?;
        // The new RecoveryOS may be incomplete only before its check is due and before it is in
        // charge.
        let job = jobs.last.as_ref().map(Job::state);
        let upgraded = evidence.recorded.notes.scenario.boot_state().recovery;
        let writing = job == Some(dau_model::State::UpdatingRecovery)
            && counts.recovery != upgraded
            && !counts.check;
        if !writing {
            evidence.fit(&boot, recovery_name(counts.recovery.other()))?;
        }
        ensure!(
            jobs.last.is_some() || state.settled < self.timeline.accepted,
            "the job is lost"
        );
        let next = NextBoot {
            evidence,
            boot,
            jobs,
        };
        let (lead, kernel) = match decide(Some(&counts)) {
            Leads::NormalOs { kernel, reason, .. } => {
                (next.normal_os(kernel, reason)?, Some(kernel))
            }
            // This normal OS is next, whatever the check's result.
            Leads::Check { kernel, .. } => {
                next.normal_os(kernel, BootReason::Check)?;
                ("RecoveryOS: check itself".to_owned(), Some(kernel))
            }
            Leads::RecoveryOs { reason, .. } => next.recovery_os(&counts, reason)?,
        };
        if let Some(kernel) = kernel {
            evidence.rootfs(kernel)?;
        }
        Ok(lead)
    }
}
