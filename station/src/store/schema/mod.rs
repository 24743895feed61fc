//! The steps from an empty database to the current schema. They lead forward only, and a step that
//! was released is never changed.

use anyhow::{ensure, Result};

use super::ids::Ids;
use super::sql::{params, Access, Connection, Sqlite, Transaction};
use super::{terminals, Read};

/// The steps of SQLite; `user_version` counts those taken.
const SQLITE: [&str; 18] = [
    include_str!("sqlite/1.sql"),
    include_str!("sqlite/2.sql"),
    include_str!("sqlite/3.sql"),
    include_str!("sqlite/4.sql"),
    include_str!("sqlite/5.sql"),
    include_str!("sqlite/6.sql"),
    include_str!("sqlite/7.sql"),
    include_str!("sqlite/8.sql"),
    include_str!("sqlite/9.sql"),
    include_str!("sqlite/10.sql"),
    include_str!("sqlite/11.sql"),
    include_str!("sqlite/12.sql"),
    include_str!("sqlite/13.sql"),
    include_str!("sqlite/14.sql"),
    include_str!("sqlite/15.sql"),
    include_str!("sqlite/16.sql"),
    include_str!("sqlite/17.sql"),
    include_str!("sqlite/18.sql"),
];

/// The steps of PostgreSQL; the table `version` counts those taken. The first is SQLite's 11.
const POSTGRESQL: [&str; 8] = [
    include_str!("postgresql/1.sql"),
    include_str!("postgresql/2.sql"),
    include_str!("postgresql/3.sql"),
    include_str!("postgresql/4.sql"),
    include_str!("postgresql/5.sql"),
    include_str!("postgresql/6.sql"),
    include_str!("postgresql/7.sql"),
    include_str!("postgresql/8.sql"),
];

/// Takes the steps that are left, each in a transaction of its own; returns the ids that follow those
/// in the database.
pub fn migrate(connection: &Connection) -> Result<Ids> {
    // The step that adds the keys of versions, which SQL cannot compute.
    let (steps, keys): (&[&str], usize) = match connection {
        Connection::Sqlite(_) => (&SQLITE, 13),
        Connection::Postgres(_) => (&POSTGRESQL, 3),
    };
    loop {
        connection.begin(Access::Write)?;
        let transaction = Transaction::of(connection);
        let taken = taken(connection)?;
        ensure!(
            taken <= steps.len(),
            "it was written by a newer dau-station (version {taken}; this one knows {}): use that one",
            steps.len()
        );
        let Some(step) = steps.get(taken) else {
            let ids = Ids::of(connection)?;
            transaction.commit()?;
            return Ok(ids);
        };
        connection.batch(step)?;
        let taken = taken.saturating_add(1);
        if taken == keys {
            add_keys(connection)?;
        }
        note(connection, taken)?;
        transaction.commit()?;
    }
}

/// Adds the keys of the versions that terminals have reported.
fn add_keys(connection: &Connection) -> Result<()> {
    for (column, key) in [
        ("version", "version_key"),
        ("kernel", "kernel_key"),
        ("recovery_version", "recovery_key"),
    ] {
        let sql = format!("SELECT DISTINCT {column} FROM terminals WHERE {column} != ''");
        let versions: Vec<String> = Read::new(connection).all(&sql, params![], |row| row.get(0))?;
        let sql = format!("UPDATE terminals SET {key} = ? WHERE {column} = ?");
        for version in versions {
            connection.execute(&sql, params![terminals::key(&version), version])?;
        }
    }
    Ok(())
}

/// Tells whether all steps were taken.
pub fn is_current(sqlite: &Sqlite) -> Result<bool> {
    Ok(sqlite.version()? == SQLITE.len())
}

/// Tells whether a migration to the database has not come to its end.
pub fn is_migrating(connection: &Connection) -> Result<bool> {
    if !connection.is_shared() {
        return Ok(false);
    }
    let sql = "SELECT to_regclass('migrating') IS NOT NULL";
    Ok(Read::new(connection).one(sql, params![], |row| row.get(0))?)
}

/// Returns the number of steps that were taken, and keeps others from taking any meanwhile.
fn taken(connection: &Connection) -> Result<usize> {
    if let Connection::Sqlite(sqlite) = connection {
        return Ok(sqlite.version()?);
    }
    // "dau" in ASCII.
    connection.batch("SELECT pg_advisory_xact_lock(6578549)")?;
    connection.batch("CREATE TABLE IF NOT EXISTS version (steps BIGINT NOT NULL)")?;
    let steps: Option<i64> =
        Read::new(connection).optional("SELECT steps FROM version", params![], |row| row.get(0))?;
    Ok(usize::try_from(steps.unwrap_or(0))?)
}

/// Notes that this many steps were taken.
fn note(connection: &Connection, steps: usize) -> Result<()> {
    if let Connection::Sqlite(sqlite) = connection {
        return Ok(sqlite.set_version(steps)?);
    }
    connection.execute("DELETE FROM version", params![])?;
    let steps = i64::try_from(steps)?;
    connection.execute("INSERT INTO version (steps) VALUES (?)", params![steps])?;
    Ok(())
}

#[cfg(test)]
mod tests;
