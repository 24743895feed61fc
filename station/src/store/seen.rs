//! Terminals that sent messages.

use std::collections::{BTreeSet, HashMap};

use super::sql::{Row, ToValue};
use super::{Result, Write};

/// What is known of a terminal that sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it never reported its properties, and is not to be asked yet.
    pub is_unknown: bool,
    /// Whether an operator barred it, see [`super::terminals::life`].
    pub is_barred: bool,
    /// The job of another station that it said it is busy with.
    pub busy_with: Option<i64>,
}

/// Notes messages from terminals, adds those that are not known, and locks all of them.
pub fn heard<'t>(
    w: &Write<'_>,
    now: i64,
    terminals: impl IntoIterator<Item = &'t str>,
) -> Result<HashMap<String, Seen>> {
    // In the order of their ids, see `locks`.
    let terminals: BTreeSet<&str> = terminals.into_iter().collect();
    let terminals: Vec<&str> = terminals.into_iter().collect();
    let seen = |row: &Row<'_>| {
        let seen = Seen {
            is_unknown: row.get(1)?,
            busy_with: row.get(2)?,
            is_barred: row.get(3)?,
        };
        Ok((row.get(0)?, seen))
    };
    let found = w.for_rows(
        &terminals,
        "(?, ?, ?)",
        |rows| {
            format!(
                "INSERT INTO terminals (id, registered_at, last_seen) VALUES {rows} \
                 ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen \
                 RETURNING id, link_up IS NULL AND ask_at IS NULL, busy_with, barred IS NOT NULL"
            )
        },
        |id| [id.to_value(), now.to_value(), now.to_value()],
        seen,
    )?;
    Ok(found.into_iter().collect())
}
