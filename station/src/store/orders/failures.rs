//! The failures of an order, by word.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::sql::params;
use crate::store::{Read, Result};
use crate::words;

/// Most groups.
const MOST: u32 = 50;
/// Most terminals that a group names.
const NAMED: u32 = 5;

/// Jobs of an order that ended with the same outcome and word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The word of its [`dau_model::Outcome`].
    #[schema(schema_with = words::outcomes)]
    pub outcome: String,
    /// Reason for machines, such as `signer-unknown`.
    pub word: String,
    /// Number of jobs.
    pub jobs: u64,
    /// Up to five of the terminals.
    pub terminals: Vec<String>,
}

/// Returns the failures of an order, the most frequent first.
pub fn failures(r: &Read<'_>, order: i64) -> Result<Vec<Failure>> {
    let mut groups = r.all(
        "SELECT outcome, word, count(*) FROM jobs WHERE order_id = ? AND state = 'finished' \
         AND outcome NOT IN ('success', 'cancelled') \
         GROUP BY outcome, word ORDER BY count(*) DESC, outcome, word LIMIT ?",
        params![order, MOST],
        |row| {
            Ok(Failure {
                outcome: row.get(0)?,
                word: row.get(1)?,
                jobs: u64::try_from(row.get::<i64>(2)?).unwrap_or(0),
                terminals: Vec::new(),
            })
        },
    )?;
    for group in &mut groups {
        group.terminals = r.all(
            "SELECT terminal FROM jobs WHERE order_id = ? AND state = 'finished' AND outcome = ? \
             AND word = ? ORDER BY id LIMIT ?",
            params![order, group.outcome, group.word, NAMED],
            |row| row.get(0),
        )?;
    }
    Ok(groups)
}
