//! A job's events from archives.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{file, Archive};
use crate::store::events::Event;

#[derive(Deserialize)]
struct Line {
    at: String,
    job: Option<i64>,
    kind: String,
    detail: Value,
}

/// Returns the events of a job in these archives.
pub fn of_job(folder: &Path, archives: &[Archive], job: i64) -> Result<Vec<Event>> {
    // Most lines need not be understood.
    let mark = format!("\"job\":{job},");
    let mut found = Vec::new();
    for archive in archives {
        let read = file::read(folder, archive, &mut |line| {
            if line.contains(&mark) {
                let line: Line = serde_json::from_str(line)?;
                if line.job == Some(job) {
                    found.push(Event {
                        at: line.at,
                        kind: line.kind,
                        detail: line.detail,
                    });
                }
            }
            Ok(())
        });
        read.with_context(|| format!("the archive {} cannot be read", archive.file_name()))?;
    }
    Ok(found)
}
