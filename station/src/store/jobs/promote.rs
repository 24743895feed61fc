//! Orders the next jobs of terminals.

use std::collections::{BTreeMap, HashMap};

use super::offer::{self, Candidate};
use super::{end, known};
use crate::store::sql::{params, Row, ToValue};
use crate::store::{outbox, Result, Write};

/// Orders the terminal's oldest waiting job at the end of the transaction, unless another one is in
/// progress then. Jobs whose budget covers no file end there.
pub fn promote(w: &Write<'_>, now: i64, terminal: &str) -> Result<()> {
    let idle = &mut w.pending.borrow_mut().jobs.idle;
    idle.insert(terminal.to_owned(), now);
    Ok(())
}

/// A job whose turn it is.
struct Next {
    job: i64,
    order: i64,
    terminal: String,
    package: Candidate,
    budget: Option<i64>,
    /// What the terminal keeps.
    kept: String,
}

/// Returns the statement that finds the next jobs of terminals.
pub(in crate::store) fn next(terminals: &str) -> String {
    format!(
        "SELECT j.id, j.order_id, j.terminal, p.id, p.size, j.budget, t.packages FROM jobs j \
         JOIN packages p ON p.id = j.package JOIN terminals t ON t.id = j.terminal \
         WHERE j.id IN (SELECT min(q.id) FROM jobs q WHERE q.terminal IN ({terminals}) \
         AND q.state = 'queued' AND coalesce(q.not_before, 0) <= ? AND NOT EXISTS (SELECT 1 \
         FROM jobs a WHERE a.terminal = q.terminal AND a.state NOT IN ('queued', 'finished')) \
         GROUP BY q.terminal)"
    )
}

impl Next {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Next {
            job: row.get(0)?,
            order: row.get(1)?,
            terminal: row.get(2)?,
            package: Candidate {
                id: row.get(3)?,
                size: u64::try_from(row.get::<i64>(4)?).unwrap_or(0),
            },
            budget: row.get(5)?,
            kept: row.get(6)?,
        })
    }
}

/// Orders the next job of each of these terminals, if it has one. Nothing is changed that was not
/// written.
pub(super) fn order_next(w: &Write<'_>, idle: BTreeMap<String, i64>) -> Result<()> {
    let Some(now) = idle.values().max().copied() else {
        return Ok(());
    };
    let terminals: Vec<String> = idle.into_keys().collect();
    let due = w.for_keys(&terminals, next, params![now], Next::from_row)?;
    let mut has_deltas = HashMap::new();
    let mut ordered = Vec::with_capacity(due.len());
    for next in due {
        let is_target = match has_deltas.get(&next.package.id) {
            Some(is_target) => *is_target,
            None => offer::has_deltas(w, next.package.id)?,
        };
        has_deltas.insert(next.package.id, is_target);
        let delta = match is_target {
            true => offer::fitting(w, next.package.id, &next.terminal, &next.kept)?,
            false => None,
        };
        let budget = next.budget.and_then(|bytes| u64::try_from(bytes).ok());
        match offer::choose(next.package, delta, budget) {
            Ok(file) => {
                w.counts().job(next.order, Some("queued"), "ordered");
                ordered.push((w.next_id()?, next, file.id));
            }
            Err(ending) => {
                if let Some(job) = known(w, next.job)? {
                    end(w, now, &job, &ending, false)?;
                    promote(w, now, &next.terminal)?;
                }
            }
        }
    }
    w.rows(
        &ordered,
        "(CAST(? AS BIGINT), CAST(? AS BIGINT))",
        |rows| {
            format!(
                "UPDATE jobs SET state = 'ordered', not_before = NULL, offered = v.column2 \
                 FROM (VALUES {rows}) AS v WHERE id = v.column1"
            )
        },
        |(_, next, file)| [next.job.to_value(), file.to_value()],
    )?;
    let orders = ordered.iter().map(|(mid, next, _)| outbox::New {
        mid: *mid,
        job: next.job,
        terminal: &next.terminal,
    });
    outbox::put_orders(w, now, &orders.collect::<Vec<_>>())
}
