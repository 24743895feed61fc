//! The record of what happened.

use rusqlite::{params, Connection, Result};
use serde_json::Value;

use super::Write;
use crate::clock;

/// Most bytes that are kept of what a terminal said.
const MAX_DETAIL: usize = 16 << 10;

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// A job.
    pub job: Option<i64>,
    /// A terminal.
    pub terminal: Option<&'a str>,
    /// A package.
    pub package: Option<i64>,
}

impl Subject<'_> {
    /// A job.
    pub fn job(id: i64) -> Self {
        Subject {
            job: Some(id),
            ..Subject::default()
        }
    }
}

/// What happened, by its word in the record.
pub mod kind {
    /// A package was taken in.
    pub const UPLOADED: &str = "package-uploaded";
    /// A package was removed.
    pub const REMOVED: &str = "package-removed";
    /// A job was ordered by somebody.
    pub const CREATED: &str = "created";
    /// A command went to the terminal.
    pub const SENT: &str = "sent";
    /// The terminal answered a command.
    pub const ANSWERED: &str = "answered";
    /// The job's state changed.
    pub const STATE: &str = "state";
    /// The terminal was busy; the job waits.
    pub const WAITS: &str = "waits";
    /// The terminal's token was refused and it asked for the order again.
    pub const ORDER_AGAIN: &str = "order-again";
    /// A download began.
    pub const DOWNLOAD: &str = "download";
    /// A download ended.
    pub const DOWNLOADED: &str = "downloaded";
    /// Somebody called the job off.
    pub const CANCEL: &str = "cancel-requested";
    /// The job's one result.
    pub const RESULT: &str = "result";
    /// The terminal reported again, or after the station had ended the job.
    pub const LATE_RESULT: &str = "late-result";
    /// A terminal reported a job that the station does not know.
    pub const UNKNOWN_JOB: &str = "unknown-job";
}

/// Adds to the record.
pub fn add(
    w: &Write<'_>,
    now: i64,
    subject: Subject<'_>,
    kind: &str,
    detail: &Value,
) -> Result<()> {
    let mut detail = detail.to_string();
    if detail.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|i| detail.is_char_boundary(*i));
        detail.truncate(end.unwrap_or(0));
        detail = Value::String(detail).to_string();
    }
    w.prepare_cached(
        "INSERT INTO events (at, job, terminal, package, kind, detail) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        now,
        subject.job,
        subject.terminal,
        subject.package,
        kind,
        detail
    ])?;
    Ok(())
}

/// An entry of a job's record.
#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// RFC 3339.
    pub at: String,
    /// Such as `created`, `sent`, `answered`, `state`, `download`, `result`.
    pub kind: String,
    /// What belongs to it.
    pub detail: Value,
}

/// The record of a job, oldest first.
pub fn of_job(connection: &Connection, job: i64) -> Result<Vec<Event>> {
    connection
        .prepare_cached("SELECT at, kind, detail FROM events WHERE job = ? ORDER BY id")?
        .query_map([job], |row| {
            let detail: String = row.get(2)?;
            Ok(Event {
                at: clock::text(row.get(0)?),
                kind: row.get(1)?,
                detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
            })
        })?
        .collect()
}
