//! Waiting with an end.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(100);
/// How often the station is asked: every question costs a TLS handshake, of which too many slow the terminal under test.
const ASK: Duration = Duration::from_millis(500);

/// Asks `probe` until it has an answer; fails after `limit`, naming `what` was waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    every(STEP, what, limit, probe)
}

/// As [`until`], for probes that ask the station.
pub fn asking<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    every(ASK, what, limit, probe)
}

fn every<T>(
    step: Duration,
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(step);
    }
}
