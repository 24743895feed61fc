//! How a job moves from its acceptance to the point of no return.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use dau_handoff::{JobResult, JobState, Kind, Outcome};
use dau_package::{Installed, Keyring};
use dau_system::clock;
use rumqttc::QoS;

use super::Daemon;
use crate::download::judge::Judge;
use crate::download::{partial, Download};
use crate::ending::Ending;
use crate::work::{Backup, Control, Done, Task, Verify, WorkEvent, Worker};

impl Daemon {
    /// Starts whatever the job's state asks for, unless it is under way.
    pub(super) fn advance(&mut self) {
        if self.worker.is_some() || self.rebooting {
            return;
        }
        let Some(job) = &self.job else { return };
        let task = match job.state {
            JobState::Accepted => {
                if self.timers.job_start.is_some_and(|at| at > Instant::now()) {
                    return;
                }
                self.timers.job_start = None;
                let now = clock::now();
                if job.order.expires_at.is_some_and(|expires| now > expires) {
                    let text = "the order expired before the job could start";
                    return self.finish(Ending::cancelled("expired", text).result());
                }
                if !self.enter(JobState::Downloading) {
                    return;
                }
                self.download()
            }
            JobState::Downloading => self.download(),
            JobState::Verifying => self.verify(),
            JobState::BackingUp => self.backup(),
            JobState::UpdatingRecovery => match self.write_recovery() {
                Some(task) => Ok(task),
                None => return,
            },
            _ => return,
        };
        match task {
            Ok(task) => self.work(task),
            Err(ending) => self.finish(ending.result()),
        }
    }

    /// Moves the job on; false when that cannot be kept, and the job has ended for it.
    pub(super) fn enter(&mut self, state: JobState) -> bool {
        let saved = self.enter_regardless(state);
        if !saved {
            let text = "the job's state cannot be kept";
            self.finish(Ending::storage(text, "see the log").result());
        }
        saved
    }

    /// Moves the job on where going on matters more than a job file that cannot be written: RecoveryOS copes with an
    /// older one.
    pub(super) fn enter_regardless(&mut self, state: JobState) -> bool {
        let Some(job) = &mut self.job else {
            return false;
        };
        log::info!("job {}: {}", job.id, crate::report::state_name(&state));
        job.state = state;
        self.bytes = None;
        let saved = self.save_job();
        self.send_progress(false, QoS::AtLeastOnce);
        saved
    }

    /// Gives a task to a worker.
    pub(super) fn work(&mut self, task: Task) {
        let order = self.job.as_ref().map(|job| &job.order);
        let control = match order {
            Some(order) => Control::new(&order.url, order.token.as_deref()),
            None => Control::new("", None),
        };
        self.workers = self.workers.wrapping_add(1);
        match Worker::start(self.workers, task, control, self.sender.clone()) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                let text = format!("no thread can be started: {error}");
                self.finish(Ending::failed("system", text).result());
            }
        }
    }

    fn judge(&self) -> Result<Judge, Ending> {
        let keyring = Keyring::load(&self.settings.keyring).map_err(|error| {
            Ending::failed("keyring", format!("no package can be judged: {error}"))
        })?;
        let order = self.job.as_ref().map(|job| job.order.clone());
        let release = &self.running.release;
        Ok(Judge {
            keyring,
            installed: Installed {
                product: release.product.clone(),
                rollback_index: release.rollback_index,
                recovery_version: self.running.recovery_version(),
            },
            order: order.ok_or_else(|| Ending::failed("system", "there is no job"))?,
        })
    }

    fn id(&self) -> i64 {
        self.job.as_ref().map_or(0, |job| job.id)
    }

    fn download(&self) -> Result<Task, Ending> {
        let roots = self
            .identity
            .station_roots()
            .map_err(|error| Ending::failed("identity", format!("{error:#}")))?;
        Ok(Task::Download(Box::new(Download {
            settings: self.settings.download.clone(),
            roots,
            judge: self.judge()?,
            part: self.settings.layout.part(self.id()),
        })))
    }

    fn verify(&self) -> Result<Task, Ending> {
        let layout = &self.settings.layout;
        let (part, candidate) = (layout.part(self.id()), layout.candidate());
        if !part.exists() && !candidate.exists() {
            return self.download();
        }
        Ok(Task::Verify(Box::new(Verify {
            judge: self.judge()?,
            part,
            candidate,
        })))
    }

    fn backup(&self) -> Result<Task, Ending> {
        let layout = &self.settings.layout;
        let verified = self
            .job
            .as_ref()
            .is_some_and(|job| job.manifest_sha256.is_some());
        if !verified || !layout.candidate().exists() {
            return self.verify();
        }
        Ok(Task::Backup(Backup {
            root: self.settings.root.clone(),
            lists: self.settings.parameter_lists.clone(),
            tar: layout.backup(self.id()),
            digest_file: layout.backup_digest(self.id()),
        }))
    }

    pub(super) fn work_event(&mut self, number: u32, event: WorkEvent) {
        let current = self.worker.as_ref().map(|worker| worker.number);
        if current != Some(number) {
            return;
        }
        match event {
            WorkEvent::Progress(done, total) => {
                self.bytes = Some((done, total));
                self.send_progress(false, QoS::AtMostOnce);
            }
            WorkEvent::AskForOrder => self.send_progress(true, QoS::AtLeastOnce),
            WorkEvent::Done(done, seconds) => {
                // Asked to stop too late to be heard: it counts all the same.
                let worker = self.worker.take();
                let cancelled = worker.map_or(Ok(()), |worker| worker.control.check());
                match cancelled.and(done) {
                    Ok(done) => self.done(done, seconds),
                    Err(ending) if self.updates_recovery() => {
                        self.keep_recovery(&ending.word, ending.message);
                    }
                    Err(ending) => self.finish(ending.result()),
                }
            }
        }
    }

    fn done(&mut self, done: Done, seconds: f64) {
        let mut stage = |name: &str, bytes| {
            if let Some(job) = &mut self.job {
                job.stage(name, seconds, bytes);
            }
        };
        match done {
            Done::Downloaded(bytes) => {
                stage("download", Some(bytes));
                if self.enter(JobState::Verifying) {
                    self.advance();
                }
            }
            Done::FetchAgain(reason) => {
                log::warn!("the package is damaged and fetched once more: {reason}");
                if self.enter(JobState::Downloading) {
                    self.advance();
                }
            }
            Done::Verified(manifest_sha256) => {
                stage("verify", None);
                if let Some(job) = &mut self.job {
                    job.manifest_sha256 = Some(manifest_sha256);
                    if job.order.kind == Kind::Recovery {
                        return self.begin_recovery();
                    }
                }
                if self.enter(JobState::BackingUp) {
                    self.advance();
                }
            }
            Done::BackedUp(record) => {
                stage("backup", None);
                if let Some(job) = &mut self.job {
                    job.parameters = Some(record);
                }
                if self.enter(JobState::Armed) {
                    self.arm();
                }
            }
            Done::Health(verdict) => self.judged(verdict, seconds),
            Done::Digest(digest) => self.hand_in(digest),
            Done::RecoveryWritten(bytes) => {
                stage("write-recovery", Some(bytes));
                self.ask_for_check();
            }
            Done::RecoveryInPlace => self.recovery_in_charge(),
            Done::RecoveryRestored(word, message) => self.recovery_kept(&word, &message),
        }
    }

    /// Gives the job its one result, and reports it.
    pub(super) fn finish(&mut self, result: JobResult) {
        let Some(job) = &mut self.job else { return };
        let word = result.outcome.word();
        match result.outcome {
            Outcome::Success => log::info!("job {}: {word}", job.id),
            _ => log::error!("job {}: {word}: {}", job.id, result.message),
        }
        job.finish(result);
        self.save_job();
        self.hand_in(None);
    }

    /// Completes a result with what runs now, moves it to the outbox, and reports it.
    pub(super) fn hand_in(&mut self, parameters: Option<String>) {
        let Some(mut job) = self.job.take() else {
            return;
        };
        if let Some(record) = &mut job.recovery {
            record.version_after = self.running.recovery_version();
        }
        if let JobState::Finished { result, .. } = &mut job.state {
            let running = &self.running;
            let version = || running.release.version.clone();
            result.version_after.get_or_insert_with(version);
            result
                .kernel_after
                .get_or_insert_with(|| running.kernel.clone());
            result.parameters_after = result.parameters_after.take().or(parameters);
        }
        self.worker = None;
        self.timers.job_start = None;
        self.bytes = None;
        match self.outbox.take(&job) {
            Ok(()) => {
                self.clean_up(None);
                self.repeat.reset();
            }
            Err(error) => {
                log::error!("cannot keep the result of job {}: {error:#}", job.id);
                self.send_report(&job);
                self.timers.retry = Some(Instant::now() + self.repeat.next());
                self.job = Some(job);
            }
        }
        self.send_results();
    }

    /// Removes what no job needs any more.
    pub(super) fn clean_up(&self, current: Option<i64>) {
        let layout = &self.settings.layout;
        let part = current.map(|id| layout.part(id));
        let cleaned = dau_system::durable::remove(&layout.candidate())
            .and_then(|()| remove_parts(&layout.packages(), part.as_deref()))
            .and_then(|()| remove_old_backups(&layout.backups(), self.settings.backups));
        if let Err(error) = cleaned {
            log::warn!("cannot clean up {}: {error}", layout.root().display());
        }
    }
}

fn remove_parts(folder: &Path, keep: Option<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let kept =
            keep.is_some_and(|keep| path == keep || path == keep.with_extension("part.json"));
        if name.ends_with(".part.json") && !kept {
            dau_system::durable::remove(&path)?;
        } else if name.ends_with(".part") && !kept {
            partial::discard(&path)?;
        }
    }
    Ok(())
}

/// Keeps the newest backups: a backup outlives its job.
fn remove_old_backups(folder: &Path, keep: usize) -> io::Result<()> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "tar")
        {
            backups.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    backups.sort();
    let excess = backups.len().saturating_sub(keep);
    for (_, path) in &backups[..excess] {
        dau_system::durable::remove(&path.with_extension("tar.sha256"))?;
        dau_system::durable::remove(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_what_is_needed_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "1.part",
            "1.part.json",
            "2.part",
            "2.part.json",
            "3.part.json",
            "installed.dau",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_parts(dir.path(), Some(&dir.path().join("2.part"))).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["2.part", "2.part.json", "installed.dau"]);
    }

    #[test]
    fn the_newest_backups_stay() {
        let dir = tempfile::tempdir().unwrap();
        for (index, name) in ["9", "7", "8"].iter().enumerate() {
            let tar = dir.path().join(format!("{name}.tar"));
            fs::write(&tar, "").unwrap();
            fs::write(dir.path().join(format!("{name}.tar.sha256")), "").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(index as u64);
            fs::File::options()
                .write(true)
                .open(&tar)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        remove_old_backups(dir.path(), 2).unwrap();
        assert!(!dir.path().join("9.tar").exists() && !dir.path().join("9.tar.sha256").exists());
        assert!(dir.path().join("7.tar").exists() && dir.path().join("8.tar.sha256").exists());
    }
}
