//! Jobs: what REST shows of them, and the changes that [`crate::job`] decides on.

use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use utoipa::ToSchema;

use super::events::{self, kind, Subject};
use super::{outbox, tokens, Write};
use crate::clock;
use crate::job::{Ending, Standing, State};

/// An upgrade job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The job's id, the same as in the order to the terminal.
    pub id: i64,
    /// The request it came from; one request can be for many terminals.
    pub order: i64,
    /// The terminal.
    pub terminal: String,
    /// The package's number.
    pub package: i64,
    /// Version of the package.
    pub version: String,
    /// `kernel`, `rootfs`, `full` or `recovery`.
    #[serde(rename = "type")]
    pub upgrade_type: String,
    /// `queued`, `ordered`, `accepted`, `downloading`, `verifying`, `backing-up`, `armed`, `installing`, `trial`,
    /// `updating-recovery`, `rolling-back`, `finished`.
    pub state: String,
    /// Per cent of this state.
    pub progress: u8,
    /// Bytes that are at the terminal, while it downloads.
    pub bytes: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
    /// Whose REST token ordered it.
    pub created_by: String,
    /// RFC 3339, like the other times.
    pub created_at: String,
    /// Seconds that the terminal waits before it starts.
    pub policy: u64,
    /// When the order is void if it was not taken.
    pub expires_at: Option<String>,
    /// When the order was sent first.
    pub ordered_at: Option<String>,
    /// When the terminal took it.
    pub accepted_at: Option<String>,
    /// When the terminal was heard of last concerning this job.
    pub heard_at: Option<String>,
    /// When it was called off.
    pub cancel_requested_at: Option<String>,
    /// When the result came.
    pub finished_at: Option<String>,
    /// Bytes of the package that were sent for this job, all downloads together.
    pub bytes_served: u64,
    /// The one result.
    pub result: Option<JobResult>,
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobResult {
    /// `success`, `refused`, `failed`, `rolled-back`, `cancelled`, `expired`.
    pub outcome: String,
    /// The code of the message family: 200, 400, 403, 404, 408, 500.
    pub code: u16,
    /// For machines, such as `signer-unknown`.
    pub word: String,
    /// For people.
    pub message: String,
    /// The terminal's additions: versions, parameters' digests, stages.
    pub details: Value,
}

const COLUMNS: &str = "j.id, j.order_id, j.terminal, j.package, p.version, j.type, j.state, j.progress, j.bytes, \
    j.total, j.created_by, j.created_at, j.policy, j.expires_at, j.ordered_at, j.accepted_at, j.heard_at, \
    j.cancel_requested_at, j.finished_at, j.bytes_served, j.outcome, j.code, j.word, j.message, j.details";
const FROM: &str = "FROM jobs j JOIN packages p ON p.id = j.package";

impl Job {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let time = |index| {
            row.get::<_, Option<i64>>(index)
                .map(|at| at.map(clock::text))
        };
        let count = |index| {
            let count: Option<i64> = row.get(index)?;
            Ok::<_, rusqlite::Error>(count.and_then(|count| u64::try_from(count).ok()))
        };
        Ok(Job {
            id: row.get(0)?,
            order: row.get(1)?,
            terminal: row.get(2)?,
            package: row.get(3)?,
            version: row.get(4)?,
            upgrade_type: row.get(5)?,
            state: row.get(6)?,
            progress: row.get(7)?,
            bytes: count(8)?,
            total: count(9)?,
            created_by: row.get(10)?,
            created_at: clock::text(row.get(11)?),
            policy: count(12)?.unwrap_or(0),
            expires_at: time(13)?,
            ordered_at: time(14)?,
            accepted_at: time(15)?,
            heard_at: time(16)?,
            cancel_requested_at: time(17)?,
            finished_at: time(18)?,
            bytes_served: count(19)?.unwrap_or(0),
            result: match row.get(20)? {
                None => None,
                Some(outcome) => Some(JobResult {
                    outcome,
                    code: row.get(21)?,
                    word: row.get(22)?,
                    message: row.get(23)?,
                    details: row
                        .get::<_, Option<String>>(24)?
                        .and_then(|text| serde_json::from_str(&text).ok())
                        .unwrap_or(Value::Null),
                }),
            },
        })
    }
}

/// The job with this id.
pub fn get(connection: &Connection, id: i64) -> Result<Option<Job>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} {FROM} WHERE j.id = ?"))?
        .query_row([id], Job::from_row)
        .optional()
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this terminal.
    pub terminal: Option<String>,
    /// Of this package.
    pub package: Option<i64>,
    /// Of this request.
    pub order: Option<i64>,
    /// In this state.
    pub state: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// With smaller ids.
    pub before: Option<i64>,
    /// So many.
    pub limit: u32,
}

/// Jobs, newest first.
pub fn list(connection: &Connection, filter: &Filter) -> Result<Vec<Job>> {
    let mut sql = format!("SELECT {COLUMNS} {FROM} WHERE j.id < ?");
    let mut values: Vec<Box<dyn rusqlite::ToSql>> =
        vec![Box::new(filter.before.unwrap_or(i64::MAX))];
    let mut add = |column: &str, value: Option<Box<dyn rusqlite::ToSql>>| {
        if let Some(value) = value {
            sql.push_str(&format!(" AND j.{column} = ?"));
            values.push(value);
        }
    };
    fn boxed<T: rusqlite::ToSql + 'static>(value: T) -> Box<dyn rusqlite::ToSql> {
        Box::new(value)
    }
    add("terminal", filter.terminal.clone().map(boxed));
    add("package", filter.package.map(boxed));
    add("order_id", filter.order.map(boxed));
    add("state", filter.state.clone().map(boxed));
    add("outcome", filter.outcome.clone().map(boxed));
    sql.push_str(" ORDER BY j.id DESC LIMIT ?");
    values.push(boxed(filter.limit));
    connection
        .prepare_cached(&sql)?
        .query_map(rusqlite::params_from_iter(values), Job::from_row)?
        .collect()
}

/// A job as decisions need it.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: i64,
    /// Its terminal.
    pub terminal: String,
    /// Where it stands.
    pub state: State,
    /// Whether it was called off.
    pub cancel_requested: bool,
    reported: bool,
}

impl Known {
    /// What [`crate::job::decide`] takes.
    pub fn standing(&self) -> Standing {
        Standing {
            state: self.state,
            cancel_requested: self.cancel_requested,
            reported: self.reported,
        }
    }
}

/// Looks a job up for a decision.
pub fn known(connection: &Connection, id: i64) -> Result<Option<Known>> {
    connection
        .prepare_cached(
            "SELECT terminal, state, cancel_requested_at IS NOT NULL, reported FROM jobs WHERE id = ?",
        )?
        .query_row([id], |row| {
            let state: String = row.get(1)?;
            Ok(Known {
                id,
                terminal: row.get(0)?,
                state: State::from_word(&state).unwrap_or(State::Ordered),
                cancel_requested: row.get(2)?,
                reported: row.get(3)?,
            })
        })
        .optional()
}

/// What the terminal says of how far it is.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Per cent.
    pub progress: u8,
    /// Bytes there.
    pub bytes: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

/// The terminal was heard of concerning this job: it need not be asked for `query_seconds`.
pub fn heard(w: &Write<'_>, now: i64, job: i64, query_seconds: u64) -> Result<()> {
    w.prepare_cached(
        "UPDATE jobs SET heard_at = ?1, queries = 0, query_at = CASE WHEN state IN ('queued', 'ordered', 'finished') \
         THEN NULL ELSE ?2 END WHERE id = ?3",
    )?
    .execute(params![now, now + query_seconds as i64, job])?;
    Ok(())
}

/// The job is in `state` now.
pub fn enter(w: &Write<'_>, now: i64, job: &Known, state: State) -> Result<()> {
    if state == job.state {
        return Ok(());
    }
    w.prepare_cached(
        "UPDATE jobs SET state = ?1, accepted_at = coalesce(accepted_at, ?2), progress = 0, bytes = NULL, \
         total = NULL WHERE id = ?3 AND state NOT IN ('queued', 'finished')",
    )?
    .execute(params![state.word(), now, job.id])?;
    events::add(
        w,
        now,
        Subject::job(job.id),
        kind::STATE,
        &json!({"state": state.word()}),
    )
}

/// How far the terminal is.
pub fn set_figures(w: &Write<'_>, job: i64, figures: Figures) -> Result<()> {
    let bytes = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    w.prepare_cached(
        "UPDATE jobs SET progress = ?, bytes = ?, total = ? WHERE id = ? AND state NOT IN ('queued', 'finished')",
    )?
    .execute(params![
        figures.progress.min(100),
        bytes(figures.bytes),
        bytes(figures.total),
        job
    ])?;
    Ok(())
}

/// The terminal is busy with another job: back into the queue until `not_before`.
pub fn wait(w: &Write<'_>, now: i64, job: &Known, not_before: i64, detail: &Value) -> Result<()> {
    outbox::forget(w, job.id)?;
    tokens::revoke(w, job.id)?;
    w.execute(
        "UPDATE jobs SET state = 'queued', not_before = ? WHERE id = ? AND state = 'ordered'",
        params![not_before, job.id],
    )?;
    events::add(w, now, Subject::job(job.id), kind::WAITS, detail)
}

/// The job's one result; `reported` says that it is the terminal's REP_JOB_RESULT. The terminal's next job, if one
/// waits, is ordered.
pub fn finish(w: &Write<'_>, now: i64, job: &Known, ending: &Ending, reported: bool) -> Result<()> {
    let changed = w
        .prepare_cached(
            "UPDATE jobs SET state = 'finished', finished_at = ?, outcome = ?, code = ?, word = ?, message = ?, \
             details = ?, reported = ?, query_at = NULL, not_before = NULL, refusal = NULL, \
             ends_at = NULL WHERE id = ? AND state != 'finished'",
        )?
        .execute(params![
            now,
            ending.outcome,
            ending.code,
            ending.word,
            ending.message,
            details(ending),
            reported,
            job.id
        ])?;
    if changed == 1 {
        outbox::forget(w, job.id)?;
        tokens::revoke(w, job.id)?;
        record_result(w, now, job, ending)?;
        super::orders::promote(w, now, &job.terminal)?;
    }
    Ok(())
}

/// The job ends with `ending` at `ends_at`, unless its result comes before.
pub fn finish_soon(w: &Write<'_>, job: &Known, ending: &Ending, ends_at: i64) -> Result<()> {
    w.execute(
        "UPDATE jobs SET refusal = ?, ends_at = ? WHERE id = ? AND state = 'ordered'",
        params![json!(ending).to_string(), ends_at, job.id],
    )?;
    Ok(())
}

/// Ends the jobs for which no result came after their refusal; at most `limit` at once.
pub fn finish_refused(w: &Write<'_>, now: i64, limit: u32) -> Result<()> {
    let due: Vec<(i64, String)> = w
        .prepare_cached("SELECT id, refusal FROM jobs WHERE ends_at <= ? LIMIT ?")?
        .query_map(params![now, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    for (id, refusal) in due {
        let ending = serde_json::from_str(&refusal).unwrap_or_else(|_| Ending::expired());
        if let Some(job) = known(w, id)? {
            finish(w, now, &job, &ending, false)?;
        }
    }
    Ok(())
}

fn details(ending: &Ending) -> Option<String> {
    (!ending.details.is_null()).then(|| ending.details.to_string())
}

fn record_result(w: &Write<'_>, now: i64, job: &Known, ending: &Ending) -> Result<()> {
    let detail = json!({
        "outcome": ending.outcome, "code": ending.code, "word": ending.word, "message": ending.message,
        "details": ending.details,
    });
    events::add(w, now, Subject::job(job.id), kind::RESULT, &detail)
}

/// What was sent of packages, by job.
pub fn add_served(w: &Write<'_>, served: &[(i64, u64)]) -> Result<()> {
    let mut statement =
        w.prepare_cached("UPDATE jobs SET bytes_served = bytes_served + ? WHERE id = ?")?;
    for (job, bytes) in served {
        statement.execute(params![*bytes as i64, job])?;
    }
    Ok(())
}
