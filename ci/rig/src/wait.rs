//! Waits with a time limit.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// Time between two probes.
const STEP: Duration = Duration::from_millis(100);
/// Time between two requests to the station: each costs a TLS handshake, and too many slow the
/// terminal under test.
const ASK: Duration = Duration::from_millis(500);

/// Calls `probe` until it returns a value; fails after `limit` with an error that names `what`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    every(STEP, what, limit, probe)
}

/// Does the same for probes of the station, less often.
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
