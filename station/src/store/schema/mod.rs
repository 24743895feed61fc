//! The steps from an empty database to the current schema. They lead forward only, and a step that
//! was released is never changed.

use anyhow::{ensure, Result};

use super::sql::{Access, Connection, Sqlite};

/// The steps of SQLite; `user_version` counts those taken.
const SQLITE: [&str; 10] = [
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
];

/// Takes the steps that are left, each in a transaction of its own.
pub fn migrate(sqlite: Sqlite) -> Result<Connection> {
    let connection = Connection::Sqlite(sqlite);
    let Connection::Sqlite(sqlite) = &connection;
    let taken = sqlite.version()?;
    ensure!(
        taken <= SQLITE.len(),
        "it was written by a newer dau-station (version {taken}; this one knows {}): use that one",
        SQLITE.len()
    );
    for (version, step) in (1_usize..).zip(SQLITE).skip(taken) {
        let transaction = connection.begin(Access::Write)?;
        sqlite.batch(step)?;
        sqlite.set_version(version)?;
        transaction.commit()?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests;
