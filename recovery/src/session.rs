//! One run of RecoveryOS: its findings so far, and the job on mnt.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use dau_boot_state::{BootState, Operation};
use dau_handoff::{Job, Layout, TransitionError, MAX_FAILURES};
use dau_model::{Kind, Reason, State, Word};
use dau_system::durable::{self, Temporary};
use dau_system::partitions;
use dau_system::volume::{Opened, Volume};
use nix::errno::Errno;

use crate::plan::{Facts, JobFound, Package, Verdict};
use crate::restore::{self, Backup};
use crate::rootfs::ext4;
use crate::terminal::Terminal;
use crate::verify::{self, Accepted, Judged};
use crate::{boot, console, oslog};

/// Space for a job, in bytes: more than it takes.
const JOB_ROOM: usize = 64 << 10;

/// The findings of a run.
#[derive(Debug)]
pub struct Session<'a> {
    pub terminal: &'a Terminal,
    /// The boot state at its start.
    pub state: Option<BootState>,
    /// The job, if there is one.
    pub job: Option<Job>,
    /// The job file cannot be read or is invalid.
    lost: bool,
    mnt: Option<(Opened, Layout)>,
    /// The reason why mnt cannot be written.
    unwritable: Option<String>,
    candidate: Option<Judged>,
    installed: Option<Judged>,
    backup: Option<Backup>,
}

impl<'a> Session<'a> {
    /// Reads the boot state, mounts mnt and reads the job.
    pub fn open(terminal: &'a Terminal) -> Result<Self> {
        if let Err(error) = terminal.wait_for_partitions() {
            // Perhaps it is not needed.
            log::error!("{error}");
        }
        let state = boot::load(terminal)?;
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
            match layout.create().and_then(|()| make_room(layout)) {
                Ok(()) => console::keep_in(layout),
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

    /// Returns the facts that the plan is made from.
    pub fn facts(&self) -> Facts {
        let verdict =
            |judged: &Option<Judged>| judged.as_ref().map_or(Verdict::Unknown, Judged::verdict);
        Facts {
            state: self.state.clone(),
            reason: self.terminal.reason,
            job: match (&self.job, &self.mnt) {
                // Nothing can be done that cannot be recorded; see also `half_written`.
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

    /// Returns the reason why nothing can be done: mnt cannot be written, and the root filesystem
    /// is not intact, or unknown.
    pub fn half_written(&self) -> Option<String> {
        let error = self.unwritable.as_ref()?;
        let flagged = |state: &BootState| {
            state.upgrade && state.operation != Operation::Install(Kind::Kernel)
        };
        let touched = match &self.job {
            Some(job) => match job.state() {
                State::Installing => job.attempts.rootfs_touched,
                State::RollingBack => job.attempts.rollback_started,
                _ => false,
            },
            None => self.lost && self.state.as_ref().is_some_and(flagged),
        };
        touched.then(|| {
            format!("mnt takes no writes ({error}), and the root filesystem may not be whole")
        })
    }

    /// Returns the paths on mnt.
    pub fn layout(&self) -> Option<&Layout> {
        self.mnt.as_ref().map(|(_, layout)| layout)
    }

    /// Verifies a package and the backup for it.
    ///
    /// # Errors
    /// A fault that does not concern the package, such as a read error. A persistent one, or one
    /// that is not counted, is a refusal instead: there may be another way.
    pub fn judge(&mut self, package: Package) -> Result<()> {
        let started = Instant::now();
        let (judged, backup) = match self.look_at(package) {
            Ok(found) => found,
            Err(error) if self.has_patience() => return Err(error),
            Err(error) => (
                Judged::refused(Word::Unreadable, format!("{error:#}")),
                None,
            ),
        };
        self.take(package, judged, backup, started);
        Ok(())
    }

    /// Returns whether to wait for a fault that may pass.
    fn has_patience(&self) -> bool {
        let failures = self.job.as_ref().map(|job| job.attempts.failures);
        failures.is_some_and(|failures| failures < MAX_FAILURES.saturating_mul(2))
    }

    fn look_at(&self, package: Package) -> Result<(Judged, Option<Result<Backup, Reason>>)> {
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
        Ok((judged, backup))
    }

    fn take(
        &mut self,
        package: Package,
        judged: Judged,
        backup: Option<Result<Backup, Reason>>,
        started: Instant,
    ) {
        let judged = match backup {
            Some(Err(reason)) if judged.verdict() == Verdict::Accepted => Judged::Refused(reason),
            Some(Ok(backup)) => {
                self.backup = Some(backup);
                judged
            }
            _ => judged,
        };
        if let Judged::Refused(reason) = &judged {
            log::error!("refused ({}): {}", reason.word, reason.message);
        }
        let bytes = match &judged {
            Judged::Accepted(accepted) => Some(accepted.verified.manifest.system.size),
            Judged::Refused(_) => None,
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
    }

    /// Returns an accepted package.
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

    /// Returns the verified backup.
    pub fn backup(&self) -> Result<&Backup> {
        self.backup
            .as_ref()
            .context("the backup of the parameters was not checked")
    }

    /// Changes the job and writes it durably; without a job, nothing happens.
    pub fn update_job(&mut self, change: impl FnOnce(&mut Job)) -> Result<()> {
        self.step_job(|job| {
            change(job);
            Ok(())
        })
    }

    /// Does the same as [`Session::update_job`] for a change that may be refused; nothing is
    /// written then.
    pub fn step_job(
        &mut self,
        change: impl FnOnce(&mut Job) -> Result<(), TransitionError>,
    ) -> Result<()> {
        if self.unwritable.is_some() {
            return Ok(());
        }
        if let (Some(job), Some((_, layout))) = (&mut self.job, &self.mnt) {
            change(job)?;
            self.terminal.failpoint.hit();
            job.save(&layout.job())?;
            self.terminal.failpoint.hit();
        }
        Ok(())
    }

    /// Notes a finished stage, replacing an earlier run's; it is written with the next change of
    /// the job.
    pub fn stage(&mut self, name: &str, started: Instant, bytes: Option<u64>) {
        let seconds = started.elapsed().as_secs_f64();
        log::info!("{name}: {seconds:.2} s");
        if let Some(job) = &mut self.job {
            job.stages.retain(|stage| stage.name != name);
            job.stage(name, seconds, bytes);
        }
    }

    /// Counts a failure for the job's installation or rollback; returns the number of failures.
    pub fn count_failure(&mut self, what: &str) -> Result<Option<u32>> {
        let counts = self.job.as_ref().is_some_and(|job| {
            matches!(
                job.state(),
                State::Armed | State::Installing | State::Trial | State::RollingBack
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

    /// Saves the end of the log of the OS that is about to be rolled back; returns its end for the
    /// result.
    pub fn keep_os_log(&self) -> Option<String> {
        let (job, layout) = (self.job.as_ref()?, self.layout()?);
        let kept = match oslog::keep(layout, job.id) {
            Ok(kept) => kept,
            Err(error) => {
                log::warn!("no log of the new OS is kept: {error}");
                None
            }
        };
        kept.filter(|text| !text.is_empty())
    }

    /// Moves the log of the OS aside before it is replaced, so that a result cannot quote it as the
    /// new one's.
    pub fn set_os_log_aside(&self) {
        let Some(layout) = self.layout() else { return };
        if let Err(error) = oslog::set_aside(layout) {
            log::warn!("the old OS's log stays where it is: {error}");
        }
    }

    /// Unmounts mnt; all written data are on the medium.
    pub fn close(mut self) -> Result<()> {
        console::keep_in_memory();
        // The verified packages are open files on mnt.
        (self.candidate, self.installed) = (None, None);
        if let Some((mnt, _)) = self.mnt {
            mnt.close()?;
        }
        Ok(())
    }
}

/// Makes sure that a job can be written: removes temporary files, and on a full mnt files that can
/// be obtained again or are only history.
fn make_room(layout: &Layout) -> io::Result<()> {
    layout.remove_temporaries()?;
    let mut tried = takes_writes(layout);
    for list in [Layout::unfinished, Layout::bounded_logs] {
        let full = |error: &io::Error| error.raw_os_error() == Some(Errno::ENOSPC as i32);
        if !tried.as_ref().is_err_and(full) {
            break;
        }
        for path in list(layout)? {
            log::warn!("mnt is full: {} goes", path.display());
            durable::remove(&path)?;
        }
        tried = takes_writes(layout);
    }
    tried
}

fn takes_writes(layout: &Layout) -> io::Result<()> {
    let (_removed, mut file) = Temporary::create(&layout.job(), 0o600)?;
    file.write_all(&[b' '; JOB_ROOM])?;
    file.sync_all()
}

/// A repair of a file system before it is mounted.
type Mend = fn(&Path) -> Result<()>;

/// Mounts mnt, repairing it first if it cannot be mounted.
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
