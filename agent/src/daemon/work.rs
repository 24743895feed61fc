//! Begins tasks, listens to them, and notes in the job what they found.

use std::sync::Arc;

use dau_handoff::{Job, Written};
use dau_model::{Kind, Word};
use dau_package::{Installed, Keyring};
use rumqttc::QoS;

use super::event::Event;
use super::Daemon;
use crate::acceptance::Acceptance;
use crate::boot;
use crate::engine::{failed, Step, Work};
use crate::failure::Failure;
use crate::report::percent;
use crate::tasks::download::{Download, Source};
use crate::tasks::health::{Checked, Health};
use crate::tasks::{
    Backup, Done, Rebuild, Restore, Said, Task, TaskEvent, Verified, Verify, Worker, WriteRecovery,
};

impl Daemon {
    /// Begins a task. Returns true if it cannot be begun and the next step is to be asked for.
    pub(super) fn run_task(&mut self, work: Work) -> bool {
        let task = self.task(work).and_then(|task| {
            // The tries of a new OS are counted by the bootloader.
            match work {
                Work::Health => Ok(task),
                _ => self.begin_work().map(|()| task),
            }
        });
        match (task.and_then(|task| self.start_worker(task)), work) {
            (Ok(()), _) => false,
            (Err(failure), Work::Digest | Work::RestoreRecovery) => {
                log::error!("{work:?} is left out: {}", failure.reason);
                self.note(
                    match work {
                        Work::Digest => Done::Digest(None),
                        _ => Done::RestoreRecovery,
                    },
                    None,
                )
            }
            (Err(failure), Work::Health) => {
                // Neither healthy nor unhealthy: the trial goes on.
                log::error!("the health checks cannot begin: {}", failure.reason);
                self.retry_later()
            }
            (Err(failure), _) => {
                let step = failed(self.job.as_ref(), failure);
                self.follow(step)
            }
        }
    }

    fn start_worker(&mut self, task: Task) -> Result<(), Failure> {
        self.tasks = self.tasks.wrapping_add(1);
        let (number, sender) = (self.tasks, self.sender.clone());
        let tell = move |event| {
            // Nobody listens any more: the program ends.
            let _ = sender.send(Event::Task(number, event));
        };
        let worker = Worker::start(task, tell).map_err(|error| {
            let text = format!("no thread can be started: {error}");
            Failure::failed(Word::System, text)
        })?;
        self.worker = Some(worker);
        self.watch_work();
        Ok(())
    }

    fn task(&self, work: Work) -> Result<Task, Failure> {
        let (settings, layout) = (&self.settings, &self.settings.layout);
        let job = self.job.as_ref();
        if let (Work::Health, None) = (work, job) {
            return Ok(Task::Health(self.health()));
        }
        let no_job = || Failure::failed(Word::System, "there is no job");
        let job = job.ok_or_else(no_job)?;
        let record = || job.recovery.as_ref().ok_or_else(no_job);
        Ok(match work {
            Work::Download => Task::Download(Box::new(Download {
                settings: settings.download.clone(),
                identity: self.identity.clone(),
                acceptance: self.acceptance()?,
                source: Arc::new(Source::new(&job.order.url, job.order.token.as_deref())),
                part: layout.part(job.id),
                traffic: self.traffic.clone(),
            })),
            Work::Verify => Task::Verify(Box::new(self.verify(job)?)),
            Work::Rebuild => Task::Rebuild(Box::new(Rebuild {
                verify: self.verify(job)?,
                layout: layout.clone(),
                rebuilt: layout.rebuilt(job.id),
                reserve: settings.download.reserve,
            })),
            Work::Backup => Task::Backup(Backup {
                root: settings.os_root.clone(),
                lists: settings.parameter_lists.clone(),
                tar: layout.backup(job.id),
                digest_file: layout.backup_digest(job.id),
            }),
            Work::Health => Task::Health(self.health()),
            Work::WriteRecovery => Task::WriteRecovery(WriteRecovery {
                package: match job.order.kind {
                    Kind::Full => layout.installed(),
                    _ => layout.candidate(),
                },
                manifest_sha256: job.manifest_sha256.clone().unwrap_or_default(),
                keyring: settings.keyring.clone(),
                boot: settings.boot.clone(),
                in_charge: record()?.slot_before,
                layout: layout.clone(),
            }),
            Work::RestoreRecovery => Task::RestoreRecovery(Restore {
                boot: settings.boot.clone(),
                in_charge: record()?.slot_before,
                spare: layout.recovery_copy(),
            }),
            Work::Digest => Task::Digest(settings.os_root.clone(), layout.backup(job.id)),
        })
    }

    fn verify(&self, job: &Job) -> Result<Verify, Failure> {
        let (settings, layout) = (&self.settings, &self.settings.layout);
        Ok(Verify {
            acceptance: self.acceptance()?,
            part: layout.part(job.id),
            candidate: layout.candidate(),
            rootfs_size: self.rootfs_size(),
            parameters: (settings.os_root.clone(), settings.parameter_lists.clone()),
        })
    }

    fn acceptance(&self) -> Result<Acceptance, Failure> {
        let keyring = Keyring::load(&self.settings.keyring).map_err(|error| {
            Failure::failed(Word::Keyring, format!("no package can be checked: {error}"))
        })?;
        let order = self.job.as_ref().map(|job| job.order.clone());
        let release = &self.running.release;
        Ok(Acceptance {
            keyring,
            installed: Installed {
                product: release.product.clone(),
                rollback_index: release.rollback_index,
                recovery_version: self.running.recovery_version(),
            },
            packages: self.packages.clone(),
            takes_rebuilt: self.running.takes_rebuilt(),
            order: order.ok_or_else(|| Failure::failed(Word::System, "there is no job"))?,
        })
    }

    fn health(&self) -> Health {
        log::info!("this OS is on trial");
        let layout = &self.settings.layout;
        let job = self.job.as_ref();
        let rootfs = job.filter(|job| job.order.kind != Kind::Kernel);
        Health {
            settings: self.settings.health.clone(),
            link: self.link.status(),
            versions: rootfs.map(|job| {
                let running = self.running.release.version.clone();
                (job.order.version.clone(), running)
            }),
            parameters: job.and_then(|job| {
                let digest = job.parameters.as_ref()?.digest.clone();
                Some((self.settings.os_root.clone(), layout.backup(job.id), digest))
            }),
            log: layout.health_log(),
        }
    }

    pub(super) fn task_event(&mut self, number: u32, event: TaskEvent) {
        let Some(worker) = self.worker.as_ref().filter(|_| number == self.tasks) else {
            return;
        };
        match event {
            TaskEvent::Said(Said::Progress(done, total)) => {
                let before = self.bytes.replace((done, total));
                // Each report costs some 400 bytes, in each task of the job anew.
                let step = match self.job.as_ref().and_then(|job| job.order.budget) {
                    Some(_) => 10,
                    None => 1,
                };
                let told = |bytes| percent(bytes).checked_div(step);
                if before.is_none() || told(before) != told(self.bytes) {
                    self.send_progress(false, QoS::AtMostOnce);
                }
            }
            TaskEvent::Said(Said::AskForOrder) => self.send_progress(true, QoS::AtLeastOnce),
            TaskEvent::Done(done, seconds) => {
                // Asked to stop too late to be heard: it counts all the same.
                let done = worker.handle.check().and(done);
                self.worker = None;
                self.survive_work();
                let goes_on = match done {
                    Ok(done) => self.note(done, Some(seconds)),
                    Err(failure) => {
                        let step = failed(self.job.as_ref(), failure);
                        self.follow(step)
                    }
                };
                if goes_on {
                    self.proceed();
                }
            }
        }
    }

    /// Notes what a task found, which took so many seconds. Returns whether to ask for the next
    /// step.
    pub(super) fn note(&mut self, done: Done, seconds: Option<f64>) -> bool {
        let mut stage = |name: &str, bytes| {
            if let (Some(job), Some(seconds)) = (&mut self.job, seconds) {
                job.stage(name, seconds, bytes);
            }
        };
        match &done {
            Done::Download(bytes) => stage("download", Some(*bytes)),
            Done::Verify(Verified::Candidate(_)) => stage("verify", None),
            // The check of a delta itself is soon done.
            Done::Rebuild(_) => stage("rebuild", None),
            Done::Backup(_) => stage("backup", None),
            Done::Health(_) => stage("trial", None),
            Done::WriteRecovery(Some(bytes)) => stage("write-recovery", Some(*bytes)),
            _ => {}
        }
        match done {
            Done::Health(Checked::Healthy) => return self.confirm(),
            Done::Health(Checked::Unhealthy(_)) if self.job.is_none() => {
                return self.follow(Step::Arm(dau_boot_state::Operation::Rollback));
            }
            Done::Health(Checked::Unhealthy(reason)) => {
                self.roll_back(reason);
                return true;
            }
            Done::Verify(Verified::FetchAgain(reason)) => {
                log::warn!("the package is damaged and fetched once more: {reason}");
            }
            Done::Verify(Verified::Candidate(manifest_sha256)) | Done::Rebuild(manifest_sha256) => {
                if let Some(job) = &mut self.job {
                    job.manifest_sha256 = Some(manifest_sha256);
                }
            }
            Done::Backup(record) => {
                if let Some(job) = &mut self.job {
                    job.parameters = Some(record);
                }
            }
            Done::WriteRecovery(bytes) => {
                if let Some(record) = self.recovery_record() {
                    record.written = match bytes {
                        Some(_) => Written::Slot,
                        None => Written::InCharge,
                    };
                }
            }
            Done::RestoreRecovery => {
                if let Some(record) = self.recovery_record() {
                    record.restored = true;
                }
            }
            Done::Digest(digest) => {
                if let Some(result) = self.job.as_mut().and_then(|job| job.result_mut()) {
                    result.parameters_after = Some(digest.unwrap_or_default());
                }
            }
            Done::Download(_) | Done::Verify(Verified::Delta) => {}
        }
        self.save_job();
        true
    }

    /// Confirms this OS in the boot state: from then on it stays, whatever happens to the rest.
    fn confirm(&mut self) -> bool {
        match boot::settle(&self.settings.boot, self.command_line.kernel) {
            Ok(()) => {
                log::info!("this OS is confirmed");
                self.save_job();
                true
            }
            Err(error) => {
                // The trial goes on. If it never works, the tries are used up some day, and the old
                // OS comes back.
                log::error!("this OS cannot be confirmed now: {error}");
                self.retry_later()
            }
        }
    }
}
