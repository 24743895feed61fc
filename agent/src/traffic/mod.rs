//! Counts every byte on the agent's connections, for the job's budget and for the month, and says
//! whether a download may go on. docs/adr/0031-bytes-are-counted-before-they-are-spent.md has the
//! reasons.
//!
//! - here: the counts, on mnt and in memory
//! - `counted`: a connection that counts; `connect`: how one is made
//! - `month`: when a month begins; `allowance`: what a download may still take

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dau_system::clock::{self, ShownTime};
use dau_system::durable;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::settings::Download as Settings;

mod allowance;
pub mod connect;
mod counted;
mod month;

pub use allowance::{Need, WINDOW};
pub use counted::Counted;

/// Longest file of the counts, bytes.
const MAX_FILE: u64 = 4 << 10;
/// What the file is ahead of the count: from the least, while little comes, to the most.
const LEAD: std::ops::RangeInclusive<u64> = (16 << 10)..=(1 << 20);
/// The file is written less often than that where traffic is fast, and more often than the other
/// where it is slow.
const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(10);

/// The counts as they stand on mnt, in `traffic.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Counts {
    /// `YYYY-MM`; empty until the clock was once known to be right.
    month: String,
    /// Bytes of that month.
    month_bytes: u64,
    /// The job under way.
    job: Option<i64>,
    /// Bytes of that job.
    job_bytes: u64,
}

impl Counts {
    fn add(&mut self, bytes: u64) {
        self.month_bytes = self.month_bytes.saturating_add(bytes);
        if self.job.is_some() {
            self.job_bytes = self.job_bytes.saturating_add(bytes);
        }
    }
}

/// The counts, shared by all threads.
#[derive(Debug, Clone)]
pub struct Traffic(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    counts: Counts,
    /// Of the job under way.
    budget: Option<u64>,
    /// Bytes a month; 0: no limit.
    monthly_limit: u64,
    /// Seconds that the terminal's zone is ahead of UTC.
    utc_offset: i64,
    /// The clock was about right.
    shown: Option<ShownTime>,
    /// Bytes that may come before the file is written again.
    ahead: u64,
    lead: u64,
    written: Option<Instant>,
}

impl Traffic {
    /// Reads the counts. They are at least what they were when power went.
    pub fn load(path: PathBuf, settings: &Settings) -> Self {
        Self::new(path, settings.monthly_limit, settings.utc_offset)
    }

    fn new(path: PathBuf, monthly_limit: u64, utc_offset: i64) -> Self {
        let counts = match durable::read(&path, MAX_FILE) {
            Ok(text) => serde_json::from_slice(&text).map_err(std::io::Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Counts::default()),
            Err(error) => Err(error),
        };
        let counts = counts.unwrap_or_else(|error| {
            log::error!("{}: {error}: counting anew", path.display());
            Counts::default()
        });
        Traffic(Arc::new(Mutex::new(Inner {
            path,
            counts,
            budget: None,
            monthly_limit,
            utc_offset,
            shown: None,
            ahead: 0,
            lead: *LEAD.start(),
            written: None,
        })))
    }

    /// Returns the counts of a job with this budget, for tests.
    #[cfg(test)]
    pub fn counting(path: PathBuf, budget: Option<u64>) -> Self {
        let traffic = Self::new(path, 0, 0);
        traffic.begin_job(7, 0, budget);
        traffic
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that were sent or received. Before more come than the file has room for, it is
    /// written.
    pub fn count(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut inner = self.lock();
        inner.begin_month();
        inner.counts.add(bytes);
        match inner.ahead.checked_sub(bytes) {
            Some(ahead) => inner.ahead = ahead,
            None => inner.write_ahead(),
        }
    }

    /// From now on bytes are this job's too, of which it has spent so many already.
    pub fn begin_job(&self, id: i64, spent: u64, budget: Option<u64>) {
        let mut inner = self.lock();
        if inner.counts.job != Some(id) {
            (inner.counts.job, inner.counts.job_bytes) = (Some(id), 0);
        }
        inner.counts.job_bytes = inner.counts.job_bytes.max(spent);
        inner.budget = budget;
        inner.write_ahead();
    }

    /// The job has its result.
    pub fn end_job(&self) {
        let mut inner = self.lock();
        (inner.counts.job, inner.counts.job_bytes, inner.budget) = (None, 0, None);
        inner.write_ahead();
    }

    /// Returns what a job has spent; `None`: it is not the one under way.
    pub fn spent(&self, id: i64) -> Option<u64> {
        let inner = self.lock();
        let counts = &inner.counts;
        (counts.job == Some(id)).then_some(counts.job_bytes)
    }

    /// The clock was about right at that time.
    pub fn show(&self, shown: ShownTime) {
        self.lock().shown = Some(shown);
    }

    /// Returns the minute of the day in the terminal's zone; `None`: the clock is not known to be
    /// right.
    pub fn minute_of_day(&self) -> Option<u32> {
        let inner = self.lock();
        inner.local_time().map(month::minute_of_day)
    }

    /// Whether a download is limited: then no more than [`WINDOW`] may be on its way.
    pub fn is_limited(&self) -> bool {
        let inner = self.lock();
        inner.budget.is_some() || inner.monthly_limit > 0
    }

    /// Checks that a download may take what it needs.
    pub fn check(&self, need: Need) -> Result<(), Failure> {
        let mut inner = self.lock();
        inner.begin_month();
        let counts = &inner.counts;
        let job = inner.budget.map(|budget| (counts.job_bytes, budget));
        let limit = Some(inner.monthly_limit).filter(|limit| *limit > 0);
        let month = limit.map(|limit| (counts.month_bytes, limit));
        allowance::check(need, job, month)
    }

    /// Writes the counts as they are, since the agent ends.
    pub fn save(&self) {
        let mut inner = self.lock();
        inner.write(0);
    }
}

impl Inner {
    /// Returns the time in the terminal's zone, seconds since 1970-01-01 there; `None`: the clock
    /// is not known to be right.
    fn local_time(&self) -> Option<i64> {
        let shown = self.shown.filter(ShownTime::still_holds);
        let now = shown.map(|_| i64::try_from(clock::now()).unwrap_or(i64::MAX))?;
        Some(now.saturating_add(self.utc_offset))
    }

    fn begin_month(&mut self) {
        let present = self.local_time().and_then(month::name);
        if let Some(next) = month::next(&self.counts.month, present) {
            if next.begins {
                let counts = &self.counts;
                log::info!("{} bytes in {}", counts.month_bytes, counts.month);
                self.counts.month_bytes = 0;
            }
            self.counts.month = next.name;
            self.write_ahead();
        }
    }

    fn write_ahead(&mut self) {
        let since = self.written.map(|at| at.elapsed());
        self.lead = next_lead(self.lead, since);
        self.written = Some(Instant::now());
        self.write(self.lead);
    }

    /// Writes the counts and what may come until they are written again.
    fn write(&mut self, ahead: u64) {
        let mut counts = self.counts.clone();
        counts.add(ahead);
        let written = serde_json::to_vec(&counts)
            .map_err(std::io::Error::from)
            .and_then(|text| durable::write(&self.path, &text, 0o600));
        if let Err(error) = written {
            // Counted on in memory: a terminal whose mnt takes no writes fetches no package.
            log::warn!("cannot keep the count of bytes: {error}");
        }
        self.ahead = ahead;
    }
}

/// Returns how far ahead the file is written, so that it is written every few seconds.
fn next_lead(lead: u64, since: Option<Duration>) -> u64 {
    let next = match since {
        Some(since) if since < OFTEN => lead.saturating_mul(2),
        Some(since) if since < SELDOM => lead,
        _ => lead / 2,
    };
    next.clamp(*LEAD.start(), *LEAD.end())
}

#[cfg(test)]
mod tests;
