//! Does what is due of a rollout.

use std::collections::BTreeMap;

use serde_json::json;

use super::{counters, prepare, record, start, Row, COLUMNS};
use crate::rollout::plan::Plan;
use crate::rollout::step::{self, Progress, Step, Tally};
use crate::store::orders::{self, Cancelled};
use crate::store::sql::params;
use crate::store::{locks, Read, Result, Write};

/// Most rollouts that are under way.
const MOST: i64 = 1000;

/// Returns the rollouts that may have something to do.
pub fn due(r: &Read<'_>, now: i64) -> Result<Vec<i64>> {
    r.all(
        "SELECT id FROM rollouts WHERE state IN ('preparing', 'running') \
         OR (state IN ('paused', 'stopped') AND expires_at <= ?) \
         OR (state = 'stopped' AND reached_at IS NULL) ORDER BY id LIMIT ?",
        params![now, MOST],
        |row| row.get(0),
    )
}

/// Does what is due of a rollout. Returns whether there may be more to do at once; false, too, if
/// another station has it in hand.
pub fn work_on(w: &Write<'_>, now: i64, id: i64) -> Result<bool> {
    // One at a time: each has to see whom the others have started on a feeder.
    locks::name(w, "rollouts")?;
    let claim = locks::claim(w, "rollouts");
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?{claim}");
    let Some(row) = w.optional(&sql, params![id], Row::read)? else {
        return Ok(false);
    };
    match row.state.as_str() {
        "preparing" => prepare::piece(w, now, &row).map(|()| true),
        "running" => run(w, now, &row),
        "paused" | "stopped" => {
            if row.expires_at.is_some_and(|end| end <= now) {
                expire(w, now, &row)?;
            } else if row.state == "stopped" {
                note_reached(w, now, &row)?;
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn run(w: &Write<'_>, now: i64, row: &Row) -> Result<bool> {
    if let Some(order) = row.order {
        let order = orders::state_of(w, order)?;
        if order
            .as_deref()
            .is_some_and(|state| state.starts_with("cancel"))
        {
            let message = "its order was cancelled: resume it to go on";
            return pause(w, now, row, "order-cancelled", message).map(|()| false);
        }
    }
    let progress = progress(w, row)?;
    match step::next(&row.plan, &progress, now) {
        Step::Open => open(w, now, row).map(|()| true),
        Step::Start(room) => {
            if row.why.is_some() {
                row.enter(w, "running", None, "")?;
            }
            start::some(w, now, row, &progress.waves, room)
        }
        Step::Wait(why, _) => {
            if row.why.as_deref() != Some(why.word()) {
                row.enter(w, "running", Some(why.word()), &why.to_string())?;
            }
            Ok(false)
        }
        Step::Stop(why) => {
            stop(w, now, row, "", why.word(), &why.to_string())?;
            Ok(false)
        }
        Step::Pause(why) => pause(w, now, row, why.word(), &why.to_string()).map(|()| false),
        Step::Done => {
            record(w, now, row.id, row.package, "done", "", json!(null))?;
            row.enter(w, "ended", Some("done"), "all its terminals have ended")?;
            Ok(false)
        }
        Step::Expired => expire(w, now, row).map(|()| false),
    }
}

fn open(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let wave = row.open.saturating_add(1);
    w.execute(
        "INSERT INTO rollout_waves (rollout, wave, opened_at) VALUES (?, ?, ?)",
        params![row.id, wave, now],
    )?;
    w.execute(
        "UPDATE rollouts SET open = ?, go = (1 = 0), why = NULL, message = NULL WHERE id = ?",
        params![wave, row.id],
    )?;
    record(w, now, row.id, row.package, "wave", "", json!(wave))
}

/// Returns how far a rollout is.
pub fn progress(r: &Read<'_>, row: &Row) -> Result<Progress> {
    let (waves, last_result) = tallies(r, row.id, &row.plan)?;
    let opened: Option<i64> = r.one(
        "SELECT max(opened_at) FROM rollout_waves WHERE rollout = ?",
        params![row.id],
        |row| row.get(0),
    )?;
    Ok(Progress {
        waves,
        open: usize::try_from(row.open).unwrap_or(0),
        opened_at: opened.unwrap_or(0),
        last_result,
        go: row.go,
        expires_at: row.expires_at.unwrap_or(i64::MAX),
    })
}

/// Returns how many terminals of each wave are how far, and when the last result came.
fn tallies(r: &Read<'_>, id: i64, plan: &Plan) -> Result<(Vec<Tally>, Option<i64>)> {
    let mut waves: BTreeMap<usize, Tally> = BTreeMap::new();
    let mut last_result = None;
    for (wave, what, word, number, seen, at) in counters(r, id)? {
        let tally = waves.entry(usize::try_from(wave).unwrap_or(0)).or_default();
        let count = |number: i64| u32::try_from(number).unwrap_or(0);
        let new = count(number.saturating_sub(seen));
        match (what.as_str(), word.as_str()) {
            ("state", "waiting") => tally.waiting = count(number),
            ("state", "unreachable") => tally.unreachable = count(number),
            ("state", "active") => tally.active = count(number),
            ("state", "success") => {
                (tally.success, tally.seen_success) = (count(number), count(seen))
            }
            ("state", "failed") => (tally.failed, tally.seen_failed) = (count(number), count(seen)),
            ("outcome", _) => {
                last_result = last_result.max(Some(at));
                let count = tally.words.entry(word).or_default();
                *count = (*count).max(new);
            }
            ("word", _) => {
                let count = tally.words.entry(word).or_default();
                *count = (*count).max(new);
            }
            _ => {}
        }
    }
    let numbers = 1..=plan.waves.len();
    let waves = numbers.map(|number| waves.remove(&number).unwrap_or_default());
    Ok((waves.collect(), last_result))
}

pub fn pause(w: &Write<'_>, now: i64, row: &Row, why: &str, message: &str) -> Result<()> {
    record(
        w,
        now,
        row.id,
        row.package,
        "pause",
        "",
        json!({"why": why, "message": message}),
    )?;
    row.enter(w, "paused", Some(why), message)
}

/// Stops a rollout: what is not armed is cancelled.
pub fn stop(w: &Write<'_>, now: i64, row: &Row, by: &str, why: &str, message: &str) -> Result<()> {
    record(
        w,
        now,
        row.id,
        row.package,
        "stop",
        by,
        json!({"why": why, "message": message}),
    )?;
    row.enter(w, "stopped", Some(why), message)?;
    w.execute(
        "UPDATE rollouts SET stopped_at = ?, reached_at = NULL WHERE id = ?",
        params![now, row.id],
    )?;
    call_off(w, now, row, if by.is_empty() { "rollout" } else { by })
}

/// Cancels what is not armed.
fn call_off(w: &Write<'_>, now: i64, row: &Row, by: &str) -> Result<()> {
    let Some(order) = row.order else {
        return Ok(());
    };
    match orders::cancel_order(w, now, order, by, false)? {
        Cancelled::Unknown | Cancelled::Over | Cancelled::Ended | Cancelled::Asked => {}
    }
    Ok(())
}

/// Ends a rollout whose time is over.
fn expire(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    finish(w, now, row, "", "expired", "its time is over")
}

/// Ends a rollout with terminals that have not started.
pub fn finish(w: &Write<'_>, now: i64, row: &Row, by: &str, why: &str, text: &str) -> Result<()> {
    record(w, now, row.id, row.package, why, by, json!(null))?;
    let left: Vec<(u32, String, i64)> = w.all(
        "SELECT wave, state, count(*) FROM rollout_targets WHERE rollout = ? \
         AND state IN ('waiting', 'unreachable') GROUP BY wave, state",
        params![row.id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    w.execute(
        "UPDATE rollout_targets SET state = 'expired', waits_for = NULL WHERE rollout = ? \
         AND state IN ('waiting', 'unreachable')",
        params![row.id],
    )?;
    for (wave, state, count) in left {
        let of = (row.id, wave);
        w.rollouts()
            .add(now, of, "state", &state, count.saturating_neg());
        w.rollouts().add(now, of, "state", "expired", count);
    }
    w.execute(
        "DELETE FROM rollout_pieces WHERE rollout = ?",
        params![row.id],
    )?;
    row.enter(w, "ended", Some(why), text)?;
    call_off(w, now, row, if by.is_empty() { "rollout" } else { by })
}

/// Returns how many terminals of an order still have to hear that it is cancelled; `linked`: of those
/// that are linked.
pub fn to_reach(r: &Read<'_>, order: i64) -> Result<(u64, u64)> {
    let found: (i64, i64) = r.one(
        "SELECT count(*), coalesce(sum(CASE WHEN t.link = 'up' THEN 1 ELSE 0 END), 0) FROM jobs j \
         JOIN terminals t ON t.id = j.terminal WHERE j.order_id = ? AND j.state IN ('queued', \
         'ordered', 'accepted', 'downloading', 'verifying', 'backing-up')",
        params![order],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok((count(found.0), count(found.1)))
}

/// Notes when the last linked terminal has heard that the rollout is stopped.
fn note_reached(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let linked = row.order.map(|order| to_reach(w, order)).transpose()?;
    if row.reached_at.is_none() && linked.is_none_or(|(_, linked)| linked == 0) {
        w.execute(
            "UPDATE rollouts SET reached_at = ? WHERE id = ?",
            params![now, row.id],
        )?;
    }
    Ok(())
}
