//! What the main loop says to the worker while it works.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ending::Ending;

/// Where the package is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub url: String,
    pub token: Option<String>,
    /// Counts the orders that came for this job.
    pub copy: u32,
}

#[derive(Debug)]
struct Inner {
    source: Source,
    cancelled: Option<Ending>,
}

/// Shared by main loop and worker.
#[derive(Debug)]
pub struct Control {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Control {
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let source = Source {
            url: url.to_owned(),
            token: token.map(str::to_owned),
            copy: 0,
        };
        Control {
            inner: Mutex::new(Inner {
                source,
                cancelled: None,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order came again: its url and token count from now on.
    pub fn renew(&self, url: &str, token: Option<&str>) {
        let mut inner = self.lock();
        inner.source = Source {
            url: url.to_owned(),
            token: token.map(str::to_owned),
            copy: inner.source.copy.wrapping_add(1),
        };
        self.changed.notify_all();
    }

    /// Asks the worker to stop; it ends with `ending` at its next look.
    pub fn cancel(&self, ending: Ending) {
        self.lock().cancelled.get_or_insert(ending);
        self.changed.notify_all();
    }

    /// The ending, once the worker is asked to stop.
    pub fn check(&self) -> Result<(), Ending> {
        self.lock().cancelled.clone().map_or(Ok(()), Err)
    }

    pub fn source(&self) -> Source {
        self.lock().source.clone()
    }

    /// Waits, but not longer than until the worker is asked to stop.
    pub fn sleep(&self, time: Duration) -> Result<(), Ending> {
        self.wait(time, |_| false).map(|_| ())
    }

    /// Waits for a copy of the order after `copy`; false when none came.
    pub fn wait_for_order(&self, copy: u32, time: Duration) -> Result<bool, Ending> {
        self.wait(time, |source| source.copy != copy)
    }

    fn wait(&self, time: Duration, enough: impl Fn(&Source) -> bool) -> Result<bool, Ending> {
        let deadline = Instant::now() + time;
        let mut inner = self.lock();
        loop {
            if let Some(ending) = &inner.cancelled {
                return Err(ending.clone());
            }
            if enough(&inner.source) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
