//! One run of RecoveryOS: what it has found so far, and the job as it stands on mnt.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use dau_boot_state::{BootState, Kind as Flag};
use dau_handoff::{Job, JobState, Kind, Layout};
use dau_system::partitions;
use dau_system::volume::{Opened, Volume};

use crate::plan::{Facts, JobFound, Package, Verdict};
use crate::restore::{self, Backup};
use crate::rootfs::ext4;
use crate::terminal::Terminal;
use crate::verify::{self, Accepted, Judged};
use crate::{commit, console, oslog};

/// What a run knows.
#[derive(Debug)]
pub struct Session<'a> {
    /// What it works on.
    pub terminal: &'a Terminal,
    /// The boot state at its start.
    pub state: Option<BootState>,
    /// The job, where there is one.
    pub job: Option<Job>,
    /// There is a job file that cannot be read or holds no job.
    lost: bool,
    mnt: Option<(Opened, Layout)>,
    /// Why mnt takes no writes.
    unwritable: Option<String>,
    candidate: Option<Judged>,
    installed: Option<Judged>,
    backup: Option<Backup>,
}

impl<'a> Session<'a> {
    /// Reads the boot state, mounts mnt and reads the job.
    pub fn open(terminal: &'a Terminal) -> Result<Self> {
        if let Err(error) = terminal.wait_for_partitions() {
            // Perhaps it is one that can be done without.
            log::error!("{error}");
        }
        let state = commit::load(terminal)?;
        let mnt = open_mnt(terminal).map(|opened| {
            let layout = Layout::new(opened.path());
            (opened, layout)
        });
        let mut session = Session {
            terminal,
            state,
            job: None,
            lost: false,
            mnt,
            unwritable: None,
            candidate: None,
            installed: None,
            backup: None,
        };
        if let Some((_, layout)) = &session.mnt {
            match layout.create() {
                Ok(()) => console::keep_in(&layout.logs()),
                Err(error) => {
                    log::error!("mnt takes no writes: {error}");
                    session.unwritable = Some(error.to_string());
                }
            }
            match Job::load(&layout.job()) {
                Ok(job) => session.job = job,
                Err(error) => {
                    log::error!("the job is lost: {error}");
                    session.lost = true;
                }
            }
        }
        Ok(session)
    }

    /// What the plan is made from.
    pub fn facts(&self) -> Facts {
        let verdict =
            |judged: &Option<Judged>| judged.as_ref().map_or(Verdict::Unknown, Judged::verdict);
        Facts {
            state: self.state.clone(),
            reason: self.terminal.reason,
            job: match (&self.job, &self.mnt) {
                // What cannot be written down cannot be done; see also `half_written`.
                _ if self.unwritable.is_some() => JobFound::NoMnt,
                (Some(job), _) => JobFound::Job(Box::new(job.clone())),
                (None, Some(_)) if self.lost => JobFound::Lost,
                (None, Some(_)) => JobFound::None,
                (None, None) => JobFound::NoMnt,
            },
            candidate: verdict(&self.candidate),
            installed: verdict(&self.installed),
        }
    }

    /// Why nothing at all can be done: mnt takes no writes, and the root filesystem is not whole, or nobody knows whether it is.
    pub fn half_written(&self) -> Option<String> {
        let error = self.unwritable.as_ref()?;
        let flagged = |state: &BootState| state.upgrade && state.kind != Flag::Kernel;
        let touched = match &self.job {
            Some(job) => match job.state {
                JobState::Installing => job.attempts.rootfs_touched,
                JobState::RollingBack { .. } => job.attempts.rollback_started,
                _ => false,
            },
            None => self.lost && self.state.as_ref().is_some_and(flagged),
        };
        touched.then(|| {
            format!("mnt takes no writes ({error}), and the root filesystem may not be whole")
        })
    }

    /// Paths on mnt.
    pub fn layout(&self) -> Option<&Layout> {
        self.mnt.as_ref().map(|(_, layout)| layout)
    }

    /// Verifies a package, and the backup that goes with it.
    pub fn judge(&mut self, package: Package) -> Result<()> {
        let started = Instant::now();
        let layout = self.layout().context("mnt is not mounted")?.clone();
        let (judged, backup) = match (package, &self.job) {
            (Package::Candidate, Some(job)) => {
                let backup = match job.order.kind {
                    Kind::Kernel | Kind::Recovery => None,
                    Kind::Rootfs | Kind::Full => Some(restore::of_job(&layout, job)?),
                };
                (verify::candidate(self.terminal, &layout, job)?, backup)
            }
            (Package::Candidate, None) => anyhow::bail!("there is no job for candidate.dau"),
            (Package::Installed, job) => {
                let backup = match job {
                    Some(job) if job.parameters.is_some() => restore::of_job(&layout, job)?,
                    _ => restore::newest(&layout)?,
                };
                (verify::installed(self.terminal, &layout)?, Some(backup))
            }
        };
        let judged = match backup {
            Some(Err(Verdict::Refused { word, message }))
                if judged.verdict() == Verdict::Accepted =>
            {
                Judged::Refused { word, message }
            }
            Some(Ok(backup)) => {
                self.backup = Some(backup);
                judged
            }
            _ => judged,
        };
        if let Judged::Refused { word, message } = &judged {
            log::error!("refused ({word}): {message}");
        }
        let bytes = match &judged {
            Judged::Accepted(accepted) => Some(accepted.verified.manifest.system.size),
            Judged::Refused { .. } => None,
        };
        match package {
            Package::Candidate => {
                self.candidate = Some(judged);
                self.stage("recovery-verify", started, bytes);
            }
            Package::Installed => {
                self.installed = Some(judged);
                self.stage("rollback-verify", started, bytes);
            }
        }
        Ok(())
    }

    /// A package that was judged and accepted.
    pub fn accepted(&self, package: Package) -> Result<&Accepted> {
        let judged = match package {
            Package::Candidate => &self.candidate,
            Package::Installed => &self.installed,
        };
        match judged {
            Some(Judged::Accepted(accepted)) => Ok(accepted),
            _ => anyhow::bail!("{package:?} was not accepted"),
        }
    }

    /// The backup that was checked.
    pub fn backup(&self) -> Result<&Backup> {
        self.backup
            .as_ref()
            .context("the backup of the parameters was not checked")
    }

    /// Changes the job and writes it durably; without a job, nothing happens.
    pub fn update_job(&mut self, change: impl FnOnce(&mut Job)) -> Result<()> {
        if self.unwritable.is_some() {
            return Ok(());
        }
        if let (Some(job), Some((_, layout))) = (&mut self.job, &self.mnt) {
            change(job);
            self.terminal.cut.point();
            job.save(&layout.job())?;
            self.terminal.cut.point();
        }
        Ok(())
    }

    /// Notes a stage that is over, in place of an earlier run's; written with the next change of the job.
    pub fn stage(&mut self, name: &str, started: Instant, bytes: Option<u64>) {
        let seconds = started.elapsed().as_secs_f64();
        log::info!("{name}: {seconds:.2} s");
        if let Some(job) = &mut self.job {
            job.stages.retain(|stage| stage.name != name);
            job.stage(name, seconds, bytes);
        }
    }

    /// Counts a failure where it belongs to the job's installation or rollback; returns how many there are by now.
    pub fn count_failure(&mut self, what: &str) -> Result<Option<u32>> {
        let counts = self.job.as_ref().is_some_and(|job| {
            matches!(
                job.state,
                JobState::Armed
                    | JobState::Installing
                    | JobState::Trial
                    | JobState::RollingBack { .. }
            )
        });
        if !counts {
            return Ok(None);
        }
        self.update_job(|job| {
            job.attempts.failures = job.attempts.failures.saturating_add(1);
            job.attempts.last_error = Some(what.to_owned());
        })?;
        Ok(self.job.as_ref().map(|job| job.attempts.failures))
    }

    /// Keeps the end of the log of the OS that is about to be taken back; the end of that, for the result.
    pub fn keep_os_log(&self) -> Option<String> {
        let (job, layout) = (self.job.as_ref()?, self.layout()?);
        let kept = match oslog::keep(&layout.os_log(), &layout.trial_log(job.id)) {
            Ok(kept) => kept,
            Err(error) => {
                log::warn!("no log of the new OS is kept: {error}");
                None
            }
        };
        kept.filter(|text| !text.is_empty())
    }

    /// Sets the log of the OS that is about to be replaced aside, so that a result cannot quote it as the new one's.
    pub fn set_os_log_aside(&self) {
        let Some(layout) = self.layout() else { return };
        if let Err(error) = oslog::set_aside(&layout.os_log(), &layout.os_log_before()) {
            log::warn!("the old OS's log stays where it is: {error}");
        }
    }

    /// Unmounts mnt; what was written there is on the medium.
    pub fn close(mut self) -> Result<()> {
        console::keep_in_memory();
        // The packages that were judged are open files on mnt.
        (self.candidate, self.installed) = (None, None);
        if let Some((mnt, _)) = self.mnt {
            mnt.close()?;
        }
        Ok(())
    }
}

/// What is done to a file system before it is mounted.
type Mend = fn(&Path) -> Result<()>;

/// Mounts mnt, mending it first where it cannot be mounted as it is.
fn open_mnt(terminal: &Terminal) -> Option<Opened> {
    let ways: [Mend; 3] = [|_| Ok(()), ext4::mend, ext4::mend_at_any_price];
    for mend in ways {
        if let Volume::Partition { label, .. } = &terminal.mnt {
            let mended = partitions::find_by_label(label)
                .map_err(anyhow::Error::from)
                .and_then(|device| mend(&device));
            if let Err(error) = mended {
                log::error!("{error:#}");
            }
        }
        match terminal.mnt.open() {
            Ok(opened) => return Some(opened),
            Err(error) => log::error!("{error}"),
        }
    }
    None
}
