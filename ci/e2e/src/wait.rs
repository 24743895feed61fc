//! Waiting with an end.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Asks `probe` until it has an answer; fails after `limit`, naming `what` was waited for.
pub fn until<T>(
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
        std::thread::sleep(STEP);
    }
}
