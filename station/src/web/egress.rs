//! Limits of number and speed of downloads, and their byte counts by job.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::error;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::auth::Caller;
use crate::clock;
use crate::config::Downloads;
use crate::store::events::{self, kind, Subject};
use crate::store::tokens::Grant;
use crate::store::{jobs, locks, Store};

/// Largest chunk of a file in memory, per download.
const MAX_CHUNK: u64 = 64 << 10;
/// Smallest chunk, used with low speed limits.
const MIN_CHUNK: u64 = 1 << 10;
/// Chunks per second under a speed limit.
const CHUNKS_PER_SECOND: u64 = 16;
/// Most events that wait for the database.
const MAX_EVENTS: usize = 10_000;
/// Time between two updates of the counts in the database.
const FLUSH: Duration = Duration::from_secs(1);

/// The limits, and the counts that are not in the database yet.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    permits: Arc<Semaphore>,
    per_terminal: usize,
    running: Mutex<Running>,
    bytes_per_second: u64,
    retry_after: u64,
    /// Time when the speed limit allows the next chunk.
    next: Mutex<Instant>,
    tally: Mutex<Tally>,
}

/// Current downloads by terminal, oldest first.
#[derive(Debug, Default)]
struct Running {
    last: u64,
    by_terminal: HashMap<String, VecDeque<Download>>,
}

#[derive(Debug)]
struct Download {
    id: u64,
    permit: OwnedSemaphorePermit,
    caller: Caller,
}

/// Permission for a download; dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    egress: Egress,
    terminal: String,
    id: u64,
}

#[derive(Debug, Default)]
struct Tally {
    served: HashMap<i64, u64>,
    events: Vec<(i64, i64, &'static str, serde_json::Value)>,
}

impl Egress {
    /// Starts with no downloads; `most` is the number that the connection limit allows.
    pub fn new(downloads: &Downloads, most: usize) -> Self {
        let permits = downloads.concurrent.min(most).min(Semaphore::MAX_PERMITS);
        Egress(Arc::new(Inner {
            permits: Arc::new(Semaphore::new(permits)),
            per_terminal: downloads.per_terminal,
            running: Mutex::default(),
            bytes_per_second: downloads.bytes_per_second,
            retry_after: downloads.retry_after_seconds,
            next: Mutex::new(Instant::now()),
            tally: Mutex::default(),
        }))
    }

    /// Returns a permit for a download of `terminal`, if one is free. If the terminal has its
    /// maximum or none is free, its oldest download is closed: a terminal that resumes may have
    /// left a dead connection behind.
    pub fn begin(&self, terminal: &str, caller: &Caller) -> Option<Permit> {
        let mut running = lock(&self.0.running);
        let own = running.by_terminal.get_mut(terminal);
        let count = own.as_ref().map_or(0, |own| own.len());
        let free = match count < self.0.per_terminal {
            true => Arc::clone(&self.0.permits).try_acquire_owned().ok(),
            false => None,
        };
        let permit = match free {
            Some(permit) => permit,
            None => {
                let oldest = own?.pop_front()?;
                oldest.caller.close();
                oldest.permit
            }
        };
        running.last = running.last.wrapping_add(1);
        let id = running.last;
        let download = Download {
            id,
            permit,
            caller: caller.clone(),
        };
        let own = running.by_terminal.entry(terminal.to_owned());
        own.or_default().push_back(download);
        Some(Permit {
            egress: self.clone(),
            terminal: terminal.to_owned(),
            id,
        })
    }

    /// Returns a random Retry-After in seconds, so that rejected terminals do not all return at
    /// once.
    pub fn retry_after(&self) -> u64 {
        let mut byte = [0];
        let _ = openssl::rand::rand_bytes(&mut byte);
        let spread = self.0.retry_after.saturating_mul(u64::from(byte[0])) / 255;
        self.0.retry_after.saturating_add(spread)
    }

    /// Starts counting a download of `count` bytes from `first`.
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

    /// Writes counts to the database; runs for ever.
    pub async fn flush_forever(self, store: Store) {
        loop {
            tokio::time::sleep(FLUSH).await;
            self.flush(&store).await;
        }
    }

    /// Writes counts to the database now. What cannot be written is kept for the next time.
    pub async fn flush(&self, store: &Store) {
        let tally = Arc::new(mem::take(&mut *lock(&self.0.tally)));
        if tally.served.is_empty() && tally.events.is_empty() {
            return;
        }
        let writing = Arc::clone(&tally);
        let written = store.write(move |w| {
            let Tally { served, events } = &*writing;
            let subjects = events.iter().map(|event| event.1);
            locks::terminals_of(w, subjects.chain(served.keys().copied()))?;
            for (at, job, kind, detail) in events {
                events::add(w, *at, Subject::job(*job), kind, detail)?;
            }
            let served: Vec<(i64, u64)> =
                served.iter().map(|(job, bytes)| (*job, *bytes)).collect();
            jobs::add_served(w, &served)
        });
        if let Err(error) = written.await {
            error!("counts of downloads cannot be stored, next try in a second: {error}");
            lock(&self.0.tally).put_back(&tally);
        }
    }
}

impl Tally {
    /// Adds what could not be written; of events as many as are bearable.
    fn put_back(&mut self, old: &Tally) {
        for (job, bytes) in &old.served {
            let served = self.served.entry(*job).or_default();
            *served = served.saturating_add(*bytes);
        }
        let room = MAX_EVENTS.saturating_sub(self.events.len());
        let kept = old.events.iter().take(room).cloned();
        self.events.splice(0..0, kept);
    }
}

/// A counted download; dropping it records its end.
#[derive(Debug)]
pub struct Transfer {
    egress: Egress,
    job: i64,
    first: u64,
    sent: u64,
    complete: bool,
}

impl Transfer {
    /// Returns the number of bytes to read at once.
    pub fn chunk(&self) -> u64 {
        match self.egress.0.bytes_per_second {
            0 => MAX_CHUNK,
            rate => (rate / CHUNKS_PER_SECOND).clamp(MIN_CHUNK, MAX_CHUNK),
        }
    }

    /// Counts bytes about to be sent, and waits until the speed limit allows them.
    pub async fn sent(&mut self, bytes: u64) {
        let inner = &self.egress.0;
        if inner.bytes_per_second > 0 {
            let go = {
                let mut next = lock(&inner.next);
                let go = (*next).max(Instant::now());
                let pause = Duration::from_secs_f64(bytes as f64 / inner.bytes_per_second as f64);
                *next = go.checked_add(pause).unwrap_or(go);
                go
            };
            tokio::time::sleep_until(go).await;
        }
        self.sent = self.sent.saturating_add(bytes);
        let mut tally = lock(&inner.tally);
        let served = tally.served.entry(self.job).or_default();
        *served = served.saturating_add(bytes);
    }

    /// Notes that the download is complete.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = lock(&self.egress.0.running);
        let own = running.by_terminal.entry(mem::take(&mut self.terminal));
        if let Entry::Occupied(mut own) = own {
            own.get_mut().retain(|download| download.id != self.id);
            if own.get().is_empty() {
                own.remove();
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{orders, tests, Error};

    #[tokio::test]
    async fn counts_wait_until_the_database_takes_them() {
        let (_dir, store) = tests::store();
        let order = orders::NewOrder {
            by: "alice".to_owned(),
            upgrade_type: "kernel".to_owned(),
            policy: 0,
            spread: 0,
            budget: None,
            expires_at: None,
            expire: None,
            force: false,
            filter: None,
        };
        let job = store.write(move |w| {
            tests::package(w, 1, "kernel", 1, None);
            Ok::<_, Error>(tests::order(w, 0, &order, 1, "t1"))
        });
        let grant = Grant {
            terminal: "t1".to_owned(),
            package: 1,
            job: job.await.unwrap(),
        };
        let egress = Egress::new(&Downloads::default(), 10);
        let mut transfer = egress.transfer(&grant, 0, 7);
        transfer.sent(5).await;
        let run = |sql: &'static str| store.write(move |w| tests::execute(w, sql));
        run("ALTER TABLE jobs RENAME TO away").await.unwrap();
        egress.flush(&store).await;
        transfer.sent(2).await;
        drop(transfer);
        run("ALTER TABLE away RENAME TO jobs").await.unwrap();
        egress.flush(&store).await;
        egress.flush(&store).await;
        let counts = store.read(|r| {
            let events = "SELECT count(*) FROM events WHERE kind IN ('download', 'downloaded')";
            Ok::<_, Error>((
                tests::number(r, "SELECT bytes_served FROM jobs")?,
                tests::number(r, events)?,
            ))
        });
        assert_eq!(counts.await.unwrap(), (7, 2));
    }
}
