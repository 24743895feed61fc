//! A task under way: it says how far it is, and is asked to stop.

use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Pause between two signs of life of a task that waits.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Pause between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Messages of a task before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Bytes done, bytes in all.
    Progress(u64, u64),
    /// The order is to come again with a new token.
    AskForOrder,
}

/// Shared by a task and the main loop.
pub struct Handle {
    inner: Mutex<Inner>,
    changed: Condvar,
    say: Box<dyn Fn(Said) + Send + Sync>,
}

#[derive(Debug)]
struct Inner {
    cancelled: Option<Failure>,
    /// Time of the task's last sign of life.
    moved: Instant,
    /// Time of the last report of progress.
    reported: Option<Instant>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Handle");
        debug.field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Handle {
    /// Returns the handle of a task that has not begun; `say` passes on what it says.
    pub fn new(say: impl Fn(Said) + Send + Sync + 'static) -> Self {
        Handle {
            inner: Mutex::new(Inner {
                cancelled: None,
                moved: Instant::now(),
                reported: None,
            }),
            changed: Condvar::new(),
            say: Box::new(say),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the task to stop; it ends with `failure` at its next look.
    pub fn cancel(&self, failure: Failure) {
        self.lock().cancelled.get_or_insert(failure);
        self.changed.notify_all();
    }

    /// Returns the failure as an error once the task is asked to stop.
    pub fn check(&self) -> Result<(), Failure> {
        self.lock().cancelled.clone().map_or(Ok(()), Err)
    }

    /// Returns an error once the task is asked to stop, for whoever passes on only such.
    pub fn go_on(&self) -> io::Result<()> {
        self.lock().moved = Instant::now();
        let stop = |failure: Failure| io::Error::other(failure.reason.message);
        self.check().map_err(stop)
    }

    /// Reports progress, at most once a second.
    pub fn progress(&self, done: u64, total: u64) {
        let mut inner = self.lock();
        inner.moved = Instant::now();
        if inner.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            inner.reported = Some(inner.moved);
            drop(inner);
            (self.say)(Said::Progress(done, total));
        }
    }

    /// Asks the station to send the order again.
    pub fn ask_for_order(&self) {
        (self.say)(Said::AskForOrder);
    }

    /// Returns how long the task has not moved.
    pub fn still(&self) -> Duration {
        self.lock().moved.elapsed()
    }

    /// Waits, but not longer than until the task is asked to stop.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        self.wait(time, || false).map(drop)
    }

    /// Waits until it is `enough`, looking whenever [`Handle::wake`] is called; false when the time
    /// is over first.
    pub fn wait(&self, time: Duration, enough: impl Fn() -> bool) -> Result<bool, Failure> {
        let start = Instant::now();
        let mut inner = self.lock();
        loop {
            // To wait on purpose is not to stand still.
            inner.moved = Instant::now();
            if let Some(failure) = &inner.cancelled {
                return Err(failure.clone());
            }
            if enough() {
                return Ok(true);
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = self.changed.wait_timeout(inner, left.min(SHOW_EVERY));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets a task that waits look again.
    pub fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }
}
