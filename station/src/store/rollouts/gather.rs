//! Counters of rollouts, and what the ends of jobs mean to them. Both are gathered in a transaction and
//! written at its end, as orders' counters are.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use dau_model::Outcome;

use super::placeholders;
use crate::store::sql::{params, ToValue};
use crate::store::{locks, Read, Result, Write};

/// Jobs asked for in one statement.
const JOBS: usize = 64;
/// Terminals of a line or a radio cell that are looked at when another one there has ended.
const WOKEN: i64 = 4;
/// Seconds before a terminal that did not accept its order is asked again.
const AGAIN: i64 = 60;

/// A rollout, its wave, what is counted, and the word of that.
type Counter = (i64, u32, &'static str, String);

/// What a transaction has gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    counts: RefCell<BTreeMap<Counter, i64>>,
    ended: RefCell<Vec<(i64, Outcome, String)>>,
    at: Cell<i64>,
}

impl Gathered {
    /// Notes that a job has ended.
    pub fn ended(&self, now: i64, job: i64, outcome: Outcome, word: &str) {
        self.at.set(now);
        self.ended
            .borrow_mut()
            .push((job, outcome, word.to_owned()));
    }

    /// Adds to a counter of a wave.
    pub(super) fn add(
        &self,
        now: i64,
        of: (i64, u32),
        what: &'static str,
        word: &str,
        change: i64,
    ) {
        self.at.set(now);
        let mut counts = self.counts.borrow_mut();
        let count = counts
            .entry((of.0, of.1, what, word.to_owned()))
            .or_default();
        *count = count.saturating_add(change);
    }

    /// Notes that a terminal went from one state to another.
    pub(super) fn moved(&self, now: i64, of: (i64, u32), from: &str, to: &str) {
        self.add(now, of, "state", from, -1);
        self.add(now, of, "state", to, 1);
    }

    /// Tells rollouts of the jobs that have ended. Before any counter is held: others may hold terminals
    /// of the same line.
    pub fn end_jobs(&self, w: &Write<'_>) -> Result<()> {
        let ended = self.ended.take();
        ended
            .chunks(JOBS)
            .try_for_each(|some| self.write_ended(w, some))
    }

    /// Writes the counters.
    pub fn write(&self, w: &Write<'_>) -> Result<()> {
        for ((rollout, wave, what, word), change) in self.counts.take() {
            if change != 0 {
                w.execute(
                    "INSERT INTO rollout_counts (rollout, wave, what, word, number, at) \
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (rollout, wave, what, word) DO UPDATE \
                     SET number = rollout_counts.number + excluded.number, at = excluded.at",
                    params![rollout, wave, what, word, change, self.at.get()],
                )?;
            }
        }
        Ok(())
    }

    fn write_ended(&self, w: &Write<'_>, ended: &[(i64, Outcome, String)]) -> Result<()> {
        let now = self.at.get();
        for target in active(w, ended)? {
            let job = ended.iter().find(|(job, ..)| *job == target.job);
            let Some((_, outcome, word)) = job else {
                continue;
            };
            let state = target.becomes(*outcome);
            w.execute(
                "UPDATE rollout_targets SET state = ?, word = ?, due_at = ?, waits_for = NULL \
                 WHERE rollout = ? AND terminal = ?",
                params![
                    state,
                    word,
                    match outcome {
                        Outcome::Expired => now.saturating_add(AGAIN),
                        _ => 0,
                    },
                    target.of.0,
                    target.terminal
                ],
            )?;
            self.moved(now, target.of, "active", state);
            if matches!(state, "success" | "failed") {
                self.add(now, target.of, "outcome", outcome.word(), 1);
            }
            if state == "failed" {
                self.add(now, target.of, "word", word, 1);
            }
            let [feeder, ring, cell] = &target.lines;
            for (column, line) in [("feeder", feeder), ("ring", ring), ("cell", cell)] {
                if let Some(line) = line {
                    wake(w, column, line)?;
                }
            }
        }
        Ok(())
    }
}

/// A terminal of a rollout whose job has ended.
struct Target {
    of: (i64, u32),
    terminal: String,
    job: i64,
    /// Whether all of the rollout's order is cancelled, and whether the rollout has ended.
    called_off: bool,
    over: bool,
    lines: [Option<String>; 3],
}

impl Target {
    fn becomes(&self, outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Success => "success",
            Outcome::Expired | Outcome::Cancelled if self.over => "expired",
            Outcome::Expired => "waiting",
            Outcome::Cancelled if self.called_off => "waiting",
            Outcome::Cancelled => "cancelled",
            _ => "failed",
        }
    }
}

fn active(r: &Read<'_>, ended: &[(i64, Outcome, String)]) -> Result<Vec<Target>> {
    let sql = format!(
        "SELECT t.rollout, t.wave, t.terminal, t.job, o.state IN ('cancelling', 'cancelled'), \
         l.state = 'ended', t.feeder, t.ring, t.cell FROM rollout_targets t \
         JOIN rollouts l ON l.id = t.rollout JOIN jobs j ON j.id = t.job \
         JOIN orders o ON o.id = j.order_id \
         WHERE t.job IN ({}) AND t.state = 'active' ORDER BY t.rollout, t.terminal",
        placeholders(ended.len())
    );
    let jobs: Vec<_> = ended.iter().map(|(job, ..)| job.to_value()).collect();
    r.all(&sql, &jobs, |row| {
        Ok(Target {
            of: (row.get(0)?, row.get(1)?),
            terminal: row.get(2)?,
            job: row.get(3)?,
            called_off: row.get(4)?,
            over: row.get(5)?,
            lines: [row.get(6)?, row.get(7)?, row.get(8)?],
        })
    })
}

/// Has some terminals looked at that wait for others there.
fn wake(w: &Write<'_>, column: &str, line: &str) -> Result<()> {
    // Who is held is being looked at.
    let claim = locks::claim(w, "rollout_targets");
    let sql = format!(
        "UPDATE rollout_targets SET due_at = 0 WHERE (rollout, terminal) IN \
         (SELECT rollout, terminal FROM rollout_targets WHERE {column} = ? AND state = 'waiting' \
         AND waits_for IN ('feeder', 'ring', 'cell', 'neighbour') ORDER BY due_at LIMIT ?{claim}) \
         AND state = 'waiting'"
    );
    w.execute(&sql, params![line, WOKEN])?;
    Ok(())
}

/// Has a terminal looked at that is back.
pub(in crate::store) fn back(w: &Write<'_>, terminal: &str) -> Result<()> {
    w.execute(
        "UPDATE rollout_targets SET due_at = 0 WHERE terminal = ? AND state = 'unreachable'",
        params![terminal],
    )?;
    Ok(())
}

/// Has all waiting terminals looked at, whatever the clock says.
pub(in crate::store) fn look_again(w: &Write<'_>) -> Result<()> {
    w.execute(
        "UPDATE rollout_targets SET due_at = 0 WHERE due_at > 0 AND state IN ('waiting', 'unreachable') \
         AND rollout IN (SELECT id FROM rollouts WHERE state != 'ended')",
        params![],
    )?;
    Ok(())
}
