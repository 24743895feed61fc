//! The databases behind [`super::Store`]: connections that take one SQL text, whichever database it
//! is.
//!
//! Parameters are written `?1` or `?`, as SQLite has them. What is in the standard, or in both
//! databases, is written once; the connections have the rest.

use super::error::Result;

mod postgres;
mod sqlite;
mod value;

pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use value::{FromValue, Owned, ToValue, Value};

/// Makes the list of a statement's parameters.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::ToValue::to_value(&$value)),*] as &[$crate::store::sql::Value<'_>]
    };
}
pub(in crate::store) use params;

/// A row of a result.
#[derive(Debug)]
pub enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// Returns the column with this index.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T> {
        match self {
            Row::Sqlite(row) => sqlite::column(row, index),
            Row::Postgres(row) => postgres::column(row, index),
        }
    }
}

/// Whether a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It sees one consistent snapshot.
    Read,
    Write,
}

/// A connection to a database.
#[derive(Debug)]
pub enum Connection {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Connection {
    /// Begins a transaction, for [`Transaction::of`].
    pub fn begin(&self, access: Access) -> Result<()> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.begin(access),
            Connection::Postgres(postgres) => postgres.begin(access),
        }
    }

    /// Tells whether the connection can be used again.
    pub fn is_usable(&self) -> bool {
        match self {
            Connection::Sqlite(_) => true,
            Connection::Postgres(postgres) => postgres.is_usable(),
        }
    }

    /// Executes statements without parameters.
    pub fn batch(&self, sql: &str) -> Result<()> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.batch(sql),
            Connection::Postgres(postgres) => postgres.batch(sql),
        }
    }

    /// Tells whether others write at the same time: SQLite has one writer.
    pub fn is_shared(&self) -> bool {
        matches!(self, Connection::Postgres(_))
    }

    /// Executes a statement; returns the number of rows that it changed.
    pub fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.execute(sql, params),
            Connection::Postgres(postgres) => postgres.execute(sql, params),
        }
    }

    /// Executes a statement, on PostgreSQL with the next one that has an answer to wait for: an error
    /// comes from that.
    pub fn run(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.execute(sql, params).map(drop),
            Connection::Postgres(postgres) => postgres.run(sql, params),
        }
    }

    /// Passes the rows of a statement's result to `each`, until that fails.
    pub fn query(
        &self,
        sql: &str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Connection::Sqlite(sqlite) => sqlite.query(sql, params, each),
            Connection::Postgres(postgres) => postgres.query(sql, params, each),
        }
    }
}

/// A transaction; dropping it rolls back.
#[derive(Debug)]
pub struct Transaction<'a> {
    connection: &'a Connection,
    open: bool,
}

impl<'a> Transaction<'a> {
    /// Returns the transaction that was begun on a connection.
    pub fn of(connection: &'a Connection) -> Self {
        Transaction {
            connection,
            open: true,
        }
    }

    /// Commits; what was done is on disk then.
    pub fn commit(mut self) -> Result<()> {
        match self.connection {
            Connection::Sqlite(sqlite) => sqlite.commit()?,
            Connection::Postgres(postgres) => postgres.commit()?,
        }
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            match self.connection {
                Connection::Sqlite(sqlite) => sqlite.roll_back(),
                Connection::Postgres(postgres) => postgres.roll_back(),
            }
        }
    }
}
