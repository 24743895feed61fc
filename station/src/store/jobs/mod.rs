//! Jobs: their representation in REST, and the changes that [`crate::job`] decides on.

use dau_model::State;
use serde_json::{json, Value};

use super::events::{self, kind, Subject};
use super::sql::params;
use super::times::Moment;
use super::{locks, outbox, saturated, times, tokens, Read, Result, Write};
use crate::job::{Ending, Standing};

mod held;
mod offer;
mod promote;
mod view;

pub use held::{add_record_bytes, known, load, ordered, set_figures, settle};
pub(super) use held::{write, Held};
#[cfg(test)]
pub(super) use promote::next;
pub use promote::promote;
use view::other_package;
pub use view::{get, list, Filter, Job, JobResult};

/// The part of a job that decisions need.
#[derive(Debug, Clone)]
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

/// A job's progress as reported by its terminal.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    held::heard(w, now, job, times::after(now, query_seconds))
}

/// Sets a job's state.
pub fn enter(w: &Write<'_>, now: i64, job: &Known, state: State) -> Result<()> {
    if state == job.state {
        return Ok(());
    }
    if held::enter(w, now, job.id, state)? {
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

/// Puts a job back into the queue until `not_before`, as its terminal is busy with another one.
pub fn wait(w: &Write<'_>, now: i64, job: &Known, not_before: i64, detail: &Value) -> Result<()> {
    outbox::drop_all(w, job.id, &job.terminal)?;
    tokens::revoke(w, job.id)?;
    settle(w, job.id)?;
    let changed = w.execute(
        "UPDATE jobs SET state = 'queued', not_before = ? WHERE id = ? AND state = 'ordered'",
        params![not_before, job.id],
    )?;
    if changed == 1 {
        w.counts().job(job.order, Some("ordered"), "queued");
    }
    events::add(w, now, Subject::job(job.id), kind::WAITS, detail)
}

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
    if job.state == State::Finished {
        return Ok(false);
    }
    settle(w, job.id)?;
    w.run(
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
    let from = Some(job.state.word());
    w.counts().job(job.order, from, ending.outcome.word());
    w.rollouts()
        .ended(now, job.id, ending.outcome, ending.reason.word.as_str());
    outbox::drop_all(w, job.id, &job.terminal)?;
    tokens::revoke(w, job.id)?;
    record_result(w, now, job, ending)?;
    record_other_package(w, now, job, ending)?;
    Ok(true)
}

/// Lets the job end with `ending` at `ends_at`, unless its result arrives before.
pub fn finish_soon(w: &Write<'_>, job: &Known, ending: &Ending, ends_at: i64) -> Result<()> {
    settle(w, job.id)?;
    w.run(
        "UPDATE jobs SET refusal = ?, ends_at = ? WHERE id = ? AND state = 'ordered'",
        params![json!(ending).to_string(), ends_at, job.id],
    )
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
    load(w, due.iter().map(|(id, _)| *id))?;
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
    if other_package("", &ending.details).is_none() {
        return Ok(());
    }
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
        w.run(
            "UPDATE jobs SET bytes_served = bytes_served + ? WHERE id = ?",
            params![saturated(*bytes), job],
        )?;
    }
    Ok(())
}
