//! What operators do with rollouts.

use std::fmt;

use serde_json::json;

use super::{held, record, tick, Row};
use crate::rollout::approval::{self, Demands};
use crate::store::orders::{self, Cancelled};
use crate::store::sql::params;
use crate::store::{locks, Read, Result, Write};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Starts a draft; it may need a second person.
    Start,
    /// Is that second person.
    Approve,
    /// Starts no more terminals.
    Pause,
    /// Goes on.
    Resume,
    /// Starts no more terminals and cancels what is not armed; ends what has not begun.
    Stop,
    /// Has those start again that failed or were cancelled.
    Retry,
    /// Lets it expire so many seconds later.
    Extend(u32),
    /// Opens the next wave.
    Next,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Act::Start => "start",
            Act::Approve => "approve",
            Act::Pause => "pause",
            Act::Resume => "resume",
            Act::Stop => "stop",
            Act::Retry => "retry",
            Act::Extend(_) => "extend",
            Act::Next => "next",
        }
    }

    /// Returns the states in which it can be done.
    fn states(self) -> &'static [&'static str] {
        match self {
            Act::Start => &["draft"],
            Act::Approve => &["approval"],
            Act::Pause => &["running"],
            Act::Resume => &["paused", "stopped"],
            Act::Stop => &["preparing", "draft", "approval", "running", "paused"],
            Act::Retry => &["running", "paused", "stopped", "ended"],
            Act::Extend(_) => &["running", "paused", "stopped"],
            Act::Next => &["running", "paused"],
        }
    }
}

/// Why an act is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such rollout.
    Unknown,
    /// In this state it cannot be done.
    State(String),
    /// Not by this person.
    Person(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown => f.write_str("there is no such rollout"),
            Refused::State(text) | Refused::Person(text) => f.write_str(text),
        }
    }
}

/// Does what an operator wants.
pub fn act(
    w: &Write<'_>,
    now: i64,
    id: i64,
    by: &str,
    act: Act,
    demands: Demands,
) -> Result<std::result::Result<(), Refused>> {
    let Some(row) = held(w, id)? else {
        return Ok(Err(Refused::Unknown));
    };
    if !act.states().contains(&row.state.as_str()) {
        return Ok(Err(Refused::State(format!(
            "rollout {id} is in the state '{}': '{}' is possible in {}",
            row.state,
            act.word(),
            act.states().join(", ")
        ))));
    }
    if row.state == "ended" && !(row.why.as_deref() == Some("done") && is_good(&row, now)) {
        let text = format!("rollout {id} has ended, and its time is over: plan another one");
        return Ok(Err(Refused::State(text)));
    }
    if act == Act::Approve {
        let asked = [Some(row.created_by.as_str()), row.started_by.as_deref()];
        let asked: Vec<&str> = asked.into_iter().flatten().collect();
        if let Some(why) = approval::refused(by, &asked) {
            let detail = json!({ "refused": why });
            record(w, now, id, row.package, "approve", by, detail)?;
            return Ok(Err(Refused::Person(why)));
        }
    }
    if act != Act::Stop {
        let detail = match act {
            Act::Extend(seconds) => json!({ "seconds": seconds }),
            _ => json!(null),
        };
        record(w, now, id, row.package, act.word(), by, detail)?;
    }
    done(w, now, &row, by, act, demands)?;
    Ok(Ok(()))
}

fn is_good(row: &Row, now: i64) -> bool {
    row.expires_at.is_some_and(|end| now < end)
}

fn done(w: &Write<'_>, now: i64, row: &Row, by: &str, act: Act, demands: Demands) -> Result<()> {
    match act {
        Act::Start => {
            w.execute(
                "UPDATE rollouts SET started_by = ? WHERE id = ?",
                params![by, row.id],
            )?;
            let has_windows = !row.plan.windows.weekly.is_empty();
            match approval::needed(demands, count(w, row.id)?, has_windows) {
                Some(why) => row.enter(w, "approval", Some("approval"), &why),
                None => begin(w, now, row),
            }
        }
        Act::Approve => {
            w.execute(
                "UPDATE rollouts SET approved_by = ? WHERE id = ?",
                params![by, row.id],
            )?;
            begin(w, now, row)
        }
        Act::Pause => row.enter(w, "paused", Some("operator"), &format!("paused by {by}")),
        Act::Resume => go_on(w, row),
        Act::Stop if matches!(row.state.as_str(), "running" | "paused") => {
            tick::stop(w, now, row, by, "operator", &format!("stopped by {by}"))
        }
        Act::Stop => {
            let text = format!("{by} withdrew it before its start");
            tick::finish(w, now, row, by, "withdrawn", &text)
        }
        Act::Retry => {
            retry(w, now, row)?;
            go_on(w, row)
        }
        Act::Extend(seconds) => w
            .execute(
                "UPDATE rollouts SET expires_at = expires_at + ? WHERE id = ?",
                params![i64::from(seconds), row.id],
            )
            .map(drop),
        Act::Next => {
            w.execute(
                "UPDATE rollouts SET go = (1 = 1) WHERE id = ?",
                params![row.id],
            )?;
            match row.state == "paused" {
                true => go_on(w, row),
                false => Ok(()),
            }
        }
    }
}

/// Returns the number of terminals that wait in its waves.
fn count(r: &Read<'_>, id: i64) -> Result<u64> {
    let count: i64 = r.one(
        "SELECT coalesce(CAST(sum(number) AS BIGINT), 0) FROM rollout_counts WHERE rollout = ? AND what = 'state' \
         AND word = 'waiting'",
        params![id],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn begin(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let from = row.plan.start().unwrap_or(now).max(now);
    w.execute(
        "UPDATE rollouts SET started_at = ?, expires_at = ? WHERE id = ?",
        params![now, from.saturating_add(row.plan.expire.into()), row.id],
    )?;
    row.enter(w, "running", None, "")
}

/// Goes on: failures so far count no more, and jobs come with a new order if the old one is cancelled.
fn go_on(w: &Write<'_>, row: &Row) -> Result<()> {
    w.execute(
        "UPDATE rollout_counts SET seen = number WHERE rollout = ?",
        params![row.id],
    )?;
    let order = row
        .order
        .map(|order| orders::state_of(w, order))
        .transpose()?;
    if order
        .flatten()
        .is_some_and(|state| state.starts_with("cancel"))
    {
        w.execute(
            "UPDATE rollouts SET order_id = NULL WHERE id = ?",
            params![row.id],
        )?;
    }
    w.execute(
        "UPDATE rollouts SET stopped_at = NULL, reached_at = NULL WHERE id = ?",
        params![row.id],
    )?;
    row.enter(w, "running", None, "")
}

fn retry(w: &Write<'_>, now: i64, row: &Row) -> Result<()> {
    let ended: Vec<(u32, String, Option<String>, i64)> = w.all(
        "SELECT t.wave, t.state, t.word, count(*) FROM rollout_targets t WHERE t.rollout = ? \
         AND t.state IN ('failed', 'cancelled') GROUP BY t.wave, t.state, t.word",
        params![row.id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let outcomes: Vec<(u32, String, i64)> = w.all(
        "SELECT t.wave, j.outcome, count(*) FROM rollout_targets t JOIN jobs j ON j.id = t.job \
         WHERE t.rollout = ? AND t.state = 'failed' GROUP BY t.wave, j.outcome",
        params![row.id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    w.execute(
        "UPDATE rollout_targets SET state = 'waiting', word = NULL, due_at = 0, waits_for = NULL \
         WHERE rollout = ? AND state IN ('failed', 'cancelled')",
        params![row.id],
    )?;
    let gathered = w.rollouts();
    for (wave, state, word, count) in ended {
        let of = (row.id, wave);
        gathered.add(now, of, "state", &state, count.saturating_neg());
        gathered.add(now, of, "state", "waiting", count);
        if let Some(word) = word.filter(|_| state == "failed") {
            gathered.add(now, of, "word", &word, count.saturating_neg());
        }
    }
    for (wave, outcome, count) in outcomes {
        gathered.add(
            now,
            (row.id, wave),
            "outcome",
            &outcome,
            count.saturating_neg(),
        );
    }
    // Before their marks are set: what was taken back now is no new failure later.
    gathered.write(w)
}

/// What a stop of the whole station has stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopped {
    pub rollouts: u64,
    pub orders: u64,
}

/// Stops all rollouts, and cancels all orders, of which something is not armed.
pub fn stop_all(w: &Write<'_>, now: i64, by: &str) -> Result<Stopped> {
    locks::name(w, "rollouts")?;
    let mut stopped = Stopped::default();
    let rollouts: Vec<i64> = w.all(
        "SELECT id FROM rollouts WHERE state IN ('running', 'paused') ORDER BY id",
        params![],
        |row| row.get(0),
    )?;
    for id in rollouts {
        if act(w, now, id, by, Act::Stop, Demands::default())?.is_ok() {
            stopped.rollouts = stopped.rollouts.saturating_add(1);
        }
    }
    let orders: Vec<i64> = w.all(
        "SELECT id FROM orders WHERE state = 'making' UNION SELECT c.order_id FROM order_counts c \
         JOIN orders o ON o.id = c.order_id WHERE c.what = 'job' AND c.number > 0 AND o.state = 'made' \
         AND c.word IN ('queued', 'ordered', 'accepted', 'downloading', 'verifying', 'backing-up') \
         ORDER BY 1",
        params![],
        |row| row.get(0),
    )?;
    for id in orders {
        if orders::cancel_order(w, now, id, by, false)? == Cancelled::Asked {
            stopped.orders = stopped.orders.saturating_add(1);
        }
    }
    Ok(stopped)
}

/// Returns how many terminals have yet to hear that their jobs are cancelled, and how many of those are
/// linked.
pub fn to_reach(r: &Read<'_>) -> Result<(u64, u64)> {
    let found: (i64, i64) = r.one(
        "SELECT count(*), coalesce(sum(CASE WHEN t.link = 'up' THEN 1 ELSE 0 END), 0) FROM jobs j \
         JOIN terminals t ON t.id = j.terminal JOIN orders o ON o.id = j.order_id \
         WHERE j.state IN ('queued', 'ordered', 'accepted', 'downloading', 'verifying', 'backing-up') \
         AND (j.cancel_requested_at IS NOT NULL OR o.state = 'cancelling')",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok((count(found.0), count(found.1)))
}
