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
    jobs::load(w, due.iter().copied())?;
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
        w.run(
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
/// time, and not while its link is down: [`crate::store::outbox::hurry`] handles its return. One that was
/// heard of since the time was set ([`jobs::heard`]) has that much longer.
pub fn silent(w: &Write<'_>, at: Moment, query_seconds: u64, limit: u32) -> Result<Asked<Silent>> {
    let claim = locks::claim(w, "j, t");
    let due: Vec<(Silent, u32, bool, Option<i64>)> = w.all(
        &format!(
            "SELECT j.id, j.terminal, j.queries, t.link = 'down', j.heard_at FROM jobs j \
             JOIN terminals t ON t.id = j.terminal \
             WHERE j.query_at <= ? AND t.barred IS NULL LIMIT ?{claim}"
        ),
        params![at.heard, limit],
        |row| {
            let silent = Silent {
                mid: 0,
                job: row.get(0)?,
                terminal: row.get(1)?,
            };
            Ok((silent, row.get(2)?, row.get(3)?, row.get(4)?))
        },
    )?;
    let mut asked = Vec::with_capacity(due.len());
    let taken = u32::try_from(due.len()).unwrap_or(limit);
    for (mut silent, queries, down, heard_at) in due {
        // What was heard in the future was heard before the clock was set back.
        let heard_at = heard_at.filter(|heard| queries == 0 && *heard <= at.now);
        let later = heard_at.map(|heard| times::after(heard, query_seconds));
        if let Some(later) = later.filter(|later| *later > at.heard) {
            let sql = "UPDATE jobs SET query_at = ? WHERE id = ?";
            w.run(sql, params![later, silent.job])?;
            continue;
        }
        let doublings = queries.saturating_add(1).min(MOST_DOUBLINGS);
        let wait = query_seconds.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(1));
        silent.mid = w.next_id()?;
        w.run(
            "UPDATE jobs SET query_at = ?, query_mid = ?, queries = queries + 1 WHERE id = ?",
            params![times::after(at.heard, wait), silent.mid, silent.job],
        )?;
        if !down {
            asked.push(silent);
        }
    }
    Ok(Asked { asked, taken })
}
