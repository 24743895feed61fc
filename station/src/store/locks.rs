//! Locks, for databases to which several write at the same time.
//!
//! All that belongs to a terminal (its row, jobs, commands, tokens) is changed by the holder of the
//! lock on the terminal's row, so an operation sees nothing change but by itself. Who needs several
//! terminals locks them at once, in the order of their ids; who takes what is due passes over those
//! that others hold. So nobody waits in a circle. On SQLite the one writer holds everything.

use std::collections::BTreeSet;

use super::sql::params;
use super::{Read, Result, Write};

/// Locks these terminals; one that is not known is not locked.
pub fn terminals<'t>(w: &Write<'_>, ids: impl IntoIterator<Item = &'t str>) -> Result<()> {
    if !w.is_shared() {
        return Ok(());
    }
    // Ids have no commas.
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let ids = ids.into_iter().collect::<Vec<_>>().join(",");
    let sql =
        "SELECT id FROM terminals WHERE id = ANY (string_to_array(?, ',')) ORDER BY id COLLATE \"C\" FOR NO KEY UPDATE";
    w.all(sql, params![ids], |_| Ok(())).map(drop)
}

/// Locks all terminals.
pub fn all_terminals(w: &Write<'_>) -> Result<()> {
    if !w.is_shared() {
        return Ok(());
    }
    let sql = "SELECT id FROM terminals ORDER BY id COLLATE \"C\" FOR NO KEY UPDATE";
    w.all(sql, params![], |_| Ok(())).map(drop)
}

/// Locks the terminals of these jobs.
pub fn terminals_of(w: &Write<'_>, jobs: impl IntoIterator<Item = i64>) -> Result<()> {
    if !w.is_shared() {
        return Ok(());
    }
    let jobs: Vec<String> = jobs.into_iter().map(|id| id.to_string()).collect();
    let sql = "SELECT id FROM terminals WHERE id IN (SELECT terminal FROM jobs \
        WHERE id = ANY (string_to_array(?, ',')::bigint[])) ORDER BY id COLLATE \"C\" FOR NO KEY UPDATE";
    w.all(sql, params![jobs.join(",")], |_| Ok(())).map(drop)
}

/// Holds a name until the transaction ends.
pub fn name(w: &Write<'_>, name: &str) -> Result<()> {
    if !w.is_shared() {
        return Ok(());
    }
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(?, 0)) IS NULL";
    w.one(sql, params![name], |_| Ok(()))
}

/// Returns the end of a SELECT that claims rows of these tables, passing over those that others hold.
pub fn claim(r: &Read<'_>, tables: &str) -> String {
    match r.is_shared() {
        true => format!(" FOR NO KEY UPDATE OF {tables} SKIP LOCKED"),
        false => String::new(),
    }
}

/// Returns the end of a SELECT that holds its rows until the transaction ends.
pub fn hold(r: &Read<'_>) -> &'static str {
    match r.is_shared() {
        true => " FOR NO KEY UPDATE",
        false => "",
    }
}

/// Returns the end of a SELECT whose rows of these tables shall not be removed until the transaction
/// ends.
pub fn keep(r: &Read<'_>, tables: &str) -> String {
    match r.is_shared() {
        true => format!(" FOR KEY SHARE OF {tables}"),
        false => String::new(),
    }
}

/// Returns the end of a SELECT that waits for those who keep the rows.
pub fn exclude(r: &Read<'_>) -> &'static str {
    match r.is_shared() {
        true => " FOR UPDATE",
        false => "",
    }
}
