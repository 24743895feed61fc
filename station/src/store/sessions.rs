//! Sessions of the page. They are in the database, so that neither a restart nor another station ends
//! them; only digests of their secrets are stored.

use openssl::sha::sha256;

use super::sql::params;
use super::{Read, Result, Write};

/// Most seconds that a session lasts.
pub const LONGEST: i64 = 8 * 3600;
/// Difference between the clocks of several stations that is borne, seconds.
const SLACK: i64 = 600;
/// Most sessions of a token: the oldest go first.
const MOST: i64 = 20;

/// Begins a session of the holder of the token with the SHA-256 `token`.
pub fn begin(w: &Write<'_>, secret: &str, token: &[u8], ends_at: i64) -> Result<()> {
    let hash = sha256(secret.as_bytes());
    w.execute(
        "INSERT INTO sessions (hash, token, ends_at) VALUES (?, ?, ?)",
        params![hash, token.to_vec(), ends_at],
    )?;
    w.execute(
        "DELETE FROM sessions WHERE token = ?1 AND hash <> ?2 AND hash NOT IN (SELECT hash FROM \
         sessions WHERE token = ?1 AND hash <> ?2 ORDER BY ends_at DESC, hash LIMIT ?3)",
        params![token.to_vec(), hash, MOST.saturating_sub(1)],
    )?;
    Ok(())
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the token that began it.
    pub token: Vec<u8>,
    /// Time when it ends.
    pub ends_at: i64,
}

/// Returns the session with this secret, unless it has ended by `now`, or lasts longer than any may since
/// the clock was set back.
pub fn find(r: &Read<'_>, secret: &str, now: i64) -> Result<Option<Session>> {
    r.optional(
        "SELECT token, ends_at FROM sessions WHERE hash = ? AND ends_at > ? AND ends_at <= ?",
        params![sha256(secret.as_bytes()), now, latest(now)],
        |row| {
            Ok(Session {
                token: row.get(0)?,
                ends_at: row.get(1)?,
            })
        },
    )
}

/// Ends a session.
pub fn end(w: &Write<'_>, secret: &str) -> Result<()> {
    let hash = sha256(secret.as_bytes());
    w.execute("DELETE FROM sessions WHERE hash = ?", params![hash])?;
    Ok(())
}

/// Removes sessions that have ended.
pub fn purge(w: &Write<'_>, now: i64) -> Result<usize> {
    w.execute(
        "DELETE FROM sessions WHERE ends_at <= ? OR ends_at > ?",
        params![now, latest(now)],
    )
}

fn latest(now: i64) -> i64 {
    now.saturating_add(LONGEST + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_lasts_until_its_end_or_its_logout_and_there_are_few() {
        let (_dir, store) = crate::store::tests::store();
        let done = store.write(move |w| {
            let there = |secret: &str, now| find(w, secret, now).map(|found| found.is_some());
            begin(w, "a", b"alice", 100)?;
            begin(w, "b", b"bob", 200)?;
            let alice = Session {
                token: b"alice".to_vec(),
                ends_at: 100,
            };
            assert_eq!(find(w, "a", 99)?, Some(alice));
            assert_eq!((there("a", 100)?, there("", 99)?), (false, false));
            assert!(
                !there("b", 199 - LONGEST - SLACK)?,
                "the clock was set back"
            );
            assert_eq!(purge(w, 100)?, 1);
            end(w, "b")?;
            assert!(!there("b", 99)?);
            for index in 0..MOST + 5 {
                begin(w, &format!("c{index}"), b"carol", 300 + index)?;
            }
            assert_eq!((there("c4", 250)?, there("c5", 250)?), (false, true));
            // The newest stays, even where it ends first.
            begin(w, "short", b"carol", 299)?;
            assert_eq!((there("short", 250)?, there("c5", 250)?), (true, false));
            Ok::<_, crate::store::Error>(())
        });
        done.await.unwrap();
    }
}
