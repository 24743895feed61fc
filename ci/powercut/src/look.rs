//! Where a state leads, and whether what is needed there fits together.

use anyhow::{bail, ensure, Context, Result};
use dau_boot_state::{BootState, Slot};
use dau_handoff::{JobState, Kind, Layout, Outcome};
use dau_recovery::plan::{plan, Facts, JobFound, Package, Plan, Verdict};
use dau_system::cmdline::BootReason;

use crate::judge::Judge;
use crate::known::Jobs;
use crate::record::Scenario;
use crate::volumes::Boot;

/// A state that is being looked at.
pub(crate) struct Look<'a> {
    pub judge: &'a Judge,
    pub boot: Boot,
    pub jobs: Jobs,
}

impl Look<'_> {
    /// What must be there for a normal OS: its kernel, a job that fits, the way back.
    pub fn normal_os(&self, kernel: Slot, reason: BootReason) -> Result<String> {
        self.judge.fit(&self.boot, kernel.kernel_name())?;
        let trial = reason == BootReason::Trial;
        let new = kernel == Slot::B;
        let state = self.jobs.last.as_ref().map(|job| &job.state);
        let fits = match state {
            None => !trial && !new,
            Some(JobState::Finished { result, .. }) => {
                let kernel_then = match result.outcome {
                    Outcome::Success => self.judge.recorded.notes.scenario.boot_state().kernel,
                    _ => Slot::A,
                };
                !trial && kernel == kernel_then
            }
            Some(JobState::Trial) => new,
            Some(JobState::RollingBack { .. }) => trial && new,
            Some(JobState::UpdatingRecovery) => !trial,
            Some(JobState::Installing) => false,
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

    /// What RecoveryOS would do, and the kernel that runs then, where the root filesystem must be whole already.
    pub fn recovery_os(
        &self,
        state: &BootState,
        reason: BootReason,
    ) -> Result<(String, Option<Slot>)> {
        let lead = |what: &str| format!("RecoveryOS: {what}");
        match self.plan(state, reason)? {
            Plan::Install => Ok((lead("install"), None)),
            // A cut is no reason to give up: only a job that was to be rolled back anyway is.
            Plan::Rollback(rollback) if self.judge.recorded.notes.scenario == Scenario::Return => {
                if let Some(slot) = rollback.kernel {
                    self.judge.fit(&self.boot, slot.kernel_name())?;
                }
                let kernel = rollback.kernel.filter(|_| !rollback.rootfs);
                Ok((lead("put the old OS back"), kernel))
            }
            Plan::Settle {
                kernel,
                result: None,
            } => {
                self.judge.fit(&self.boot, kernel.kernel_name())?;
                Ok((lead("finish"), Some(kernel)))
            }
            other => bail!("RecoveryOS would {other}"),
        }
    }

    /// When the tries are used up, RecoveryOS can put back what was installed before.
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
                self.judge.fit(&self.boot, kernel.kernel_name())
            }
            other => bail!("if the new OS is never confirmed, RecoveryOS would {other}"),
        }
    }

    /// RecoveryOS's own decision, with packages and backup as they are on mnt.
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
        let found = match self.judge.package("candidate.dau", Layout::candidate) {
            Ok(found) if job.manifest_sha256.as_ref() != Some(&found) => {
                return Ok(refused("candidate.dau is another package than the job's"));
            }
            found => found.map(drop),
        };
        let backup = match job.order.kind {
            Kind::Kernel | Kind::Recovery => Ok(()),
            Kind::Rootfs | Kind::Full => self.judge.backup(job),
        };
        Ok(verdict("candidate.dau", found, backup))
    }

    fn installed(&self) -> Result<Verdict> {
        let job = self.jobs.current.as_ref().context("there is no job")?;
        let found = self.judge.package("installed.dau", Layout::installed);
        let backup = self.judge.backup(job);
        Ok(verdict("installed.dau", found.map(drop), backup))
    }
}

/// What RecoveryOS would say of a package and the backup.
fn verdict(name: &str, package: Result<(), String>, backup: Result<(), String>) -> Verdict {
    match (package, backup) {
        (Ok(()), Ok(())) => Verdict::Accepted,
        (Err(error), _) => refused(&format!("{name} {error}")),
        (_, Err(error)) => refused(&format!("the backup of the parameters: {error}")),
    }
}

fn refused(message: &str) -> Verdict {
    Verdict::Refused {
        word: "power-cut".to_owned(),
        message: message.to_owned(),
    }
}
