//! The station's durable data: terminals, packages, jobs, events, outbox and download tokens.
//!
//! What the rest of the station sees are whole operations, each on a [`Read`] or a [`Write`]: several
//! share a transaction. Beneath them, [`sql`] is the database. What is committed is on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use crate::clock;
use crate::config::Config;

pub mod archive;
mod chain;
pub mod deltas;
mod error;
pub mod events;
pub mod filter;
pub mod fleet;
pub mod follow;
mod ids;
pub mod jobs;
pub mod labels;
pub mod locks;
pub mod migrate;
pub mod orders;
pub mod outbox;
pub mod packages;
mod pool;
pub mod requests;
pub mod rollouts;
mod schema;
pub mod seen;
pub mod sessions;
mod sql;
pub mod stations;
pub mod terminals;
pub mod times;
pub mod tokens;
mod transaction;

pub use error::{Cause, Error, Result};
use ids::Ids;
use pool::{Place, Pool};
use sql::{params, Access};
pub use transaction::{Read, Write};

/// The database.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writers: Arc<Pool>,
    readers: Arc<Pool>,
    ids: Ids,
}

impl Store {
    /// Opens the configured database, and brings an older one up to date.
    pub async fn of(config: &Config) -> anyhow::Result<Self> {
        let place = match &config.database {
            None => Place::File(config.data_dir.join("station.db")),
            Some(database) => Place::Server(Arc::new(database.clone())),
        };
        blocking(move || Self::open(place)).await
    }

    /// Opens or creates a database, and migrates an older one.
    fn open(place: Place) -> anyhow::Result<Self> {
        let writer = place
            .open(Access::Write)
            .with_context(|| format!("cannot open {place}"))?;
        let ids =
            schema::migrate(&writer).with_context(|| format!("cannot bring {place} up to date"))?;
        anyhow::ensure!(
            !schema::is_migrating(&writer)?,
            "{place} holds a migration that did not come to its end: run 'dau-station migrate' again"
        );
        Ok(Store(Arc::new(Inner {
            writers: Arc::new(Pool::new(place.clone(), Access::Write)),
            readers: Arc::new(Pool::new(place, Access::Read)),
            ids,
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
        let writers = Arc::clone(&inner.writers);
        writers
            .run(move |connection| {
                let write = Write::new(connection, &inner.ids);
                let outcome = work(&write)?;
                write.finish()?;
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
        let readers = Arc::clone(&self.0.readers);
        readers
            .run(move |connection| work(&Read::new(connection)))
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
