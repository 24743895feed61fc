//! Connections to SQLite.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags};

use super::{Access, FromValue, Row, Value};
use crate::store::error::{Cause, Error, Result};

/// The writer's page cache, KiB: large enough that a large order need not write pages twice.
const WRITER_CACHE: i64 = 32 << 10;
/// Statements that a connection keeps prepared: more than the station has.
const STATEMENTS: usize = 256;
/// Longest wait for another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to SQLite.
#[derive(Debug)]
pub struct Sqlite(rusqlite::Connection);

impl Sqlite {
    /// Opens or creates a database. What is committed is on disk (WAL with synchronous=FULL).
    pub fn open_writer(path: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(Sqlite(connection))
    }

    /// Opens a database for reading.
    pub fn open_reader(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Sqlite(connection))
    }

    /// Returns the number of the schema's steps that were taken.
    pub fn version(&self) -> Result<usize> {
        let version = self
            .0
            .pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(version)
    }

    /// Notes that this many of the schema's steps were taken.
    pub fn set_version(&self, version: usize) -> Result<()> {
        Ok(self.0.pragma_update(None, "user_version", version)?)
    }

    /// Executes statements without parameters.
    pub fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.0.execute_batch(sql)?)
    }

    pub(super) fn begin(&self, access: Access) -> Result<()> {
        self.batch(match access {
            Access::Read => "BEGIN",
            Access::Write => "BEGIN IMMEDIATE",
        })
    }

    pub(super) fn commit(&self) -> Result<()> {
        self.batch("COMMIT")
    }

    /// Rolls back, unless SQLite has done so itself, as it does when the disk is full.
    pub(super) fn roll_back(&self) {
        if !self.0.is_autocommit() {
            if let Err(error) = self.batch("ROLLBACK") {
                log::error!("a transaction cannot be rolled back: {error}");
            }
        }
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize> {
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(params))?)
    }

    pub(super) fn query(
        &self,
        sql: &str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            each(&Row::Sqlite(row))?;
        }
        Ok(())
    }
}

/// Returns the column with this index.
pub(super) fn column<T: FromValue>(row: &rusqlite::Row<'_>, index: usize) -> Result<T> {
    let value = match row.get_ref(index)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(bytes) => Value::Text(
            std::str::from_utf8(bytes)
                .map_err(|_| Error::new(Cause::Data, "a column holds text that is not UTF-8"))?,
        ),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
        ValueRef::Real(_) => return Err(Error::new(Cause::Data, "a column holds a fraction")),
    };
    T::from_value(value)
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Bool(is) => ValueRef::Integer(is.into()),
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use ErrorCode::{
            CannotOpen, ConstraintViolation, DatabaseBusy, DatabaseCorrupt, DatabaseLocked,
            DiskFull, NotADatabase, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
            TooBig, TypeMismatch,
        };
        let cause = match error.sqlite_error_code() {
            None | Some(ConstraintViolation | TooBig | TypeMismatch) => Cause::Data,
            Some(DiskFull) => Cause::DiskFull,
            Some(DatabaseBusy | DatabaseLocked) => Cause::Busy,
            Some(
                CannotOpen | DatabaseCorrupt | NotADatabase | OutOfMemory | PermissionDenied
                | ReadOnly | SystemIoFailure,
            ) => Cause::Away,
            Some(_) => Cause::Other,
        };
        Error::new(cause, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn the_cause_of_an_error_is_known() {
        for (code, cause) in [
            (ffi::SQLITE_FULL, Cause::DiskFull),
            (ffi::SQLITE_BUSY, Cause::Busy),
            (ffi::SQLITE_LOCKED, Cause::Busy),
            (ffi::SQLITE_READONLY, Cause::Away),
            (ffi::SQLITE_IOERR, Cause::Away),
            (ffi::SQLITE_CORRUPT, Cause::Away),
            (ffi::SQLITE_CONSTRAINT, Cause::Data),
            (ffi::SQLITE_ERROR, Cause::Other),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(Error::from(error).cause(), cause, "{code}");
        }
    }
}
