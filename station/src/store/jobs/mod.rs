//! Jobs: their representation in REST, and the changes that [`crate::job`] decides on.

use dau_model::State;
use serde_json::{json, Value};

use super::events::{self, kind, Subject};
use super::sql::params;
use super::times::Moment;
use super::{locks, outbox, saturated, times, tokens, Read, Result, Write};
use crate::job::{Ending, Standing};

mod offer;
mod view;

use view::other_package;
pub use view::{get, list, Filter, Job, JobResult};

/// The part of a job that decisions need.
#[derive(Debug)]
pub struct Known {
    pub id: i64,
    order: i64,
    pub terminal: String,
    pub state: State,
    /// Whether its cancellation was requested.
    pub cancel_requested: bool,
    reported: bool,
}

impl Known {
    /// Returns the input of [`crate::job::decide`].
    pub fn standing(&self) -> Standing {
        Standing {
            state: self.state,
            cancel_requested: self.cancel_requested,
            reported: self.reported,
        }
    }
}

/// Returns a job for a decision.
pub fn known(r: &Read<'_>, id: i64) -> Result<Option<Known>> {
    r.optional(
        "SELECT terminal, state, cancel_requested_at IS NOT NULL, reported, order_id FROM jobs \
         WHERE id = ?",
        params![id],
        |row| {
            let state: String = row.get(1)?;
            Ok(Known {
                id,
                terminal: row.get(0)?,
                state: state.parse().unwrap_or(State::Ordered),
                cancel_requested: row.get(2)?,
                reported: row.get(3)?,
                order: row.get(4)?,
            })
        },
    )
}

/// A job's progress as reported by its terminal.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Per cent.
    pub progress: u8,
    /// Bytes downloaded.
    pub bytes: Option<u64>,
    /// Size of the download, bytes.
    pub total: Option<u64>,
    /// Bytes spent on the job.
    pub used: Option<u64>,
}

/// Notes a message about this job: the terminal need not be asked for `query_seconds`.
pub fn heard(w: &Write<'_>, now: i64, job: i64, query_seconds: u64) -> Result<()> {
    w.execute(
        "UPDATE jobs SET heard_at = ?1, queries = 0, query_at = CASE WHEN state IN ('queued', \
         'ordered', 'finished') \
         THEN NULL ELSE CAST(?2 AS BIGINT) END WHERE id = ?3",
        params![now, times::after(now, query_seconds), job],
    )?;
    Ok(())
}

/// Sets a job's state.
pub fn enter(w: &Write<'_>, now: i64, job: &Known, state: State) -> Result<()> {
    if state == job.state {
        return Ok(());
    }
    let changed = w.execute(
        "UPDATE jobs SET state = ?1, accepted_at = coalesce(accepted_at, ?2), progress \
         = 0, bytes = NULL, total = NULL, ends_at = NULL, refusal = NULL WHERE id = ?3 AND state NOT IN ('queued', \
         'finished')",
        params![state.word(), now, job.id],
    )?;
    if changed == 1 {
        let from = Some(job.state.word());
        w.counts().job(job.order, from, state.word());
    }
    events::add(
        w,
        now,
        Subject::job(job.id),
        kind::STATE,
        &json!({"state": state.word()}),
    )
}

/// Sets a job's progress.
pub fn set_figures(w: &Write<'_>, job: i64, figures: Figures) -> Result<()> {
    let bytes = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    w.execute(
        "UPDATE jobs SET progress = ?, bytes = ?, total = ?, bytes_used = coalesce(?, bytes_used) \
         WHERE id = ? AND state NOT IN ('queued', 'finished')",
        params![
            figures.progress.min(100),
            bytes(figures.bytes),
            bytes(figures.total),
            bytes(figures.used),
            job
        ],
    )?;
    Ok(())
}

/// Puts a job back into the queue until `not_before`, as its terminal is busy with another one.
pub fn wait(w: &Write<'_>, now: i64, job: &Known, not_before: i64, detail: &Value) -> Result<()> {
    outbox::forget(w, job.id, &job.terminal)?;
    tokens::revoke(w, job.id)?;
    let changed = w.execute(
        "UPDATE jobs SET state = 'queued', not_before = ? WHERE id = ? AND state = 'ordered'",
        params![not_before, job.id],
    )?;
    if changed == 1 {
        w.counts().job(job.order, Some("ordered"), "queued");
    }
    events::add(w, now, Subject::job(job.id), kind::WAITS, detail)
}

/// Orders the terminal's oldest waiting job, unless another one is in progress. Jobs whose budget
/// covers no file end here.
pub fn promote(w: &Write<'_>, now: i64, terminal: &str) -> Result<()> {
    while let Some((job, order)) = next(w, now, terminal)? {
        match offer::offer(w, job, terminal)? {
            Ok(file) => {
                let sql = "UPDATE jobs SET state = 'ordered', not_before = NULL, offered = ? \
                    WHERE id = ?";
                w.execute(sql, params![file.id, job])?;
                w.counts().job(order, Some("queued"), "ordered");
                return outbox::put(w, now, job, terminal, outbox::Command::Order);
            }
            Err(ending) => match known(w, job)? {
                Some(job) => end(w, now, &job, &ending, false).map(drop)?,
                None => return Ok(()),
            },
        }
    }
    Ok(())
}

/// Returns a job and its order.
fn next(r: &Read<'_>, now: i64, terminal: &str) -> Result<Option<(i64, i64)>> {
    r.optional(NEXT, params![terminal, now], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

pub(super) const NEXT: &str = "SELECT id, order_id FROM jobs WHERE terminal = ?1 \
    AND state = 'queued' AND coalesce(not_before, 0) <= ?2 AND NOT EXISTS (SELECT 1 FROM jobs \
    WHERE terminal = ?1 AND state NOT IN ('queued', 'finished')) ORDER BY id LIMIT 1";

/// Sets the job's result; `reported` tells that it came as REP_JOB_RESULT. Orders the terminal's
/// next waiting job, if any.
pub fn finish(w: &Write<'_>, now: i64, job: &Known, ending: &Ending, reported: bool) -> Result<()> {
    match end(w, now, job, ending, reported)? {
        true => promote(w, now, &job.terminal),
        false => Ok(()),
    }
}

/// Sets the job's result, unless it has one; returns whether it had none.
fn end(w: &Write<'_>, now: i64, job: &Known, ending: &Ending, reported: bool) -> Result<bool> {
    let changed = w.execute(
        "UPDATE jobs SET state = 'finished', finished_at = ?, outcome = ?, code = ?, \
         word = ?, message = ?, details = ?, bytes_used = coalesce(?, bytes_used), \
         reported = ?, query_at = NULL, not_before = NULL, refusal = NULL, ends_at = \
         NULL WHERE id = ? AND state != 'finished'",
        params![
            now,
            ending.outcome.word(),
            ending.code,
            ending.reason.word.as_str(),
            ending.reason.message,
            details(ending),
            ending.details.get("bytesUsed").and_then(Value::as_i64),
            reported,
            job.id
        ],
    )?;
    if changed == 1 {
        let from = Some(job.state.word());
        w.counts().job(job.order, from, ending.outcome.word());
        outbox::forget(w, job.id, &job.terminal)?;
        tokens::revoke(w, job.id)?;
        record_result(w, now, job, ending)?;
        record_other_package(w, now, job, ending)?;
    }
    Ok(changed == 1)
}

/// Lets the job end with `ending` at `ends_at`, unless its result arrives before.
pub fn finish_soon(w: &Write<'_>, job: &Known, ending: &Ending, ends_at: i64) -> Result<()> {
    w.execute(
        "UPDATE jobs SET refusal = ?, ends_at = ? WHERE id = ? AND state = 'ordered'",
        params![json!(ending).to_string(), ends_at, job.id],
    )?;
    Ok(())
}

/// Ends refused jobs without a later result; at most `limit` at once.
pub fn finish_refused(w: &Write<'_>, at: Moment, limit: u32) -> Result<usize> {
    let claim = locks::claim(w, "j, t");
    let due: Vec<(i64, String)> = w.all(
        &format!(
            "SELECT j.id, j.refusal FROM jobs j JOIN terminals t ON t.id = j.terminal \
             WHERE j.ends_at <= ? LIMIT ?{claim}"
        ),
        params![at.heard, limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (id, refusal) in &due {
        let ending = serde_json::from_str(refusal).unwrap_or_else(|_| Ending::expired());
        if let Some(job) = known(w, *id)? {
            finish(w, at.now, &job, &ending, false)?;
        }
    }
    Ok(due.len())
}

/// Tells whether the job has ended with exactly this result.
pub fn is_result(r: &Read<'_>, id: i64, ending: &Ending) -> Result<bool> {
    r.exists(
        "SELECT 1 FROM jobs WHERE id = ? AND outcome = ? AND code = ? AND word = ? AND \
         message = ? AND details IS NOT DISTINCT FROM ?",
        params![
            id,
            ending.outcome.word(),
            ending.code,
            ending.reason.word.as_str(),
            ending.reason.message,
            details(ending)
        ],
    )
}

fn details(ending: &Ending) -> Option<String> {
    (!ending.details.is_null()).then(|| ending.details.to_string())
}

fn record_result(w: &Write<'_>, now: i64, job: &Known, ending: &Ending) -> Result<()> {
    let detail = json!({
        "outcome": ending.outcome, "code": ending.code, "word": ending.reason.word,
        "message": ending.reason.message,
        "details": ending.details,
    });
    events::add(w, now, Subject::job(job.id), kind::RESULT, &detail)
}

/// Records that the terminal names another package than was ordered: its result counts all the same.
fn record_other_package(w: &Write<'_>, now: i64, job: &Known, ending: &Ending) -> Result<()> {
    let ordered: String = w.one(
        "SELECT p.manifest_sha256 FROM jobs j JOIN packages p ON p.id = j.package WHERE j.id = ?",
        params![job.id],
        |row| row.get(0),
    )?;
    let Some(other) = other_package(&ordered, &ending.details) else {
        return Ok(());
    };
    log::warn!(
        "{}: job {} ordered the package with manifest {ordered}, its result names {other}",
        job.terminal,
        job.id
    );
    let detail = json!({"ordered": ordered, "reported": other});
    events::add(w, now, Subject::job(job.id), kind::OTHER_PACKAGE, &detail)
}

/// Adds bytes sent, by job.
pub fn add_served(w: &Write<'_>, served: &[(i64, u64)]) -> Result<()> {
    for (job, bytes) in served {
        w.execute(
            "UPDATE jobs SET bytes_served = bytes_served + ? WHERE id = ?",
            params![saturated(*bytes), job],
        )?;
    }
    Ok(())
}
