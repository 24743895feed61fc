//! Long work, each task on a thread of its own: download, verify, rebuild, backup, RecoveryOS, health. A
//! task owns its inputs and returns its findings; it shares only the [`Handle`] with the main loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dau_handoff::ParametersRecord;

use crate::failure::Failure;

mod backup;
pub mod download;
mod handle;
pub mod health;
mod rebuild;
mod recovery_os;
mod verify;

pub use backup::Backup;
use download::{Download, Source};
pub use handle::{Handle, Said};
use health::{Checked, Health};
pub use rebuild::{no_base, Rebuild};
pub use recovery_os::{Restore, WriteRecovery};
pub use verify::{Verified, Verify};

/// OpenSSL and zstd keep their large tables on the heap.
const STACK: usize = 512 << 10;

/// A task with its inputs.
#[derive(Debug)]
pub enum Task {
    Download(Box<Download>),
    Verify(Box<Verify>),
    Rebuild(Box<Rebuild>),
    Backup(Backup),
    Health(Health),
    /// Digest of the parameters of a job that is over: root and backup.
    Digest(PathBuf, PathBuf),
    WriteRecovery(WriteRecovery),
    RestoreRecovery(Restore),
}

/// The findings of a task.
#[derive(Debug)]
pub enum Done {
    /// Bytes fetched.
    Download(u64),
    Verify(Verified),
    /// SHA-256 of the candidate's manifest.
    Rebuild(String),
    Backup(ParametersRecord),
    Health(Checked),
    /// `None`: it cannot be told.
    Digest(Option<String>),
    /// Bytes that the other slot holds now; `None`: what was to be written is in charge already.
    WriteRecovery(Option<u64>),
    RestoreRecovery,
}

/// Events from a worker.
#[derive(Debug)]
pub enum TaskEvent {
    Said(Said),
    /// The end, and the seconds that it took.
    Done(Result<Done, Failure>, f64),
}

/// A task under way.
#[derive(Debug)]
pub struct Worker {
    pub handle: Arc<Handle>,
    /// Of a download.
    source: Option<Arc<Source>>,
}

impl Worker {
    /// Starts a thread for one task.
    pub fn start(
        task: Task,
        tell: impl Fn(TaskEvent) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let tell = Arc::new(tell);
        let say = tell.clone();
        let handle = Arc::new(Handle::new(move |said| say(TaskEvent::Said(said))));
        let worker = Worker {
            handle: handle.clone(),
            source: task.source(),
        };
        std::thread::Builder::new()
            .name("work".into())
            .stack_size(STACK)
            .spawn(move || {
                let started = Instant::now();
                let done = task.run(&handle);
                tell(TaskEvent::Done(done, started.elapsed().as_secs_f64()));
            })?;
        Ok(worker)
    }

    /// The order came again: a download goes on with its url and token.
    pub fn renew(&self, url: &str, token: Option<&str>) {
        if let Some(source) = &self.source {
            source.renew(url, token);
            self.handle.wake();
        }
    }
}

impl Task {
    fn source(&self) -> Option<Arc<Source>> {
        match self {
            Task::Download(download) => Some(download.source.clone()),
            _ => None,
        }
    }

    fn run(&self, handle: &Handle) -> Result<Done, Failure> {
        match self {
            Task::Download(download) => download.run(handle).map(Done::Download),
            Task::Verify(verify) => verify.run(handle).map(Done::Verify),
            Task::Rebuild(rebuild) => rebuild.run(handle).map(Done::Rebuild),
            Task::Backup(backup) => backup.run().map(Done::Backup),
            Task::Health(health) => health.run(handle).map(Done::Health),
            Task::WriteRecovery(write) => write.run(handle).map(Done::WriteRecovery),
            Task::RestoreRecovery(restore) => {
                restore.run();
                Ok(Done::RestoreRecovery)
            }
            Task::Digest(root, tar) => {
                let digest = dau_handoff::parameters::digest_of_backup_set(root, tar);
                let digest = digest.map_err(|error| log::warn!("no digest of parameters: {error}"));
                Ok(Done::Digest(digest.ok()))
            }
        }
    }
}
