//! Answers to requests with an Idempotency-Key: a repeated request gets the same answer and has no
//! effect.

use super::sql::params;
use super::{locks, Read, Result, Write};

/// Lifetime of an answer, seconds.
pub const KEPT: i64 = 24 * 3600;
/// Most answers, and bytes of answers, that are kept: the oldest go first.
const MOST: i64 = 1000;
const MOST_BYTES: i64 = 64 << 20;

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// SHA-256 of the request's content.
    pub digest: Vec<u8>,
    /// The HTTP status.
    pub status: u16,
    /// The content.
    pub answer: String,
}

/// Holds a key until the transaction ends, so that of two such requests at the same time one finds the
/// other's answer.
pub fn hold(w: &Write<'_>, by: &str, key: &str) -> Result<()> {
    locks::name(w, &format!("request of {by}: {key}"))
}

/// Returns the answer to an earlier request of the same token holder with this key.
pub fn find(r: &Read<'_>, now: i64, by: &str, key: &str) -> Result<Option<Answered>> {
    r.optional(
        "SELECT digest, status, answer FROM requests WHERE by = ? AND key = ? AND at > ?",
        params![by, key, now.saturating_sub(KEPT)],
        |row| {
            Ok(Answered {
                digest: row.get(0)?,
                status: row.get(1)?,
                answer: row.get(2)?,
            })
        },
    )
}

/// Stores an answer, and removes answers that are old or too many.
pub fn keep(w: &Write<'_>, now: i64, by: &str, key: &str, answered: &Answered) -> Result<()> {
    w.execute(
        "INSERT INTO requests (by, key, digest, at, status, answer) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (by, key) DO UPDATE SET digest = excluded.digest, at = excluded.at, \
         status = excluded.status, answer = excluded.answer",
        params![
            by,
            key,
            answered.digest,
            now,
            answered.status,
            answered.answer
        ],
    )?;
    // Answers from the future were written before the clock was set back.
    w.execute(
        "DELETE FROM requests WHERE at <= ?1 OR at > ?2",
        params![now.saturating_sub(KEPT), now],
    )?;
    w.execute(
        "DELETE FROM requests WHERE (by, key) IN (SELECT by, key FROM (SELECT by, key, \
         row_number() OVER newest AS number, sum(length(answer)) OVER newest AS bytes \
         FROM requests WINDOW newest AS (ORDER BY at DESC, key DESC)) AS ranked \
         WHERE number > 1 AND (number > ?1 OR bytes > ?2))",
        params![MOST, MOST_BYTES],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_kept_for_a_day_and_not_without_bound() {
        let (_dir, store) = crate::store::tests::store();
        let answered = |size: usize| Answered {
            digest: vec![1; 32],
            status: 201,
            answer: "x".repeat(size),
        };
        let done = store.write(move |w| {
            for index in 0..MOST + 10 {
                keep(
                    w,
                    100_000 + index,
                    "alice",
                    &index.to_string(),
                    &answered(1),
                )?;
            }
            let now = 101_100;
            let found = |key: &str, at| find(w, at, "alice", key).map(|found| found.is_some());
            assert_eq!((found("5", now)?, found("11", now)?), (false, true));
            assert_eq!(find(w, now, "bob", "11")?, None);
            assert!(!found("11", now + KEPT)?);
            for index in 0..10 {
                keep(
                    w,
                    now,
                    "alice",
                    &format!("large {index}"),
                    &answered(10 << 20),
                )?;
            }
            let bytes: i64 = w.one(
                "SELECT CAST(sum(length(answer)) AS BIGINT) FROM requests",
                params![],
                |row| row.get(0),
            )?;
            assert!(bytes <= MOST_BYTES, "{bytes}");
            assert!(found("large 9", now)? && !found("large 0", now)?);
            Ok::<_, crate::store::Error>(())
        });
        done.await.unwrap();
    }
}
