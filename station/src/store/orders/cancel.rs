//! Cancels jobs.

use dau_model::{Outcome, State, Word};
use serde_json::json;

use super::PIECE;
use crate::job::Ending;
use crate::store::events::{self, kind, Subject};
use crate::store::sql::params;
use crate::store::{jobs, locks, outbox, terminals, Read, Result, Write};

/// The effect of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// There is no such job.
    Unknown,
    /// It has ended already.
    Over,
    /// It has ended by this.
    Ended,
    /// The terminal was asked to stop.
    Asked,
}

/// Cancels a job. `abandon` ends it at the station whatever the terminal does, for terminals that
/// are gone.
pub fn cancel(w: &Write<'_>, now: i64, id: i64, by: &str, abandon: bool) -> Result<Cancelled> {
    locks::terminals_of(w, [id])?;
    let Some(job) = jobs::known(w, id)? else {
        return Ok(Cancelled::Unknown);
    };
    if job.state == State::Finished {
        return Ok(Cancelled::Over);
    }
    jobs::settle(w, id)?;
    w.run(
        "UPDATE jobs SET cancel_requested_by = coalesce(cancel_requested_by, ?1), \
         cancel_requested_at = coalesce(cancel_requested_at, ?2) WHERE id = ?3",
        params![by, now, id],
    )?;
    let detail = json!({"by": by, "abandon": abandon});
    events::add(w, now, Subject::job(id), kind::CANCEL, &detail)?;
    if abandon {
        jobs::finish(w, now, &job, &abandoned(by), false)?;
        return Ok(Cancelled::Ended);
    }
    if job.state == State::Queued || !was_sent(w, id)? {
        jobs::finish(w, now, &job, &Ending::cancelled(), false)?;
        return Ok(Cancelled::Ended);
    }
    outbox::hold(w, id, &job.terminal, outbox::Command::Order)?;
    outbox::put(w, now, id, &job.terminal, outbox::Command::Cancel)?;
    Ok(Cancelled::Asked)
}

/// Cancels an order: no more of its jobs are made, and those that are there are cancelled as by
/// [`cancel`], in pieces by [`super::work_on`]. [`Cancelled::Over`] means that all its jobs have ended.
pub fn cancel_order(
    w: &Write<'_>,
    now: i64,
    id: i64,
    by: &str,
    abandon: bool,
) -> Result<Cancelled> {
    let Some(order) = super::get(w, id)? else {
        return Ok(Cancelled::Unknown);
    };
    if order.is_over() {
        return Ok(Cancelled::Over);
    }
    // Who asks for less than was asked for before is not the one on whose word the jobs end. And the
    // order first: whoever makes its jobs holds that, and then takes a piece.
    w.execute(
        "UPDATE orders SET state = 'cancelling', \
         cancelled_by = CASE WHEN abandon AND NOT ?2 THEN cancelled_by ELSE ?1 END, \
         abandon = (abandon OR ?2), after_job = 0 WHERE id = ?3",
        params![by, abandon, id],
    )?;
    w.execute("DELETE FROM order_pieces WHERE order_id = ?", params![id])?;
    let subject = Subject {
        package: Some(order.package),
        ..Subject::default()
    };
    let detail = json!({"by": by, "order": id, "abandon": abandon});
    events::add(w, now, subject, kind::ORDER_CANCEL, &detail)?;
    Ok(Cancelled::Asked)
}

/// Cancels some jobs of an order that is being cancelled.
pub(super) fn cancel_piece(w: &Write<'_>, now: i64, order: i64) -> Result<()> {
    let (by, abandon, after): (Option<String>, bool, i64) = w.one(
        "SELECT cancelled_by, abandon, after_job FROM orders WHERE id = ?",
        params![order],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let by = by.unwrap_or_default();
    let jobs: Vec<i64> = w.all(
        "SELECT id FROM jobs WHERE order_id = ? AND id > ? ORDER BY id LIMIT ?",
        params![order, after, PIECE as i64],
        |row| row.get(0),
    )?;
    locks::terminals_of(w, jobs.iter().copied())?;
    jobs::load(w, jobs.iter().copied())?;
    for job in &jobs {
        cancel(w, now, *job, &by, abandon)?;
    }
    w.execute(
        "UPDATE orders SET after_job = coalesce(?, after_job), state = ? WHERE id = ?",
        params![
            jobs.last(),
            if jobs.len() < PIECE {
                "cancelled"
            } else {
                "cancelling"
            },
            order
        ],
    )?;
    Ok(())
}

/// Cancels the job `id` of `terminal`, even one that this station did not order: `busy_with` names
/// the job that keeps a terminal from accepting orders. [`Cancelled::Unknown`] means that the
/// terminal is unknown.
pub fn cancel_at(w: &Write<'_>, now: i64, terminal: &str, id: i64, by: &str) -> Result<Cancelled> {
    locks::terminals(w, [terminal])?;
    if let Some(job) = jobs::known(w, id)? {
        if job.terminal == terminal && job.state != State::Finished {
            return cancel(w, now, id, by, false);
        }
    }
    let known = w.exists("SELECT 1 FROM terminals WHERE id = ?", params![terminal])?;
    if !known {
        return Ok(Cancelled::Unknown);
    }
    let subject = Subject {
        terminal: Some(terminal),
        ..Subject::job(id)
    };
    events::add(
        w,
        now,
        subject,
        kind::CANCEL_FOREIGN,
        &json!({ "by": by, "job": id }),
    )?;
    outbox::put(w, now, id, terminal, outbox::Command::Cancel)?;
    Ok(Cancelled::Asked)
}

/// Notes that the terminal has finished the job `id`, and orders jobs that waited for it.
pub fn not_busy(w: &Write<'_>, now: i64, terminal: &str, id: i64) -> Result<()> {
    if terminals::not_busy_with(w, terminal, id)? {
        w.run(
            "UPDATE jobs SET not_before = NULL WHERE terminal = ? AND state = 'queued'",
            params![terminal],
        )?;
        jobs::promote(w, now, terminal)?;
    }
    Ok(())
}

fn abandoned(by: &str) -> Ending {
    Ending::by_station(
        Outcome::Failed,
        dau_protocol::code::FAILED,
        Word::Abandoned,
        &format!("{by} gave the job up without waiting for the terminal"),
    )
}

fn was_sent(r: &Read<'_>, job: i64) -> Result<bool> {
    r.one(
        "SELECT ordered_at IS NOT NULL FROM jobs WHERE id = ?",
        params![job],
        |row| row.get(0),
    )
}
