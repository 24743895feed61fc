//! The station's durable data: terminals, packages, jobs, events, outbox and download tokens.
//!
//! What the rest of the station sees are whole operations, each on a [`Read`] or a [`Write`]: several
//! share a transaction. Beneath them, [`sql`] is the database. What is committed is on disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use crate::clock::{self, Ids};

pub mod archive;
pub mod deltas;
mod error;
pub mod events;
pub mod jobs;
pub mod orders;
pub mod outbox;
pub mod packages;
pub mod requests;
mod schema;
mod sql;
pub mod terminals;
pub mod times;
pub mod tokens;
mod transaction;

pub use error::{Cause, Error, Result};
use sql::{params, Access, Connection, Sqlite};
pub use transaction::{Read, Write};

/// Most idle read connections.
const MAX_IDLE_READERS: usize = 4;

/// The database.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

/// One connection writes, a few read.
#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    ids: Ids,
}

impl Store {
    /// Opens or creates the database, and migrates an older one.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let writer = Sqlite::open_writer(path).with_context(|| format!("cannot open {shown}"))?;
        let writer =
            schema::migrate(writer).with_context(|| format!("cannot bring {shown} up to date"))?;
        let last = last_id(&Read::new(&writer))?;
        Ok(Store(Arc::new(Inner {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            ids: Ids::after(last),
        })))
    }

    /// Runs `work` in one transaction: commits on `Ok`, else rolls back.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Write<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let writer = lock(&inner.writer);
            let transaction = writer.begin(Access::Write)?;
            let write = Write::new(&writer, &inner.ids);
            let outcome = work(&write)?;
            write.finish()?;
            transaction.commit()?;
            Ok(outcome)
        })
        .await
    }

    /// Runs `work` on a consistent snapshot of the database.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Read<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let idle = lock(&inner.readers).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => Connection::Sqlite(Sqlite::open_reader(&inner.path)?),
            };
            let transaction = reader.begin(Access::Read)?;
            let outcome = work(&Read::new(&reader));
            drop(transaction);
            let mut readers = lock(&inner.readers);
            if readers.len() < MAX_IDLE_READERS {
                readers.push(reader);
            }
            outcome
        })
        .await
    }

    /// Checks that the database accepts writes.
    pub async fn probe(&self) -> Result<()> {
        self.write(|w| {
            let sql = "INSERT INTO probe (id, at) VALUES (1, ?1) \
                ON CONFLICT (id) DO UPDATE SET at = excluded.at";
            w.execute(sql, params![clock::now()]).map(drop)
        })
        .await
    }
}

/// Returns the largest id so far.
fn last_id(r: &Read<'_>) -> Result<i64> {
    let sql =
        "SELECT coalesce(max(id), 0) FROM jobs UNION ALL SELECT coalesce(max(mid), 0) FROM outbox";
    let ids: Vec<i64> = r.all(sql, params![], |row| row.get(0))?;
    Ok(ids.into_iter().max().unwrap_or(0))
}

/// Runs blocking work on another thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Converts to a database's signed integers.
fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub mod tests;
