//! Rollouts: plans that upgrade many terminals in waves.
//!
//! - `prepare`: who is in which wave, and who is left out
//! - `tick`: does what [`crate::rollout::step`] says; `start`: starts terminals
//! - `gather`: counters, and what the end of a job means to its rollout
//! - `acts`: what operators do; `revert`: the way back
//! - `view`: what REST shows
//!
//! The row of a rollout is held by whoever works on it; the row of one of its terminals belongs to that
//! terminal, as all in [`super::locks`].

use super::events::{self, kind, Subject};
use super::sql::{self, params};
use super::{locks, saturated, Cause, Error, Read, Result, Write};
use crate::rollout::plan::Plan;
use serde_json::{json, Value};

mod acts;
mod gather;
mod prepare;
mod revert;
mod start;
mod tick;
mod view;

#[cfg(test)]
mod tests;

pub use acts::{act, stop_all, to_reach, Act, Refused};
pub use gather::Gathered;
pub(super) use gather::{back, look_again};
pub use revert::before;
pub use tick::{due, work_on};
pub use view::{estimate, get, list, targets, Estimate, Filter, Rollout, Target};

/// Terminals dealt with in one transaction.
const PIECE: usize = 1000;

/// A rollout as it is planned.
#[derive(Debug, Clone)]
pub struct NewRollout {
    /// Name of the REST token that plans it.
    pub by: String,
    pub name: String,
    pub package: i64,
    /// The word of its [`dau_model::Kind`].
    pub upgrade_type: String,
    pub budget: Option<u64>,
    pub plan: Plan,
}

/// Adds a draft for these terminals, each named once; [`work_on`] finds out who is in which wave.
pub fn add(w: &Write<'_>, now: i64, new: &NewRollout, terminals: &[String]) -> Result<i64> {
    let id = w.next_id()?;
    let plan = json!(new.plan);
    w.execute(
        "INSERT INTO rollouts (id, name, package, type, budget, plan, state, created_by, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, 'preparing', ?, ?)",
        params![
            id,
            new.name,
            new.package,
            new.upgrade_type,
            new.budget.map(saturated),
            plan.to_string(),
            new.by,
            now
        ],
    )?;
    for (piece, terminals) in (0_i64..).zip(terminals.chunks(PIECE)) {
        w.execute(
            "INSERT INTO rollout_pieces (rollout, piece, terminals) VALUES (?, ?, ?)",
            params![id, piece, json!(terminals).to_string()],
        )?;
    }
    let detail = json!({
        "name": new.name, "type": new.upgrade_type, "terminals": terminals.len(), "plan": plan,
        "budget": new.budget,
    });
    record(w, now, id, new.package, "plan", &new.by, detail)?;
    Ok(id)
}

/// Records what was done with a rollout, and by whom; the station itself is nobody.
fn record(
    w: &Write<'_>,
    now: i64,
    id: i64,
    package: i64,
    act: &str,
    by: &str,
    detail: Value,
) -> Result<()> {
    let subject = Subject {
        package: Some(package),
        ..Subject::default()
    };
    let detail = json!({"rollout": id, "act": act, "by": by, "detail": detail});
    events::add(w, now, subject, kind::ROLLOUT, &detail)
}

/// A rollout as the database has it.
#[derive(Debug)]
struct Row {
    id: i64,
    package: i64,
    upgrade_type: String,
    budget: Option<u64>,
    plan: Plan,
    state: String,
    why: Option<String>,
    created_by: String,
    started_by: Option<String>,
    expires_at: Option<i64>,
    open: u32,
    go: bool,
    after: String,
    collected: bool,
    order: Option<i64>,
    reached_at: Option<i64>,
}

const COLUMNS: &str =
    "id, package, type, budget, plan, state, why, created_by, started_by, expires_at, \
    open, go, after, collected, order_id, reached_at";

impl Row {
    fn read(row: &sql::Row<'_>) -> Result<Self> {
        let budget: Option<i64> = row.get(3)?;
        let plan = Plan::read(&row.get::<String>(4)?);
        Ok(Row {
            id: row.get(0)?,
            package: row.get(1)?,
            upgrade_type: row.get(2)?,
            budget: budget.and_then(|bytes| u64::try_from(bytes).ok()),
            plan: plan.map_err(|reason| Error::new(Cause::Data, reason))?,
            state: row.get(5)?,
            why: row.get(6)?,
            created_by: row.get(7)?,
            started_by: row.get(8)?,
            expires_at: row.get(9)?,
            open: row.get(10)?,
            go: row.get(11)?,
            after: row.get(12)?,
            collected: row.get(13)?,
            order: row.get(14)?,
            reached_at: row.get(15)?,
        })
    }

    fn enter(&self, w: &Write<'_>, state: &str, why: Option<&str>, message: &str) -> Result<()> {
        w.execute(
            "UPDATE rollouts SET state = ?, why = ?, message = ? WHERE id = ?",
            params![state, why, message, self.id],
        )?;
        Ok(())
    }
}

/// Returns a rollout, held until the transaction ends.
fn held(w: &Write<'_>, id: i64) -> Result<Option<Row>> {
    let lock = locks::hold(w);
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?{lock}");
    w.optional(&sql, params![id], Row::read)
}

/// A counter: the wave, what is counted, its word, the number, that when it was last resumed, and the
/// last change.
type Counter = (u32, String, String, i64, i64, i64);

fn counters(r: &Read<'_>, id: i64) -> Result<Vec<Counter>> {
    r.all(
        "SELECT wave, what, word, number, seen, at FROM rollout_counts WHERE rollout = ?",
        params![id],
        |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
            ))
        },
    )
}

/// Returns a list of placeholders for so many values.
fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
