//! Adjusts stored times after a jump of the clock.
//!
//! Times are stored as seconds of the clock, so after a jump everything could expire at once, or
//! nothing happen for years. A jump that the running station notices shifts them ([`shift`]); after
//! a downtime, in which no jump is noticed, the longest pause bounds them ([`settle`]). The record
//! keeps the times that the clock showed.

use super::sql::params;
use super::{locks, rollouts, terminals, Result, Write};
use crate::config::Config;

/// A time, seconds since 1970 by the clock.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: i64,
    /// What terminals sent until then has been taken in; what they sent later may wait at the broker.
    pub heard: i64,
}

/// Seconds from a refusal to the job's end, see [`super::jobs::finish_soon`].
pub const RESULT_AFTER_REFUSAL: i64 = 3;
/// Least seconds between two commands of a kind for one job, however often the terminal causes one.
pub const LEAST_PAUSE: i64 = 5;
/// Most doublings of the time between two questions to a silent terminal.
pub const MOST_DOUBLINGS: u32 = 6;
/// Orders of the last seconds were given after the jump already.
const JUST_NOW: i64 = 5;

/// Longest time between two stations' notice of one jump.
const ONE_JUMP: i64 = 60;
/// Largest difference between their sizes of it.
const SAME: i64 = 2;

/// Shifts all due times by the seconds that the clock jumped; `now` is the time after the jump.
/// Several stations notice the same jump: the first one shifts. Returns whether it was this one.
pub fn shift(w: &Write<'_>, now: i64, by: i64, station: &str) -> Result<bool> {
    locks::name(w, "clock")?;
    let known = w.exists(
        "SELECT 1 FROM jumps WHERE at BETWEEN ? AND ? AND seconds BETWEEN ? AND ? AND station != ?",
        params![
            now.saturating_sub(ONE_JUMP),
            now.saturating_add(ONE_JUMP),
            by.saturating_sub(SAME),
            by.saturating_add(SAME),
            station
        ],
    )?;
    if known {
        return Ok(false);
    }
    w.run(
        "INSERT INTO jumps (id, at, seconds, station) VALUES (1, ?, ?, ?) ON CONFLICT (id) \
         DO UPDATE SET at = excluded.at, seconds = excluded.seconds, station = excluded.station",
        params![now, by, station],
    )?;
    locks::all_terminals(w)?;
    for sql in [
        "UPDATE outbox SET send_at = send_at + ?1, put_at = put_at + ?1 WHERE put_at \
         NOT BETWEEN ?2 AND ?3",
        "UPDATE jobs SET query_at = query_at + ?1, not_before = not_before + ?1, \
         ends_at = ends_at + ?1, expires_at = expires_at + ?1 WHERE state != 'finished' \
         AND created_at NOT BETWEEN ?2 AND ?3",
        "UPDATE orders SET expires_at = expires_at + ?1 WHERE state = 'making' \
         AND created_at NOT BETWEEN ?2 AND ?3",
        "UPDATE rollouts SET expires_at = expires_at + ?1 WHERE state != 'ended' \
         AND created_at NOT BETWEEN ?2 AND ?3",
        "UPDATE tokens SET expires_at = expires_at + ?1 WHERE CAST(?2 AS BIGINT) <= CAST(?3 AS BIGINT)",
        "UPDATE terminals SET last_seen = last_seen + ?1, ask_at = ask_at + ?1 \
         WHERE last_seen NOT BETWEEN ?2 AND ?3",
    ] {
        w.run(sql, params![by, now.saturating_sub(JUST_NOW), now])?;
    }
    rollouts::look_again(w)?;
    Ok(true)
}

/// Limits all due times to `now` plus their longest pause.
pub fn settle(w: &Write<'_>, now: i64, config: &Config) -> Result<()> {
    let jobs = &config.jobs;
    let later = |seconds: i64| now.saturating_add(seconds);
    let resend = seconds(jobs.resend_most_seconds).max(LEAST_PAUSE);
    let query = seconds(jobs.query_seconds);
    let token = seconds(config.downloads.token_seconds);
    for (sql, bound, instead) in [
        (
            "UPDATE outbox SET send_at = ?2 WHERE send_at > ?1",
            later(resend),
            now,
        ),
        (
            "UPDATE jobs SET query_at = ?2 WHERE query_at > ?1",
            later(longest_query(query)),
            later(query),
        ),
        (
            "UPDATE jobs SET not_before = ?2 WHERE state = 'queued' AND not_before > ?1",
            later(seconds(jobs.busy_seconds)),
            now,
        ),
        (
            "UPDATE jobs SET ends_at = ?2 WHERE ends_at > ?1",
            later(RESULT_AFTER_REFUSAL),
            later(RESULT_AFTER_REFUSAL),
        ),
        (
            "UPDATE jobs SET expires_at = ?2 + expire WHERE state IN ('queued', 'ordered') \
             AND expires_at > ?1 + expire",
            now,
            now,
        ),
        (
            "UPDATE orders SET expires_at = ?2 + expire WHERE state = 'making' \
             AND expires_at > ?1 + expire",
            now,
            now,
        ),
        (
            "UPDATE tokens SET expires_at = ?2 WHERE expires_at > ?1",
            later(token),
            later(token),
        ),
        (
            "UPDATE terminals SET last_seen = ?2 WHERE last_seen > ?1",
            now,
            now,
        ),
        (
            "UPDATE terminals SET ask_at = ?2 WHERE ask_at > ?1",
            later(terminals::LONGEST_ASK_PAUSE),
            now,
        ),
        ("UPDATE requests SET at = ?2 WHERE at > ?1", now, now),
    ] {
        w.run(sql, params![bound, instead])?;
    }
    rollouts::look_again(w)
}

/// Returns the longest time between two questions if the first comes after `query` seconds.
fn longest_query(query: i64) -> i64 {
    query.saturating_mul(1_i64.checked_shl(MOST_DOUBLINGS).unwrap_or(1))
}

/// Returns `now` plus `pause` seconds.
pub fn after(now: i64, pause: u64) -> i64 {
    now.saturating_add(seconds(pause))
}

/// Converts a setting in seconds.
pub fn seconds(setting: u64) -> i64 {
    i64::try_from(setting).unwrap_or(i64::MAX)
}
