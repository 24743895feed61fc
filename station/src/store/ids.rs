//! Ids of jobs, orders and messages: they never repeat, whichever station makes them, across
//! restarts and lost databases too, as terminals remember the ids of jobs; and they stay below 2^53,
//! so that every JSON reader can hold them.

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::{Cause, Error, Result};
use super::sql::{params, Connection};
use super::{lock, Read};
use crate::clock;

/// Ids taken from the sequence at once, as the schema's first step says.
const BLOCK: i64 = 1000;
/// Longest use of a block, so that ids of several stations grow with the time.
const FRESH: Duration = Duration::from_secs(1);

/// The source of ids.
#[derive(Debug)]
pub enum Ids {
    /// SQLite has one station.
    Clock(clock::Ids),
    /// What is left of a block of PostgreSQL's sequence `ids`, and when it was taken.
    Sequence(Mutex<(Range<i64>, Instant)>),
}

impl Ids {
    /// Returns the ids of a database, after all that it holds and after the clock.
    pub fn of(connection: &Connection) -> Result<Self> {
        let last = last(&Read::new(connection))?;
        if !connection.is_shared() {
            return Ok(Ids::Clock(clock::Ids::after(last)));
        }
        // A database that was restored from a backup is behind its terminals. Until the commit, this
        // keeps other stations from the sequence.
        connection.batch("ALTER SEQUENCE ids CACHE 1")?;
        let sql = "SELECT last_value FROM ids";
        let given: i64 = Read::new(connection).one(sql, params![], |row| row.get(0))?;
        let next = clock::Ids::after(last.max(given.saturating_add(BLOCK))).next();
        connection.batch(&format!("ALTER SEQUENCE ids RESTART WITH {next}"))?;
        Ok(Ids::Sequence(Mutex::new((0..0, Instant::now()))))
    }

    /// Returns the next id.
    pub fn next(&self, r: &Read<'_>) -> Result<i64> {
        let block = match self {
            Ids::Clock(ids) => return Ok(ids.next()),
            Ids::Sequence(block) => block,
        };
        let mut block = lock(block);
        let (ids, taken) = &mut *block;
        if ids.is_empty() || taken.elapsed() > FRESH {
            let first: i64 = r.one("SELECT nextval('ids')", params![], |row| row.get(0))?;
            (*ids, *taken) = (first..first.saturating_add(BLOCK), Instant::now());
        }
        ids.next()
            .ok_or_else(|| Error::new(Cause::Other, "there are no more ids"))
    }
}

/// Returns the largest id so far.
fn last(r: &Read<'_>) -> Result<i64> {
    let sql =
        "SELECT coalesce(max(id), 0) FROM jobs UNION ALL SELECT coalesce(max(mid), 0) FROM outbox \
        UNION ALL SELECT coalesce(max(id), 0) FROM orders";
    let ids: Vec<i64> = r.all(sql, params![], |row| row.get(0))?;
    Ok(ids.into_iter().max().unwrap_or(0))
}
