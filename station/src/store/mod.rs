//! The station's durable data: terminals, packages, jobs, events, outbox and download tokens, in
//! SQLite.
//!
//! One connection writes, a few read. Related changes share a transaction, and committed data are
//! on disk (WAL with synchronous=FULL).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::clock::{self, Ids};

pub mod archive;
pub mod deltas;
pub mod events;
pub mod jobs;
pub mod orders;
pub mod outbox;
pub mod packages;
pub mod requests;
pub mod terminals;
pub mod times;
pub mod tokens;

/// Steps from an empty database to the current schema; `user_version` counts the steps taken.
const MIGRATIONS: [&str; 8] = [
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
    include_str!("schema-6.sql"),
    include_str!("schema-7.sql"),
    include_str!("schema-8.sql"),
];

/// Most idle read connections.
const MAX_IDLE_READERS: usize = 4;

/// The database.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    ids: Ids,
}

/// A write transaction.
#[derive(Debug)]
pub struct Write<'a> {
    /// The transaction.
    pub tx: &'a Transaction<'a>,
    ids: &'a Ids,
}

impl Write<'_> {
    /// Returns a new id, see [`Ids`].
    pub fn next_id(&self) -> i64 {
        self.ids.next()
    }
}

/// Any function that reads takes a write transaction as well.
impl std::ops::Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.tx
    }
}

impl Store {
    /// Opens or creates the database, and migrates an older one.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut writer = Connection::open(path).with_context(|| format!("cannot open {shown}"))?;
        prepare(&writer).with_context(|| format!("cannot use {shown}"))?;
        migrate(&mut writer).with_context(|| format!("cannot bring {shown} up to date"))?;
        let last = "SELECT max(coalesce((SELECT max(id) FROM jobs), 0), coalesce((SELECT max(mid) \
            FROM outbox), 0))";
        let last = writer.query_row(last, [], |row| row.get(0))?;
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
        E: From<rusqlite::Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let mut writer = lock(&inner.writer);
            let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = work(&Write {
                tx: &tx,
                ids: &inner.ids,
            })?;
            tx.commit()?;
            Ok(outcome)
        })
        .await
    }

    /// Runs `work` on a consistent snapshot of the database.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let idle = lock(&inner.readers).pop();
            let mut reader = match idle {
                Some(reader) => reader,
                None => open_reader(&inner.path)?,
            };
            let outcome = work(&*reader.transaction()?);
            let mut readers = lock(&inner.readers);
            if readers.len() < MAX_IDLE_READERS {
                readers.push(reader);
            }
            outcome
        })
        .await
    }

    /// Checks that the database accepts writes.
    pub async fn probe(&self) -> rusqlite::Result<()> {
        self.write(|w| {
            let sql = "INSERT INTO probe (id, at) VALUES (1, ?1) \
                       ON CONFLICT (id) DO UPDATE SET at = excluded.at";
            w.execute(sql, [clock::now()]).map(drop)
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

/// Converts to SQLite's signed integers.
fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The writer's page cache, KiB: large enough that a large order need not write pages twice.
const WRITER_CACHE: i64 = 32 << 10;

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let taken: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    ensure!(
        taken <= MIGRATIONS.len(),
        "it was written by a newer dau-station (version {taken}; this one knows {}): use that one",
        MIGRATIONS.len()
    );
    for (version, migration) in (1_usize..).zip(MIGRATIONS).skip(taken) {
        let tx = connection.transaction()?;
        tx.execute_batch(migration)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a store in a temporary folder, which is removed with the first value.
    pub fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("station.db")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_newer_database_is_refused() {
        let (dir, store) = store();
        drop(store);
        let path = dir.path().join("station.db");
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = format!("{:#}", Store::open(&path).unwrap_err());
        assert!(error.contains("newer dau-station"), "{error}");
    }

    #[test]
    fn a_database_of_before_recovery_packages_takes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("station.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let insert = |connection: &Connection, kind: &str, digest: &str| {
            connection.execute(
                "INSERT INTO packages (name, product, version, kind, created, rollback_index, \
                 manifest_sha256, \
                 file_sha256, file_md5, size, signer, signer_fingerprint, uploaded_by, uploaded_at) \
                 VALUES ('n', 'p', '1', ?1, '', 0, '', ?2, '', 0, '', '', '', 0)",
                [kind, digest],
            )
        };
        insert(&old, "full", "1").unwrap();
        assert!(insert(&old, "recovery", "2").is_err());
        drop(old);
        drop(Store::open(&path).unwrap());
        let new = Connection::open(&path).unwrap();
        insert(&new, "recovery", "2").unwrap();
        assert!(insert(&new, "patch", "3").is_err());
        let whole: String = new
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok");
    }

    #[tokio::test]
    async fn what_failed_leaves_nothing_behind() {
        let (_dir, store) = store();
        let failed: Result<(), rusqlite::Error> = store
            .write(|w| {
                w.execute(
                    "INSERT INTO terminals (id, registered_at) VALUES ('t', 0)",
                    [],
                )?;
                Err(rusqlite::Error::QueryReturnedNoRows)
            })
            .await;
        assert!(failed.is_err());
        let count: i64 = store
            .read(|c| c.query_row("SELECT count(*) FROM terminals", [], |row| row.get(0)))
            .await
            .unwrap_or_else(|error: rusqlite::Error| panic!("{error}"));
        assert_eq!(count, 0);
    }
}
