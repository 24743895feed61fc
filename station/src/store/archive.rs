//! Archives of the record: events that are old, or too many for the database, go into permanent
//! files.
//!
//! They are `record/000001.jsonl.zst` and so on below `data_dir`, each a zstd file of lines, each
//! line an event as JSON (docs/station.md), each of one month. The database keeps the SHA-256 of each
//! file and the hash of its last event, and events are removed from it only once they are in one.
//!
//! - [`mod@file`]: writes and reads them; [`sign`]: their signatures
//! - [`verify`]: checks the whole record; [`show`]: finds a job's events

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde_json::json;

use dau_protocol::timestamp;

use super::chain::{self, Hash};
use super::sql::{params, Row};
use super::{blocking, Read, Store, Write};
use crate::clock;
use crate::config::{Config, Record};

mod file;
pub mod show;
pub mod sign;
pub mod verify;

use sign::Key;

/// Most events in an archive.
const MOST: i64 = 100_000;
/// Events read, or removed, at once.
const PIECE: i64 = 5_000;
/// The longest month, seconds.
const MONTH: i64 = 31 * 86_400;

/// The events that go into archives.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Those before this time.
    pub before: i64,
    /// The oldest beyond this number, however young.
    pub keep_events: i64,
}

impl Limits {
    /// Returns what is due by the configuration: months whose last day is old enough.
    pub fn of(config: &Record, now: i64) -> Self {
        let days = i64::try_from(config.keep_days).unwrap_or(i64::MAX);
        Limits {
            before: month(now.saturating_sub(days.saturating_mul(86_400))),
            keep_events: i64::try_from(config.keep_events).unwrap_or(i64::MAX),
        }
    }

    /// Returns all events before a time.
    pub fn before(time: i64) -> Self {
        Limits {
            before: time,
            keep_events: i64::MAX,
        }
    }
}

/// Returns the folder of the archives.
pub fn folder(config: &Config) -> PathBuf {
    config.shared_dir().join("record")
}

/// Returns the begin of the month of a time, UTC.
pub fn month(at: i64) -> i64 {
    let text = clock::text(at);
    let first = text.get(..7).map(|month| format!("{month}-01T00:00:00Z"));
    let first = first.and_then(|text| timestamp::parse(&json!(text)));
    first.unwrap_or(0)
}

/// Returns the begin of the month after that of a time.
fn next_month(at: i64) -> i64 {
    month(month(at).saturating_add(MONTH))
}

/// Seals what is due by the configuration.
pub async fn seal_due(store: &Store, config: &Config) -> Result<u32> {
    // Read each time: a key that cannot be used keeps nothing from being archived.
    let key = config.record.key.as_deref().map(Key::load).transpose();
    let limits = Limits::of(&config.record, clock::now());
    let usable = key.as_ref().ok().and_then(Option::as_ref);
    let sealed = seal(store, folder(config), limits, usable).await?;
    key.map(|_| sealed)
}

/// Writes due archives, removes their events from the database, and signs what has no signature yet;
/// returns the number of archives written.
pub async fn seal(
    store: &Store,
    folder: PathBuf,
    limits: Limits,
    key: Option<&Key>,
) -> Result<u32> {
    // Station and command line may both be at it.
    let _lock = blocking(holder(&folder)).await?;
    // Archives that a killed station wrote without removing their events.
    remove_sealed(store).await?;
    let mut sealed: u32 = 0;
    while seal_one(store, folder.clone(), limits).await? {
        sealed = sealed.saturating_add(1);
        remove_sealed(store).await?;
    }
    if let Some(key) = key {
        let archives = store.read(all).await?;
        let key = key.clone();
        blocking(move || key.sign_missing(&folder, &archives)).await?;
    }
    Ok(sealed)
}

/// Returns what makes the folder and keeps others from writing to it.
fn holder(folder: &Path) -> impl FnOnce() -> Result<Flock<File>> {
    let folder = folder.to_owned();
    move || hold(&folder)
}

fn hold(folder: &Path) -> Result<Flock<File>> {
    let cannot = || format!("the record's folder {} cannot be made", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let file = File::open(folder).with_context(cannot)?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow::anyhow!("{} cannot be locked: {errno}", folder.display()))
}

async fn seal_one(store: &Store, folder: PathBuf, limits: Limits) -> Result<bool> {
    let written = store.read(move |c| -> Result<_> {
        match due(c, limits)? {
            Some((first, last)) => file::write(c, &folder, first, last).map(Some),
            None => Ok(None),
        }
    });
    let Some(archive) = written.await? else {
        return Ok(false);
    };
    store.write(move |w| archive.note(w)).await?;
    Ok(true)
}

/// Returns the first and last event of the next archive, if one is due.
fn due(r: &Read<'_>, limits: Limits) -> super::Result<Option<(i64, i64)>> {
    let bounds: (Option<i64>, Option<i64>) = r.one(
        "SELECT min(id), max(id) FROM events WHERE id > (SELECT \
         coalesce(max(last_event), 0) FROM archives)",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (Some(first), Some(newest)) = bounds else {
        return Ok(None);
    };
    let last_of_archive = first.saturating_add(MOST - 1).min(newest);
    let sql = "SELECT at FROM events WHERE id = ?";
    let first_at: i64 = r.one(sql, params![first], |row| row.get(0))?;
    // Ids have no gaps, so they can be counted by.
    let too_many = newest.saturating_sub(first) >= limits.keep_events.saturating_add(MOST);
    let end = match too_many {
        true => next_month(first_at),
        false => next_month(first_at).min(limits.before),
    };
    let young: Option<i64> = r.optional(
        "SELECT id FROM events WHERE id BETWEEN ? AND ? AND at >= ? ORDER BY id LIMIT 1",
        params![first, last_of_archive, end],
        |row| row.get(0),
    )?;
    let last = young.map_or(last_of_archive, |young| young.saturating_sub(1));
    Ok((last >= first).then_some((first, last)))
}

/// An archive as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Archive {
    pub number: i64,
    pub first: i64,
    pub last: i64,
    #[serde(serialize_with = "time")]
    pub first_at: i64,
    #[serde(serialize_with = "time")]
    pub last_at: i64,
    pub bytes: i64,
    pub sha256: String,
    #[serde(skip)]
    pub last_hash: Option<Hash>,
}

fn time<S: serde::Serializer>(at: &i64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    clock::text(*at).serialize(serializer)
}

impl Archive {
    fn note(&self, w: &Write<'_>) -> super::Result<()> {
        w.execute(
            "INSERT INTO archives (number, first_event, last_event, first_at, last_at, bytes, \
             sha256, last_hash, sealed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.number,
                self.first,
                self.last,
                self.first_at,
                self.last_at,
                self.bytes,
                self.sha256,
                self.last_hash,
                clock::now()
            ],
        )
        .map(drop)
    }

    fn of(row: &Row<'_>) -> super::Result<Self> {
        Ok(Archive {
            number: row.get(0)?,
            first: row.get(1)?,
            last: row.get(2)?,
            first_at: row.get(3)?,
            last_at: row.get(4)?,
            bytes: row.get(5)?,
            sha256: row.get(6)?,
            last_hash: chain::hash_of(row, 7)?,
        })
    }

    /// Returns the name of its file.
    pub fn file_name(&self) -> String {
        file_name(self.number)
    }
}

fn file_name(number: i64) -> String {
    format!("{number:06}.jsonl.zst")
}

const COLUMNS: &str =
    "number, first_event, last_event, first_at, last_at, bytes, sha256, last_hash";

/// Returns all archives.
pub fn all(r: &Read<'_>) -> super::Result<Vec<Archive>> {
    let sql = format!("SELECT {COLUMNS} FROM archives ORDER BY number");
    r.all(&sql, params![], Archive::of)
}

/// Returns the last event in an archive, 0 if there is none.
pub fn last(r: &Read<'_>) -> super::Result<i64> {
    let sql = "SELECT coalesce(max(last_event), 0) FROM archives";
    r.one(sql, params![], |row| row.get(0))
}

/// Returns the archives that may hold events of a job ordered at `created_at`.
pub fn since(r: &Read<'_>, created_at: i64) -> super::Result<Vec<Archive>> {
    let sql = format!("SELECT {COLUMNS} FROM archives WHERE last_at >= ? ORDER BY number");
    r.all(&sql, params![created_at], Archive::of)
}

async fn remove_sealed(store: &Store) -> Result<()> {
    loop {
        let removed = store.write(|w| {
            w.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= (SELECT \
                 coalesce(max(last_event), 0) FROM archives) ORDER BY id LIMIT ?)",
                params![PIECE],
            )
        });
        let removed: usize = removed.await?;
        if removed == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
