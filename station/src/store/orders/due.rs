//! Jobs that the clock ends, orders again or asks for.

use crate::job::Ending;
use crate::store::sql::params;
use crate::store::times::{self, Moment, MOST_DOUBLINGS};
use crate::store::{jobs, locks, Result, Write};

pub(in crate::store) const EXPIRED: &str = "SELECT j.id FROM jobs j \
    JOIN terminals t ON t.id = j.terminal \
    WHERE j.state IN ('queued', 'ordered') AND j.expires_at < ? LIMIT ?";
pub(in crate::store) const BUSY: &str = "SELECT j.id, j.terminal FROM jobs j \
    JOIN terminals t ON t.id = j.terminal \
    WHERE j.state = 'queued' AND j.not_before <= ? LIMIT ?";

/// Ends jobs that were not accepted in time; at most `limit` at once.
pub fn expire(w: &Write<'_>, at: Moment, limit: u32) -> Result<usize> {
    let claim = locks::claim(w, "j, t");
    let due: Vec<i64> = w.all(
        &format!("{EXPIRED}{claim}"),
        params![at.heard, limit],
        |row| row.get(0),
    )?;
    for id in &due {
        let Some(job) = jobs::known(w, *id)? else {
            continue;
        };
        let ending = match job.cancel_requested {
            true => Ending::cancelled(),
            false => Ending::expired(),
        };
        jobs::finish(w, at.now, &job, &ending, false)?;
    }
    Ok(due.len())
}

/// Orders again the jobs that waited for busy terminals.
pub fn retry_busy(w: &Write<'_>, now: i64, limit: u32) -> Result<usize> {
    let claim = locks::claim(w, "j, t");
    let due: Vec<(i64, String)> = w.all(&format!("{BUSY}{claim}"), params![now, limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    for (id, terminal) in &due {
        w.execute(
            "UPDATE jobs SET not_before = NULL WHERE id = ?",
            params![id],
        )?;
        jobs::promote(w, now, terminal)?;
    }
    Ok(due.len())
}

/// Terminals to be asked.
#[derive(Debug)]
pub struct Asked<T> {
    pub asked: Vec<T>,
    /// Number of those that were due; some are not asked.
    pub taken: u32,
}

/// A terminal that is silent about its job.
#[derive(Debug)]
pub struct Silent {
    /// Message id of the question.
    pub mid: i64,
    pub job: i64,
    pub terminal: String,
}

/// Returns the jobs whose terminals must be asked now. Each terminal is asked half as often each
/// time, and not while its link is down: [`crate::store::outbox::hurry`] handles its return.
pub fn silent(w: &Write<'_>, now: i64, query_seconds: u64, limit: u32) -> Result<Asked<Silent>> {
    let claim = locks::claim(w, "j, t");
    let due: Vec<(i64, String, u32, bool)> = w.all(
        &format!(
            "SELECT j.id, j.terminal, j.queries, t.link = 'down' FROM jobs j \
             JOIN terminals t ON t.id = j.terminal WHERE j.query_at <= ? LIMIT ?{claim}"
        ),
        params![now, limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let mut asked = Vec::with_capacity(due.len());
    let taken = u32::try_from(due.len()).unwrap_or(limit);
    for (job, terminal, queries, down) in due {
        let doublings = queries.saturating_add(1).min(MOST_DOUBLINGS);
        let wait = query_seconds.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(1));
        let mid = w.next_id()?;
        w.execute(
            "UPDATE jobs SET query_at = ?, query_mid = ?, queries = queries + 1 WHERE id = ?",
            params![times::after(now, wait), mid, job],
        )?;
        if !down {
            asked.push(Silent { mid, job, terminal });
        }
    }
    Ok(Asked { asked, taken })
}
