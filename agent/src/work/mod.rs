//! The one thread that does what takes long: fetching, checking, backing up, looking after a new OS.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::Arc;
use std::time::Instant;

use dau_handoff::ParametersRecord;

use crate::download::Download;
use crate::ending::Ending;
use crate::event::Event;
use crate::health::{Health, Verdict};

mod backup;
mod control;
mod recovery;
mod verify;

pub use backup::Backup;
pub use control::{Control, Source};
pub use recovery::{Restore, WriteRecovery};
pub use verify::Verify;

/// OpenSSL and zstd keep their large tables on the heap.
const STACK: usize = 512 << 10;
/// Milliseconds between two reports of progress.
const REPORT_EVERY: u64 = 1000;

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    Download(Box<Download>),
    Verify(Box<Verify>),
    Backup(Backup),
    Health(Health),
    /// Digest of the parameters of a job that is over: root and backup.
    Digest(PathBuf, PathBuf),
    WriteRecovery(WriteRecovery),
    RestoreRecovery(Restore),
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    /// Bytes fetched.
    Downloaded(u64),
    /// The candidate is in place; SHA-256 of its manifest.
    Verified(String),
    /// The package is damaged, perhaps by our own storage: fetch it once more.
    FetchAgain(String),
    BackedUp(ParametersRecord),
    Health(Verdict),
    Digest(Option<String>),
    /// Bytes written to the RecoveryOS slot.
    RecoveryWritten(u64),
    /// What was to be written is in charge already.
    RecoveryInPlace,
    /// The old RecoveryOS stands in both slots; word and message that the job ends with.
    RecoveryRestored(String, String),
}

/// What the worker tells the main loop.
#[derive(Debug)]
pub enum WorkEvent {
    /// Bytes done, bytes in all.
    Progress(u64, u64),
    /// The order is to come again with a new token.
    AskForOrder,
    /// The end, and the seconds that it took.
    Done(Result<Done, Ending>, f64),
}

/// What a task may say while it works.
#[derive(Debug)]
pub struct Context {
    pub control: Arc<Control>,
    events: SyncSender<Event>,
    number: u32,
    started: Instant,
    /// Milliseconds since `started` before which no progress is reported.
    quiet_until: AtomicU64,
}

impl Context {
    fn tell(&self, event: WorkEvent) {
        // Nobody listens any more: the program ends.
        let _ = self.events.send(Event::Work(self.number, event));
    }

    /// Reports progress, at most once a second.
    pub fn progress(&self, done: u64, total: u64) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now >= self.quiet_until.load(Ordering::Relaxed) {
            self.quiet_until
                .store(now + REPORT_EVERY, Ordering::Relaxed);
            self.tell(WorkEvent::Progress(done, total));
        }
    }

    /// Asks the station to send the order again.
    pub fn ask_for_order(&self) {
        self.tell(WorkEvent::AskForOrder);
    }
}

/// A task under way.
#[derive(Debug)]
pub struct Worker {
    /// Tells its events from those of earlier workers.
    pub number: u32,
    pub control: Arc<Control>,
}

impl Worker {
    /// Starts a thread for one task.
    pub fn start(
        number: u32,
        task: Task,
        control: Control,
        events: SyncSender<Event>,
    ) -> std::io::Result<Self> {
        let control = Arc::new(control);
        let context = Context {
            control: control.clone(),
            events,
            number,
            started: Instant::now(),
            quiet_until: AtomicU64::new(0),
        };
        std::thread::Builder::new()
            .name("work".into())
            .stack_size(STACK)
            .spawn(move || {
                let done = task.run(&context);
                let seconds = context.started.elapsed().as_secs_f64();
                context.tell(WorkEvent::Done(done, seconds));
            })?;
        Ok(Worker { number, control })
    }
}

impl Task {
    fn run(&self, context: &Context) -> Result<Done, Ending> {
        match self {
            Task::Download(download) => download.run(context).map(Done::Downloaded),
            Task::Verify(verify) => verify.run(context),
            Task::Backup(backup) => backup.run().map(Done::BackedUp),
            Task::Health(health) => health.run(context).map(Done::Health),
            Task::WriteRecovery(write) => write.run(context),
            Task::RestoreRecovery(restore) => Ok(restore.run()),
            Task::Digest(root, tar) => {
                let digest = dau_handoff::parameters::digest_of_backup_set(root, tar);
                let digest = digest.map_err(|error| log::warn!("no digest of parameters: {error}"));
                Ok(Done::Digest(digest.ok()))
            }
        }
    }
}
