//! Checks the whole record: every event in its place, every hash, every archive.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use serde::{Deserialize, Serialize};

use dau_model::hex;

use super::sign::{signature, PublicKey};
use super::{all, file, Archive, PIECE};
use crate::store::chain::{self, Hash};
use crate::store::sql::params;
use crate::store::{blocking, Read, Store};

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Archives, all of them good if there is no problem.
    pub archives: usize,
    /// Events in the database that are in no archive.
    pub events: i64,
    /// The newest event and its hash.
    pub last: Option<i64>,
    pub last_hash: Option<String>,
    /// For people; none: the record is whole.
    pub problems: Vec<String>,
}

/// Checks the record in the database and below `folder`; signatures are checked if there are keys.
pub async fn verify(store: &Store, folder: PathBuf, keys: Vec<PublicKey>) -> Result<Report> {
    let _lock = match folder.exists() {
        // An archive that is being sealed has no signature yet.
        true => Some(blocking(super::holder(&folder)).await?),
        false => None,
    };
    let found = store.read(database).await?;
    Ok(blocking(move || found.with_files(&folder, &keys)).await)
}

/// What was found in the database.
#[derive(Debug)]
pub struct Found {
    archives: Vec<Archive>,
    report: Report,
}

impl Found {
    /// Checks the archives, too.
    pub fn with_files(self, folder: &Path, keys: &[PublicKey]) -> Report {
        let mut report = self.report;
        report.archives = self.archives.len();
        let problems = files(folder, &self.archives, keys);
        report.problems.splice(0..0, problems);
        report
    }
}

/// How far the chain was followed.
#[derive(Debug, Default)]
struct Chain {
    last: Option<i64>,
    hash: Option<Hash>,
}

impl Chain {
    /// Takes the next event.
    fn follow(&mut self, id: i64, text: &str, hash: Option<Hash>) -> Result<()> {
        if let Some(last) = self.last {
            let next = last.saturating_add(1);
            ensure!(id == next, "event {next} is missing: {id} follows {last}");
        }
        match hash {
            None => ensure!(self.hash.is_none(), "event {id} has no hash"),
            Some(hash) => ensure!(
                hash == chain::of_text(self.hash, text),
                "event {id} does not fit its hash: it, or one before it, was changed"
            ),
        }
        (self.last, self.hash) = (Some(id), hash);
        Ok(())
    }
}

/// Checks what is in the database, after the last archive.
pub fn database(r: &Read<'_>) -> Result<Found> {
    let archives = all(r)?;
    let last = archives.last();
    let mut chain = Chain {
        last: Some(last.map_or(0, |last| last.last)),
        hash: last.and_then(|last| last.last_hash),
    };
    let mut report = Report::default();
    if let Err(problem) = follow_database(r, &mut chain, &mut report) {
        report.problems.push(format!("database: {problem:#}"));
    }
    report.last = chain.last.filter(|last| *last > 0);
    report.last_hash = chain.hash.map(hex::encode);
    Ok(Found { archives, report })
}

fn follow_database(r: &Read<'_>, chain: &mut Chain, report: &mut Report) -> Result<()> {
    let newest: i64 = r.one(
        "SELECT coalesce(max(id), 0) FROM events",
        params![],
        |row| row.get(0),
    )?;
    let mut next = chain.last.unwrap_or(0).saturating_add(1);
    while next <= newest {
        let end = next.saturating_add(PIECE - 1).min(newest);
        for (line, hash) in file::lines(r, next, end)? {
            chain.follow(line.id, &line.text(None), hash)?;
            report.events = report.events.saturating_add(1);
        }
        next = end.saturating_add(1);
    }
    Ok(())
}

/// Checks all archives; returns the problems.
fn files(folder: &Path, archives: &[Archive], keys: &[PublicKey]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut before: Option<&Archive> = None;
    for archive in archives {
        let checked = check(folder, before, archive, keys);
        if let Err(problem) = checked {
            problems.push(format!("{}: {problem:#}", archive.file_name()));
        }
        before = Some(archive);
    }
    problems
}

fn check(
    folder: &Path,
    before: Option<&Archive>,
    archive: &Archive,
    keys: &[PublicKey],
) -> Result<()> {
    let (number, last) = before.map_or((0, 0), |before| (before.number, before.last));
    let next = number.saturating_add(1);
    ensure!(archive.number == next, "there is none with number {next}");
    let mut chain = Chain {
        last: Some(last),
        hash: before.and_then(|before| before.last_hash),
    };
    let read = file::read(folder, archive, &mut |line| {
        let (text, hash) = chain::split(line);
        let Id { id } = serde_json::from_str(&text).context("it has a line that is no event")?;
        chain.follow(id, &text, hash)
    });
    read?;
    ensure!(
        chain.last == Some(archive.last) && chain.hash == archive.last_hash,
        "it ends with event {}, and the database says {}",
        chain.last.unwrap_or(0),
        archive.last
    );
    if keys.is_empty() {
        return Ok(());
    }
    let signature = signature(folder, archive).context("it is not signed")?;
    for key in keys {
        if key.signed(folder, archive, &signature)? {
            return Ok(());
        }
    }
    bail!("its signature is not of the key")
}

#[derive(Deserialize)]
struct Id {
    id: i64,
}
