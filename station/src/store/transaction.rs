//! What an operation sees of the database.

use std::cell::RefCell;

use super::error::{Cause, Error, Result};
use super::events;
use super::ids::Ids;
use super::orders::Counts;
use super::sql::{Connection, Row, Value};

/// A consistent snapshot of the database.
#[derive(Debug)]
pub struct Read<'a> {
    connection: &'a Connection,
}

impl<'a> Read<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Read { connection }
    }

    /// Tells whether others write at the same time, see [`super::locks`].
    pub(super) fn is_shared(&self) -> bool {
        self.connection.is_shared()
    }

    /// Returns the rows of a result.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.connection.query(sql, params, &mut |row| {
            found.push(map(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the first row of a result, if it has any.
    pub(super) fn optional<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.connection.query(sql, params, &mut |row| {
            if found.is_none() {
                found = Some(map(row)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the first row of a result, which must have one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.optional(sql, params, map)?
            .ok_or_else(|| Error::new(Cause::Data, format!("nothing is found by: {sql}")))
    }

    /// Tells whether a result has rows.
    pub(super) fn exists(&self, sql: &str, params: &[Value<'_>]) -> Result<bool> {
        Ok(self.optional(sql, params, |_| Ok(()))?.is_some())
    }
}

/// A write transaction.
#[derive(Debug)]
pub struct Write<'a> {
    read: Read<'a>,
    ids: &'a Ids,
    counts: Counts,
    pub(super) pending: RefCell<Pending>,
}

/// What a transaction does at its end, where it holds for the shortest time what others wait for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// What it adds to the record.
    pub events: Vec<events::Draft>,
}

impl<'a> Write<'a> {
    pub(super) fn new(connection: &'a Connection, ids: &'a Ids) -> Self {
        Write {
            read: Read::new(connection),
            ids,
            counts: Counts::default(),
            pending: RefCell::default(),
        }
    }

    /// Returns a new id, see [`Ids`].
    pub fn next_id(&self) -> Result<i64> {
        self.ids.next(self)
    }

    /// Returns the changes of orders' counters.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Writes what was gathered until the end of the transaction; what all others wait for comes last.
    pub(super) fn finish(&self) -> Result<()> {
        self.counts.write(self)?;
        events::write(self)
    }

    /// Executes a statement; returns the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize> {
        self.read.connection.execute(sql, params)
    }
}

/// Any function that reads takes a write transaction as well.
impl<'a> std::ops::Deref for Write<'a> {
    type Target = Read<'a>;

    fn deref(&self) -> &Read<'a> {
        &self.read
    }
}
