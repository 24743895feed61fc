//! What leaves the station: how many downloads, how fast, and how much for which job.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::error;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock;
use crate::config::Downloads;
use crate::store::events::{self, kind, Subject};
use crate::store::tokens::Grant;
use crate::store::{jobs, Store};

/// Largest piece of a file in memory, per download.
const MAX_CHUNK: u64 = 64 << 10;
/// Smallest piece, where a slow rate asks for small ones.
const MIN_CHUNK: u64 = 1 << 10;
/// Pieces per second that a rate limit is met with.
const CHUNKS_PER_SECOND: u64 = 16;
/// How often counts go to the database.
const FLUSH: Duration = Duration::from_secs(1);

/// The limits, and the counts that are not in the database yet.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Arc<Semaphore>,
    bytes_per_second: u64,
    retry_after: u64,
    /// When the rate limit lets the next piece go.
    next: Mutex<Instant>,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    served: HashMap<i64, u64>,
    events: Vec<(i64, i64, &'static str, serde_json::Value)>,
}

impl Egress {
    /// Nothing under way.
    pub fn new(downloads: &Downloads) -> Self {
        let slots = downloads.concurrent.min(Semaphore::MAX_PERMITS);
        Egress(Arc::new(Inner {
            slots: Arc::new(Semaphore::new(slots)),
            bytes_per_second: downloads.bytes_per_second,
            retry_after: downloads.retry_after_seconds,
            next: Mutex::new(Instant::now()),
            tally: Mutex::default(),
        }))
    }

    /// A place among the downloads, if one is free.
    pub fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.slots).try_acquire_owned().ok()
    }

    /// Seconds after which one who found no place shall come back: spread, so that they do not come as one.
    pub fn retry_after(&self) -> u64 {
        let mut byte = [0];
        let _ = openssl::rand::rand_bytes(&mut byte);
        self.0.retry_after + self.0.retry_after * u64::from(byte[0]) / 255
    }

    /// Begins to count a download of `count` bytes from `first`.
    pub fn transfer(&self, grant: &Grant, first: u64, count: u64) -> Transfer {
        let detail = json!({"terminal": grant.terminal, "first": first, "count": count});
        self.record(grant.job, kind::DOWNLOAD, detail);
        Transfer {
            egress: self.clone(),
            job: grant.job,
            first,
            sent: 0,
            complete: false,
        }
    }

    fn record(&self, job: i64, kind: &'static str, detail: serde_json::Value) {
        let mut tally = lock(&self.0.tally);
        tally.events.push((clock::now(), job, kind, detail));
    }

    /// Writes counts to the database, for ever.
    pub async fn flush_forever(self, store: Store) {
        loop {
            tokio::time::sleep(FLUSH).await;
            self.flush(&store).await;
        }
    }

    /// Writes counts to the database now.
    pub async fn flush(&self, store: &Store) {
        let Tally { served, events } = mem::take(&mut *lock(&self.0.tally));
        if served.is_empty() && events.is_empty() {
            return;
        }
        let written = store.write(move |w| {
            for (at, job, kind, detail) in &events {
                events::add(w, *at, Subject::job(*job), kind, detail)?;
            }
            let served: Vec<(i64, u64)> = served.into_iter().collect();
            jobs::add_served(w, &served)
        });
        if let Err(error) = written.await {
            error!("counts of downloads cannot be stored: {error}");
        }
    }
}

/// A download under way; its end is recorded when it is dropped.
#[derive(Debug)]
pub struct Transfer {
    egress: Egress,
    job: i64,
    first: u64,
    sent: u64,
    complete: bool,
}

impl Transfer {
    /// Bytes to read at once.
    pub fn chunk(&self) -> u64 {
        match self.egress.0.bytes_per_second {
            0 => MAX_CHUNK,
            rate => (rate / CHUNKS_PER_SECOND).clamp(MIN_CHUNK, MAX_CHUNK),
        }
    }

    /// Counts bytes that are about to go, and waits until the rate limit lets them.
    pub async fn sent(&mut self, bytes: u64) {
        let inner = &self.egress.0;
        if inner.bytes_per_second > 0 {
            let go = {
                let mut next = lock(&inner.next);
                let go = (*next).max(Instant::now());
                *next = go + Duration::from_secs_f64(bytes as f64 / inner.bytes_per_second as f64);
                go
            };
            tokio::time::sleep_until(go).await;
        }
        self.sent += bytes;
        *lock(&inner.tally).served.entry(self.job).or_default() += bytes;
    }

    /// Everything asked for has gone.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let detail = json!({"first": self.first, "sent": self.sent, "complete": self.complete});
        self.egress.record(self.job, kind::DOWNLOADED, detail);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
