//! The system that boots next from a state, and whether all it needs fits together.

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::{kernel_name, BootState};
use dau_handoff::{Job, Layout};
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};
use dau_recovery::plan::{plan, Facts, JobFound, Package, Plan, Verdict};
use dau_system::cmdline::BootReason;

use crate::cache::Jobs;
use crate::evidence::Evidence;
use crate::scenario::Scenario;
use crate::volumes::Boot;

/// A state under check.
pub(crate) struct NextBoot<'a> {
    pub evidence: &'a Evidence,
    pub boot: Boot,
    pub jobs: Jobs,
}

impl NextBoot<'_> {
    /// Checks the needs of a normal OS: its kernel, a matching job, a way back.
    pub fn normal_os(&self, kernel: Slot, reason: BootReason) -> Result<String> {
        self.evidence.fit(&self.boot, kernel_name(kernel))?;
        let trial = reason == BootReason::Trial;
        let new = kernel == Slot::B;
        let job = self.jobs.last.as_ref();
        let state = job.map(Job::state);
        let fits = match state {
            None => !trial && !new,
            Some(State::Finished) => {
                let result = job.and_then(Job::result);
                let kernel_then = match result.map(|result| result.outcome) {
                    Some(Outcome::Success) => {
                        self.evidence.recorded.notes.scenario.boot_state().kernel
                    }
                    _ => Slot::A,
                };
                !trial && kernel == kernel_then
            }
            Some(State::Trial) => new,
            Some(State::RollingBack) => trial && new,
            Some(State::UpdatingRecovery) => !trial,
            Some(State::Installing) => false,
            Some(_) => !trial && !new,
        };
        ensure!(
            fits,
            "kernel {kernel} boots ({reason:?}), but the job is {state:?}"
        );
        if trial {
            self.way_back()?;
        }
        Ok(match (trial, new) {
            (true, _) => "new OS on trial".to_owned(),
            (false, true) => "new OS".to_owned(),
            (false, false) => "old OS".to_owned(),
        })
    }

    /// Returns what RecoveryOS would do; and the kernel that would run then, if the root filesystem
    /// must be intact already.
    pub fn recovery_os(
        &self,
        state: &BootState,
        reason: BootReason,
    ) -> Result<(String, Option<Slot>)> {
        let lead = |what: &str| format!("RecoveryOS: {what}");
        match self.plan(state, reason)? {
            Plan::Install => Ok((lead("install"), None)),
            // A cut alone must not cause a rollback.
            Plan::Rollback(rollback)
                if self.evidence.recorded.notes.scenario == Scenario::Return =>
            {
                if let Some(slot) = rollback.kernel {
                    self.evidence.fit(&self.boot, kernel_name(slot))?;
                }
                let kernel = rollback.kernel.filter(|_| !rollback.rootfs);
                Ok((lead("put the old OS back"), kernel))
            }
            Plan::Settle {
                kernel,
                result: None,
            } => {
                self.evidence.fit(&self.boot, kernel_name(kernel))?;
                Ok((lead("finish"), Some(kernel)))
            }
            other => bail!("RecoveryOS would {other}"),
        }
    }

    /// Checks that RecoveryOS can reinstall the previous packages when the boot tries are used up.
    fn way_back(&self) -> Result<()> {
        let ended = BootState {
            trial: true,
            tries: 0,
            ..self.boot.state()?.context("no boot state")?
        };
        match self.plan(&ended, BootReason::TrialEnded)? {
            Plan::Rollback(rollback) => {
                let kernel = rollback
                    .kernel
                    .context("nobody knows the old kernel's slot")?;
                self.evidence.fit(&self.boot, kernel_name(kernel))
            }
            other => bail!("if the new OS is never confirmed, RecoveryOS would {other}"),
        }
    }

    /// Returns RecoveryOS's decision, given the packages and the backup on mnt.
    fn plan(&self, state: &BootState, reason: BootReason) -> Result<Plan> {
        let mut facts = Facts {
            state: Some(state.clone()),
            reason: Some(reason),
            job: match &self.jobs.current {
                Some(job) => JobFound::Job(Box::new(job.clone())),
                None => JobFound::None,
            },
            candidate: Verdict::Unknown,
            installed: Verdict::Unknown,
        };
        loop {
            match plan(&facts) {
                Plan::Judge(Package::Candidate) => facts.candidate = self.candidate()?,
                Plan::Judge(Package::Installed) => facts.installed = self.installed()?,
                plan => return Ok(plan),
            }
        }
    }

    fn candidate(&self) -> Result<Verdict> {
        let job = self.jobs.current.as_ref().context("there is no job")?;
        let found = match self.evidence.package("candidate.dau", Layout::candidate) {
            Ok(found) if job.manifest_sha256.as_ref() != Some(&found) => {
                return Ok(refused("candidate.dau is another package than the job's"));
            }
            found => found.map(drop),
        };
        let backup = match job.order.kind {
            Kind::Kernel | Kind::Recovery => Ok(()),
            Kind::Rootfs | Kind::Full => self.evidence.backup(job),
        };
        Ok(verdict("candidate.dau", found, backup))
    }

    fn installed(&self) -> Result<Verdict> {
        let job = self.jobs.current.as_ref().context("there is no job")?;
        let found = self.evidence.package("installed.dau", Layout::installed);
        let backup = self.evidence.backup(job);
        Ok(verdict("installed.dau", found.map(drop), backup))
    }
}

/// Returns RecoveryOS's verdict on a package and the backup.
fn verdict(name: &str, package: Result<(), String>, backup: Result<(), String>) -> Verdict {
    match (package, backup) {
        (Ok(()), Ok(())) => Verdict::Accepted,
        (Err(error), _) => refused(&format!("{name} {error}")),
        (_, Err(error)) => refused(&format!("the backup of the parameters: {error}")),
    }
}

fn refused(message: &str) -> Verdict {
    Verdict::Refused(Reason::new(Word::Unreadable, message))
}
