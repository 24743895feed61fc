//! Moves a station's data from SQLite to PostgreSQL.
//!
//! Tables are found in the source, not named here, so none can be forgotten; a table's rows go over in
//! the order of their primary key, so what is there already after a kill is a prefix, and the number of
//! its rows says where to go on. Until all is verified, the target's table `migrating` keeps stations
//! from using it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use openssl::sha::{sha256, Sha256};

use dau_model::hex;

use super::archive::sign::PublicKey;
use super::archive::verify;
use super::sql::{
    params, Access, Connection, FromValue, Postgres, Row, Sqlite, ToValue, Transaction, Value,
};
use super::{schema, Read};
use crate::config::Database;

/// Rows in a transaction of the target.
const ROWS: usize = 200;
/// Rows of the target that are read at once.
const PAGE: i64 = 2_000;

/// A table and what is in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub rows: u64,
    columns: Vec<String>,
    /// Places of the primary key among the columns.
    key: Vec<usize>,
    /// SHA-256 of every row, combined so that their order does not matter.
    digest: [u8; 32],
}

/// Moves everything; `progress` gets a line for each table.
pub fn migrate(
    source: &Path,
    target: &Database,
    folder: &Path,
    keys: &[PublicKey],
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Table>> {
    let shown = source.display();
    ensure!(
        source.exists(),
        "there is no {shown}: nothing is to be moved"
    );
    let source = Sqlite::open_reader(source).with_context(|| format!("cannot open {shown}"))?;
    ensure!(
        schema::is_current(&source)?,
        "{shown} is of another version of dau-station: start this version on it once, and stop it"
    );
    let source = Connection::Sqlite(source);
    source.begin(Access::Read)?;
    let snapshot = Transaction::of(&source);
    let tables = tables(&source).with_context(|| format!("cannot read {shown}"))?;
    progress(&format!("{} tables to move", tables.len()));

    let target = Postgres::open(target).context("--to")?;
    let target = Connection::Postgres(Box::new(target));
    schema::migrate(&target).context("the target cannot be prepared")?;
    prepare(&target, &tables)?;
    for table in &tables {
        let there = copy(&source, &target, table).with_context(|| {
            format!(
                "table {} cannot be moved; try again, it goes on",
                table.name
            )
        })?;
        progress(&format!(
            "{}: {} rows, {there} of them before",
            table.name, table.rows
        ));
    }
    write(&target, |target| sequences(&source, target))?;
    snapshot.commit()?;

    target.begin(Access::Read)?;
    let snapshot = Transaction::of(&target);
    for table in &tables {
        let found = digest(&Read::new(&target), table)?;
        ensure!(
            found == (table.rows, table.digest),
            "table {} has other content in the target: empty the target, and begin again",
            table.name
        );
    }
    let record = verify::database(&Read::new(&target))?;
    snapshot.commit()?;
    let report = record.with_files(folder, keys);
    ensure!(
        report.problems.is_empty(),
        "the record is not whole, as 'dau-station archive verify' says: {}",
        report.problems.join("; ")
    );
    write(&target, |target| Ok(target.batch("DROP TABLE migrating")?))?;
    Ok(tables)
}

/// Does something in one transaction of the target.
fn write<T>(target: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    target.begin(Access::Write)?;
    let transaction = Transaction::of(target);
    let done = work(target)?;
    transaction.commit()?;
    Ok(done)
}

/// Returns the tables of the source, each after those that it refers to.
fn tables(source: &Connection) -> Result<Vec<Table>> {
    let r = Read::new(source);
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
        ORDER BY name";
    let mut left: Vec<String> = r.all(sql, params![], |row| row.get(0))?;
    let mut sorted: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let mut waiting = Vec::new();
        for name in &left {
            let sql = "SELECT \"table\" FROM pragma_foreign_key_list(?)";
            let others: Vec<String> = r.all(sql, params![name], |row| row.get(0))?;
            match others
                .iter()
                .any(|other| other != name && left.contains(other))
            {
                true => waiting.push(name.clone()),
                false => sorted.push(described(&r, name)?),
            }
        }
        ensure!(
            waiting.len() < left.len(),
            "tables refer to each other in a circle: {waiting:?}"
        );
        left = waiting;
    }
    Ok(sorted)
}

fn described(r: &Read<'_>, name: &str) -> Result<Table> {
    let sql = "SELECT name, pk FROM pragma_table_info(?) ORDER BY cid";
    let columns: Vec<(String, i64)> =
        r.all(sql, params![name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut key: Vec<(i64, usize)> = columns
        .iter()
        .enumerate()
        .filter_map(|(place, (_, pk))| (*pk > 0).then_some((*pk, place)))
        .collect();
    key.sort_unstable();
    ensure!(!key.is_empty(), "table {name} has no primary key");
    let mut table = Table {
        name: name.to_owned(),
        rows: 0,
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        key: key.into_iter().map(|(_, place)| place).collect(),
        digest: [0; 32],
    };
    (table.rows, table.digest) = digest(r, &table)?;
    Ok(table)
}

/// Makes the mark in an empty target; one that has it already must be of the same source.
fn prepare(target: &Connection, tables: &[Table]) -> Result<()> {
    let mut all = Sha256::new();
    for table in tables {
        all.update(table.name.as_bytes());
        all.update(&table.digest);
    }
    let source = hex::encode(all.finish());
    write(target, |target| {
        let r = Read::new(target);
        for table in tables {
            let sql = "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
                WHERE table_schema = current_schema() AND CAST(table_name AS TEXT) = ?";
            let found: Vec<String> = r.all(sql, params![table.name], |row| row.get(0))?;
            let found: BTreeSet<&String> = found.iter().collect();
            let wanted: BTreeSet<&String> = table.columns.iter().collect();
            ensure!(
                found == wanted,
                "table {} has other columns in the target",
                table.name
            );
        }
        if schema::is_migrating(target)? {
            let sql = "SELECT source FROM migrating";
            let begun: Option<String> = r.optional(sql, params![], |row| row.get(0))?;
            ensure!(
                begun.as_ref() == Some(&source),
                "the target holds a part of another database, or this one has changed since: empty \
                 the target, and begin again"
            );
            return Ok(());
        }
        for table in tables {
            let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
            ensure!(
                !r.exists(&sql, params![])?,
                "the target holds a station's data already (table {}): give an empty database",
                table.name
            );
        }
        target.batch("CREATE TABLE migrating (source TEXT NOT NULL)")?;
        let sql = "INSERT INTO migrating (source) VALUES (?)";
        target.execute(sql, params![source])?;
        Ok(())
    })
}

/// Copies the rows that are not there yet; returns the number of those that are.
fn copy(source: &Connection, target: &Connection, table: &Table) -> Result<u64> {
    let count = format!("SELECT count(*) FROM {}", table.name);
    let there: i64 = Read::new(target).one(&count, params![], |row| row.get(0))?;
    let sql = format!(
        "SELECT {} FROM {} ORDER BY {} LIMIT -1 OFFSET ?",
        table.columns.join(", "),
        table.name,
        table.key_columns()
    );
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    source.query(&sql, params![there], &mut |row| {
        rows.push(table.cells(row)?);
        if rows.len() >= ROWS {
            insert(target, table, &rows)?;
            rows.clear();
        }
        Ok(())
    })?;
    insert(target, table, &rows)?;
    Ok(u64::try_from(there)?)
}

fn insert(target: &Connection, table: &Table, rows: &[Vec<Cell>]) -> super::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        table.name,
        table.columns.join(", "),
        vec![row; rows.len()].join(", ")
    );
    let params: Vec<Value<'_>> = rows.iter().flatten().map(Cell::to_value).collect();
    target.begin(Access::Write)?;
    let transaction = Transaction::of(target);
    target.execute(&sql, &params)?;
    transaction.commit()
}

/// Lets the target's ids go on after those that the source ever gave.
fn sequences(source: &Connection, target: &Connection) -> Result<()> {
    let sql = "SELECT name, seq FROM sqlite_sequence WHERE seq > 0";
    let row = |row: &Row<'_>| Ok((row.get::<String>(0)?, row.get::<i64>(1)?));
    for (table, last) in Read::new(source).all(sql, params![], row)? {
        let sql = "SELECT setval(pg_get_serial_sequence(?, 'id'), ?)";
        let set: Option<i64> =
            Read::new(target).one(sql, params![table, last], |row| row.get(0))?;
        if set.is_none() {
            bail!("table {table} makes no ids in the target");
        }
    }
    Ok(())
}

/// Returns the number of rows and their digest.
fn digest(r: &Read<'_>, table: &Table) -> super::Result<(u64, [u8; 32])> {
    let (columns, key) = (table.columns.join(", "), table.key_columns());
    let marks = vec!["?"; table.key.len()].join(", ");
    let order = format!("ORDER BY {key} LIMIT {PAGE}");
    let first = format!("SELECT {columns} FROM {} {order}", table.name);
    let next = format!(
        "SELECT {columns} FROM {} WHERE ({key}) > ({marks}) {order}",
        table.name
    );
    let (mut rows, mut digest) = (0_u64, [0; 32]);
    let mut page = r.all(&first, params![], |row| table.cells(row))?;
    while let Some(last) = page.last() {
        for row in &page {
            rows = rows.saturating_add(1);
            for (sum, byte) in digest.iter_mut().zip(sha256(&encoded(row))) {
                *sum ^= byte;
            }
        }
        let after: Vec<Value<'_>> = table
            .key
            .iter()
            .filter_map(|place| last.get(*place).map(Cell::to_value))
            .collect();
        page = r.all(&next, &after, |row| table.cells(row))?;
    }
    Ok((rows, digest))
}

/// Returns the bytes that stand for a row, for no other row.
fn encoded(row: &[Cell]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in row {
        let (kind, content): (u8, &[u8]) = match cell {
            Cell::Null => (0, &[]),
            Cell::Integer(number) => (1, &number.to_be_bytes()),
            Cell::Text(text) => (2, text.as_bytes()),
            Cell::Blob(blob) => (3, blob),
        };
        bytes.push(kind);
        bytes.extend((content.len() as u64).to_be_bytes());
        bytes.extend(content);
    }
    bytes
}

impl Table {
    fn key_columns(&self) -> String {
        let names: Vec<&str> = self
            .key
            .iter()
            .filter_map(|place| self.columns.get(*place).map(String::as_str))
            .collect();
        names.join(", ")
    }

    fn cells(&self, row: &Row<'_>) -> super::Result<Vec<Cell>> {
        (0..self.columns.len())
            .map(|place| row.get(place))
            .collect()
    }
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Null,
    /// SQLite has truth as a number.
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl FromValue for Cell {
    fn from_value(value: Value<'_>) -> super::Result<Self> {
        Ok(match value {
            Value::Null => Cell::Null,
            Value::Bool(is) => Cell::Integer(is.into()),
            Value::Integer(number) => Cell::Integer(number),
            // PostgreSQL's texts have no NUL.
            Value::Text(text) => Cell::Text(text.replace('\0', "\u{fffd}")),
            Value::Blob(bytes) => Cell::Blob(bytes.to_vec()),
        })
    }
}

impl ToValue for Cell {
    fn to_value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Text(text) => Value::Text(text),
            Cell::Blob(bytes) => Value::Blob(bytes),
        }
    }
}
