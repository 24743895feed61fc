//! Chooses the file that a terminal downloads for a job: the package, or a delta to it.
//!
//! One file for a job: what was sent is never exchanged, since a terminal that has begun with one
//! cannot go on with another.

use dau_model::{Outcome, Word};
use dau_protocol::code;

use crate::job::Ending;
use crate::store::sql::{params, Row};
use crate::store::{locks, Read, Result};

/// Words of refused and failed jobs that say nothing of the file: a terminal that ended a delta's job
/// by any other word gets no more of that delta. Its base may be damaged, its signer unknown there,
/// its RecoveryOS too old; the package may still do.
const NOT_THE_FILE: [Word; 19] = [
    Word::Order,
    Word::Url,
    Word::Policy,
    Word::Expired,
    Word::Cancelled,
    Word::Abandoned,
    Word::UnknownToTerminal,
    Word::NotFound,
    Word::HttpStatus,
    Word::NoLength,
    Word::Redirected,
    Word::NotAPackage,
    Word::Unauthorized,
    Word::Download,
    Word::Budget,
    Word::Backup,
    Word::Boot,
    Word::System,
    Word::Keyring,
];

/// A file at the station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The package's id.
    pub id: i64,
    /// Bytes.
    pub size: u64,
}

/// Returns the smaller file for a job that is about to be ordered, unless the budget does not cover even that.
///
/// # Errors
/// How the job ends.
pub fn choose(
    full: Candidate,
    delta: Option<Candidate>,
    budget: Option<u64>,
) -> std::result::Result<Candidate, Ending> {
    let file = delta.filter(|delta| delta.size < full.size).unwrap_or(full);
    match budget.filter(|budget| *budget < file.size) {
        None => Ok(file),
        Some(budget) => Err(beyond(file, file != full, budget)),
    }
}

fn beyond(file: Candidate, is_delta: bool, budget: u64) -> Ending {
    let what = match is_delta {
        true => "the delta",
        false => "no delta fits this terminal, and the whole package",
    };
    let text = format!(
        "{what} has {} bytes, more than the budget of {budget}: nothing was sent; order with a higher \
         budget, or make a delta from what the terminal keeps",
        file.size
    );
    Ending::by_station(Outcome::Refused, code::REFUSED, Word::Budget, &text)
}

/// Tells whether there are deltas to the package.
pub fn has_deltas(r: &Read<'_>, package: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM packages p JOIN packages d ON d.target = p.manifest_sha256 \
        WHERE p.id = ? AND d.removed_at IS NULL LIMIT 1";
    r.exists(sql, params![package])
}

/// Returns the smallest delta to the package that starts from one that the terminal keeps; `kept` are
/// the digests of those, a JSON list.
pub fn fitting(
    r: &Read<'_>,
    package: i64,
    terminal: &str,
    kept: &str,
) -> Result<Option<Candidate>> {
    let kept: Vec<String> = serde_json::from_str(kept).unwrap_or_default();
    if kept.is_empty() {
        return Ok(None);
    }
    let others = NOT_THE_FILE.map(|word| format!("'{word}'")).join(", ");
    let (refused, failed) = (Outcome::Refused.word(), Outcome::Failed.word());
    let keep = locks::keep(r, "d");
    let sql = format!(
        "SELECT d.id, d.size, d.base FROM packages p JOIN packages d \
         ON d.target = p.manifest_sha256 WHERE p.id = ?1 AND d.removed_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM jobs f WHERE f.terminal = ?2 AND f.offered = d.id \
         AND f.state = 'finished' AND f.outcome IN ('{refused}', '{failed}') \
         AND f.word NOT IN ({others})) ORDER BY d.size{keep}"
    );
    let deltas: Vec<(Candidate, String)> = r.all(&sql, params![package, terminal], |row| {
        Ok((candidate(row)?, row.get(2)?))
    })?;
    let mut fitting = deltas.into_iter().filter(|(_, base)| kept.contains(base));
    Ok(fitting.next().map(|(delta, _)| delta))
}

fn candidate(row: &Row<'_>) -> Result<Candidate> {
    let size = u64::try_from(row.get::<i64>(1)?).unwrap_or(0);
    Ok(Candidate {
        id: row.get(0)?,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_file_is_offered_and_none_beyond_the_budget() {
        let file = |id, size| Candidate { id, size };
        let full = file(1, 41_000_000);
        let (small, large) = (Some(file(2, 2_300_000)), Some(file(3, 41_000_000)));
        for (delta, budget, chosen) in [
            (None, None, Some(1)),
            (None, Some(41_000_000), Some(1)),
            (None, Some(40_999_999), None),
            (small, None, Some(2)),
            (small, Some(3_000_000), Some(2)),
            (small, Some(2_299_999), None),
            (large, None, Some(1)),
            (large, Some(3_000_000), None),
        ] {
            let found = choose(full, delta, budget);
            assert_eq!(
                found.as_ref().ok().map(|file| file.id),
                chosen,
                "{delta:?} {budget:?}"
            );
            if let Err(ending) = found {
                assert_eq!(ending.reason.word, Word::Budget);
                assert_eq!(ending.outcome, Outcome::Refused);
            }
        }
    }
}
