//! What an operation sees of the database.

use std::cell::RefCell;

use super::error::{Cause, Error, Result};
use super::ids::Ids;
use super::orders::Counts;
use super::rollouts::Gathered;
use super::sql::{Connection, Row, ToValue, Value};
use super::{events, jobs};

/// Numbers of rows, or of keys, in a statement.
const AT_ONCE: [usize; 3] = [64, 8, 1];

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

    /// Returns the rows for these keys, found by as few statements as can be; `sql` makes a statement of
    /// the list of its first parameters.
    pub(super) fn for_keys<K: ToValue, T>(
        &self,
        keys: &[K],
        sql: impl Fn(&str) -> String,
        more: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in pieces(keys) {
            let sql = sql(&list("?", keys.len()));
            let mut params: Vec<_> = keys.iter().map(ToValue::to_value).collect();
            params.extend_from_slice(more);
            found.extend(self.all(&sql, &params, &map)?);
        }
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
    rollouts: Gathered,
    pub(super) pending: RefCell<Pending>,
}

/// What a transaction does at its end, where it holds for the shortest time what others wait for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// What it adds to the record.
    pub events: Vec<events::Draft>,
    /// What it knows of jobs, and changes.
    pub jobs: jobs::Held,
}

impl<'a> Write<'a> {
    pub(super) fn new(connection: &'a Connection, ids: &'a Ids) -> Self {
        Write {
            read: Read::new(connection),
            ids,
            counts: Counts::default(),
            rollouts: Gathered::default(),
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

    /// Returns what is gathered for rollouts.
    pub(super) fn rollouts(&self) -> &Gathered {
        &self.rollouts
    }

    /// Writes what was gathered until the end of the transaction; what all others wait for comes last.
    pub(super) fn finish(&self) -> Result<()> {
        jobs::write(self)?;
        self.rollouts.end_jobs(self)?;
        self.counts.write(self)?;
        self.rollouts.write(self)?;
        events::write(self)
    }

    /// Executes a statement; returns the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize> {
        self.read.connection.execute(sql, params)
    }

    /// Executes a statement. Nobody waits for it: if it fails, then a later one does, or the commit.
    pub(super) fn run(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        self.read.connection.run(sql, params)
    }

    /// Executes a statement for many rows, as many of them at once as can be; `sql` makes a statement of
    /// the list of rows, of which `row` is one.
    pub(super) fn rows<R, const N: usize>(
        &self,
        rows: &[R],
        row: &str,
        sql: impl Fn(&str) -> String,
        values: impl Fn(&R) -> [Value<'_>; N],
    ) -> Result<()> {
        for rows in pieces(rows) {
            let params: Vec<_> = rows.iter().flat_map(&values).collect();
            self.run(&sql(&list(row, rows.len())), &params)?;
        }
        Ok(())
    }

    /// Does the same with a statement that returns rows.
    pub(super) fn for_rows<R, T, const N: usize>(
        &self,
        rows: &[R],
        row: &str,
        sql: impl Fn(&str) -> String,
        values: impl Fn(&R) -> [Value<'_>; N],
        map: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::with_capacity(rows.len());
        for rows in pieces(rows) {
            let params: Vec<_> = rows.iter().flat_map(&values).collect();
            found.extend(self.all(&sql(&list(row, rows.len())), &params, &map)?);
        }
        Ok(found)
    }
}

/// Cuts a list into pieces of few lengths, as each is a statement of its own.
fn pieces<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let cut = AT_ONCE
            .iter()
            .find_map(|count| rest.split_at_checked(*count));
        let (piece, others) = cut.filter(|(piece, _)| !piece.is_empty())?;
        rest = others;
        Some(piece)
    })
}

fn list(one: &str, count: usize) -> String {
    vec![one; count].join(", ")
}

/// Any function that reads takes a write transaction as well.
impl<'a> std::ops::Deref for Write<'a> {
    type Target = Read<'a>;

    fn deref(&self) -> &Read<'a> {
        &self.read
    }
}
