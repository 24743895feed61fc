//! The life of terminals: expected, linked, blocked, decommissioned.
//!
//! A terminal is expected until its first message, and linked from then on. Operators bar it: a blocked
//! one gets nothing until it is admitted again, a decommissioned one has no jobs either.

use dau_model::{Outcome, Word};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::job::Ending;
use crate::store::events::{self, kind, Subject};
use crate::store::sql::params;
use crate::store::{jobs, locks, Result, Write};

/// The words of all lives, for filters.
pub const WORDS: [&str; 4] = ["expected", "linked", "blocked", "decommissioned"];

/// The life that an operator gives a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// It is admitted again.
    Linked,
    /// It gets nothing, and nothing that it says counts; its jobs wait.
    Blocked,
    /// The same, for good: its jobs are ended.
    Decommissioned,
}

impl Life {
    fn barred(self) -> Option<&'static str> {
        match self {
            Life::Linked => None,
            Life::Blocked => Some("blocked"),
            Life::Decommissioned => Some("decommissioned"),
        }
    }
}

/// Bars a terminal, or admits it again, and records who did it and why; returns false if that was done
/// already, or the terminal is not known.
pub fn set(w: &Write<'_>, now: i64, id: &str, life: Life, by: &str, reason: &str) -> Result<bool> {
    locks::terminals(w, [id])?;
    let changed = w.execute(
        "UPDATE terminals SET barred = ?1, barred_told = FALSE, \
         link = CASE link WHEN 'up' THEN 'down' ELSE link END \
         WHERE id = ?2 AND barred IS DISTINCT FROM ?1",
        params![life.barred(), id],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    let detail = json!({"by": by, "life": life, "reason": reason});
    events::add(w, now, subject(id), kind::LIFE, &detail)?;
    if life != Life::Linked {
        w.execute(
            "DELETE FROM tokens WHERE job IN \
             (SELECT id FROM jobs WHERE terminal = ? AND state != 'finished')",
            params![id],
        )?;
    }
    if life == Life::Decommissioned {
        // The newest first: those that wait are not ordered once more.
        let jobs: Vec<i64> = w.all(
            "SELECT id FROM jobs WHERE terminal = ? AND state != 'finished' ORDER BY id DESC",
            params![id],
            |row| row.get(0),
        )?;
        for job in jobs {
            if let Some(job) = jobs::known(w, job)? {
                jobs::finish(w, now, &job, &ended(by), false)?;
            }
        }
    }
    Ok(true)
}

/// Notes a message of a barred terminal: the first one is recorded.
pub fn refuse(w: &Write<'_>, now: i64, id: &str) -> Result<()> {
    let is_first = w.execute(
        "UPDATE terminals SET barred_told = TRUE WHERE id = ? AND NOT barred_told",
        params![id],
    )?;
    match is_first {
        1 => {
            log::warn!("{id}: it is barred, and sends messages: they are refused");
            events::add(w, now, subject(id), kind::BARRED, &json!({}))
        }
        _ => Ok(()),
    }
}

fn subject(id: &str) -> Subject<'_> {
    Subject {
        terminal: Some(id),
        ..Subject::default()
    }
}

fn ended(by: &str) -> Ending {
    Ending::by_station(
        Outcome::Failed,
        dau_protocol::code::FAILED,
        Word::Abandoned,
        &format!("{by} decommissioned the terminal"),
    )
}
