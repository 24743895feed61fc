//! Several stations on one database: what they must know of each other.

use super::sql::params;
use super::{Result, Write};

/// Seconds after which a station that says nothing is not waited for.
const SILENCE: i64 = 10;

/// Notes that this station is there, and up to when it has heard terminals. Returns up to when all
/// stations have: an answer to what one of them sent may wait for another.
pub fn note(w: &Write<'_>, name: &str, now: i64, heard: i64) -> Result<i64> {
    w.execute(
        "INSERT INTO stations (name, seen_at, heard_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, heard_at = excluded.heard_at",
        params![name, now, heard],
    )?;
    w.one(
        "SELECT min(heard_at) FROM stations WHERE seen_at BETWEEN ? AND ?",
        params![now.saturating_sub(SILENCE), now.saturating_add(SILENCE)],
        |row| row.get(0),
    )
}

/// Removes stations that were not there for a day.
pub fn purge(w: &Write<'_>, now: i64) -> Result<()> {
    let sql = "DELETE FROM stations WHERE seen_at < ?";
    w.run(sql, params![now.saturating_sub(86_400)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{tests, Error};

    #[tokio::test]
    async fn the_slowest_station_counts_as_long_as_it_is_there() {
        let (_dir, store) = tests::store();
        let checked = store.write(|w| {
            assert_eq!(note(w, "a", 100, 99)?, 99);
            assert_eq!(note(w, "b", 101, 60)?, 60);
            assert_eq!(note(w, "a", 102, 102)?, 60);
            assert_eq!(note(w, "a", 111, 111)?, 60);
            assert_eq!(note(w, "a", 112, 112)?, 112);
            // Its clock is wrong.
            assert_eq!(note(w, "c", 9999, 3)?, 3);
            assert_eq!(note(w, "a", 113, 113)?, 113);
            purge(w, 86_513)?;
            assert_eq!(tests::number(w, "SELECT count(*) FROM stations")?, 2);
            Ok::<_, Error>(())
        });
        checked.await.unwrap();
    }
}
