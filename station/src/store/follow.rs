//! The record as it grows, for those who follow it.

use serde::Serialize;
use serde_json::Value;

use super::sql::params;
use super::{Read, Result};
use crate::clock;

/// Most events read at once.
const MOST: i64 = 500;

/// An event for a follower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Followed {
    /// Grows by one from event to event.
    pub id: i64,
    /// RFC 3339.
    pub at: String,
    pub kind: String,
    pub job: Option<i64>,
    pub order: Option<i64>,
    pub terminal: Option<String>,
    pub package: Option<i64>,
    pub detail: Value,
}

/// Returns the oldest event in the database and the newest one of all; the next one will be one more.
pub fn bounds(r: &Read<'_>) -> Result<(i64, i64)> {
    let archived = super::archive::last(r)?;
    let sql = "SELECT min(id), max(id) FROM events";
    let (oldest, newest): (Option<i64>, Option<i64>) =
        r.one(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let newest = newest.unwrap_or(archived);
    Ok((oldest.unwrap_or(newest.saturating_add(1)), newest))
}

/// Returns the next events after one, oldest first; of a job's events, with what is known of the job.
pub fn after(r: &Read<'_>, id: i64) -> Result<Vec<Followed>> {
    let sql = "SELECT e.id, e.at, e.kind, e.job, j.order_id, coalesce(e.terminal, j.terminal), \
        coalesce(e.package, j.package), e.detail FROM events e LEFT JOIN jobs j ON j.id = e.job \
        WHERE e.id > ? ORDER BY e.id LIMIT ?";
    r.all(sql, params![id, MOST], |row| {
        let detail: String = row.get(7)?;
        let detail: Value = serde_json::from_str(&detail).unwrap_or_default();
        let order: Option<i64> = row.get(4)?;
        Ok(Followed {
            id: row.get(0)?,
            at: clock::text(row.get(1)?),
            kind: row.get(2)?,
            job: row.get(3)?,
            // What is about a whole order says so in its detail.
            order: order.or_else(|| detail.get("order").and_then(Value::as_i64)),
            terminal: row.get(5)?,
            package: row.get(6)?,
            detail,
        })
    })
}
