//! Archives of the record: events that are old, or too many for the database, go into permanent
//! files.
//!
//! They are `record/000001.jsonl.zst` and so on below `data_dir`, each a zstd file of lines, each
//! line an event as JSON (docs/station.md). The database keeps the SHA-256 of each file, and events
//! are removed from it only once they are in one.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use openssl::sha::Sha256;
use serde_json::{json, Value};

use dau_model::hex;

use super::sql::params;
use super::{Read, Store, Write};
use crate::clock;
use crate::config::Record;

/// Most events in an archive.
const MOST: i64 = 100_000;
/// Events read, or removed, at once.
const PIECE: i64 = 5_000;
/// zstd's usual level.
const LEVEL: i32 = 3;

/// Writes due archives and removes their events from the database; returns the number of archives
/// written.
pub async fn seal(store: &Store, folder: PathBuf, now: i64, limits: Record) -> Result<u32> {
    // Archives that a killed station wrote without removing their events.
    remove_sealed(store).await?;
    let mut sealed: u32 = 0;
    while seal_one(store, folder.clone(), now, limits).await? {
        sealed = sealed.saturating_add(1);
        remove_sealed(store).await?;
    }
    Ok(sealed)
}

async fn seal_one(store: &Store, folder: PathBuf, now: i64, limits: Record) -> Result<bool> {
    let written = store.read(move |c| -> Result<_> {
        match due(c, now, limits)? {
            Some((first, last)) => write(c, &folder, first, last).map(Some),
            None => Ok(None),
        }
    });
    let Some(archive) = written.await? else {
        return Ok(false);
    };
    let noted = store.write(move |w| archive.note(w, clock::now()));
    noted.await?;
    Ok(true)
}

/// Returns the first and last event of the next archive, if one is due.
fn due(r: &Read<'_>, now: i64, limits: Record) -> super::Result<Option<(i64, i64)>> {
    let bounds: (Option<i64>, Option<i64>) = r.one(
        "SELECT min(id), max(id) FROM events WHERE id > (SELECT \
         coalesce(max(last_event), 0) FROM archives)",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (Some(first), Some(newest)) = bounds else {
        return Ok(None);
    };
    let most = i64::try_from(limits.keep_events).unwrap_or(i64::MAX);
    let last_of_archive = first.saturating_add(MOST - 1).min(newest);
    // Ids have no gaps, so they can be counted by.
    if newest.saturating_sub(first) >= most.saturating_add(MOST) {
        return Ok(Some((first, last_of_archive)));
    }
    let days = i64::try_from(limits.keep_days).unwrap_or(i64::MAX);
    let since = now.saturating_sub(days.saturating_mul(86_400));
    let young: Option<i64> = r.optional(
        "SELECT id FROM events WHERE id BETWEEN ? AND ? AND at >= ? ORDER BY id LIMIT 1",
        params![first, last_of_archive, since],
        |row| row.get(0),
    )?;
    let last = young.map_or(last_of_archive, |young| young.saturating_sub(1));
    Ok((last >= first).then_some((first, last)))
}

#[derive(Debug)]
struct Archive {
    number: i64,
    first: i64,
    last: i64,
    first_at: i64,
    last_at: i64,
    bytes: u64,
    sha256: String,
}

impl Archive {
    fn note(&self, w: &Write<'_>, now: i64) -> Result<()> {
        w.execute(
            "INSERT INTO archives (number, first_event, last_event, first_at, last_at, bytes, \
             sha256, sealed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.number,
                self.first,
                self.last,
                self.first_at,
                self.last_at,
                i64::try_from(self.bytes)?,
                self.sha256,
                now
            ],
        )?;
        Ok(())
    }
}

/// Returns the file name of an archive.
pub fn file_name(number: i64) -> String {
    format!("{number:06}.jsonl.zst")
}

/// Writes the file, over an unfinished one that a killed station may have left.
fn write(r: &Read<'_>, folder: &Path, first: i64, last: i64) -> Result<Archive> {
    let number = r.one(
        "SELECT coalesce(max(number), 0) + 1 FROM archives",
        params![],
        |row| row.get(0),
    )?;
    let mut archive = Archive {
        number,
        first,
        last,
        first_at: i64::MAX,
        last_at: i64::MIN,
        bytes: 0,
        sha256: String::new(),
    };
    fs::create_dir_all(folder)
        .with_context(|| format!("the record's folder {} cannot be made", folder.display()))?;
    let path = folder.join(file_name(number));
    let part = path.with_extension("part");
    let file = File::create(&part)
        .with_context(|| format!("the archive {} cannot be written", part.display()))?;
    let counted = Counted {
        file: BufWriter::new(file),
        sha256: Sha256::new(),
        bytes: 0,
    };
    let mut encoder = zstd::Encoder::new(counted, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut next = first;
    while next <= last {
        let end = next.saturating_add(PIECE - 1).min(last);
        for (at, line) in lines(r, next, end)? {
            archive.first_at = archive.first_at.min(at);
            archive.last_at = archive.last_at.max(at);
            serde_json::to_writer(&mut encoder, &line)?;
            encoder.write_all(b"\n")?;
        }
        next = end.saturating_add(1);
    }
    let counted = encoder.finish()?;
    archive.bytes = counted.bytes;
    archive.sha256 = hex::encode(counted.sha256.finish());
    let file = counted
        .file
        .into_inner()
        .map_err(|error| error.into_error())?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(archive)
}

/// Returns the lines of events, with their times.
fn lines(r: &Read<'_>, first: i64, last: i64) -> super::Result<Vec<(i64, Value)>> {
    let sql = "SELECT id, at, job, terminal, package, kind, detail FROM events \
        WHERE id BETWEEN ? AND ? ORDER BY id";
    r.all(sql, params![first, last], |row| {
        let at: i64 = row.get(1)?;
        let detail: String = row.get(6)?;
        let line = json!({
            "id": row.get::<i64>(0)?,
            "at": clock::text(at),
            "job": row.get::<Option<i64>>(2)?,
            "terminal": row.get::<Option<String>>(3)?,
            "package": row.get::<Option<i64>>(4)?,
            "kind": row.get::<String>(5)?,
            "detail": serde_json::from_str::<Value>(&detail).unwrap_or_default(),
        });
        Ok((at, line))
    })
}

struct Counted {
    file: BufWriter<File>,
    sha256: Sha256,
    bytes: u64,
}

impl std::io::Write for Counted {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(content)?;
        self.sha256.update(content.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
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

/// Returns the archives that may hold events of a job ordered at `created_at`.
pub fn since(r: &Read<'_>, created_at: i64) -> super::Result<Vec<String>> {
    r.all(
        "SELECT number FROM archives WHERE last_at >= ? ORDER BY number",
        params![created_at],
        |row| Ok(file_name(row.get(0)?)),
    )
}

#[cfg(test)]
mod tests;
