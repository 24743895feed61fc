//! Tables of terminals: what operators note of them, in and out.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::client::Client;
use super::out::{self, cell};
use super::Access;
use crate::store::labels::import::{Changed, Imported};
use crate::store::labels::NAMES;
use crate::store::terminals::Terminal;

/// Imports a table; the status is 1 if a line is refused.
pub fn import(access: &Access, file: &Path, encoding: &str, dry_run: bool) -> Result<ExitCode> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let path = format!("terminals?dry-run={dry_run}&encoding={encoding}");
    let imported: Imported = Client::new(access)?.post_csv(&path, content)?;
    super::print(access, &imported, |imported| text(imported, dry_run))?;
    Ok(match imported.refused {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn text(imported: &Imported, dry_run: bool) -> String {
    let mut text = String::new();
    for refused in &imported.refusals {
        text += &format!("line {}: {}\n", refused.line, out::escaped(&refused.reason));
    }
    for changed in &imported.changes {
        text += &line(changed);
    }
    let more = imported.added.saturating_add(imported.changed);
    let more = more.saturating_sub(imported.changes.len() as u64);
    if more > 0 {
        text += &format!("… and {more} more terminals\n");
    }
    let Imported {
        added,
        changed,
        unchanged,
        refused,
        ..
    } = imported;
    let would = if dry_run { "would be " } else { "" };
    text + &format!("{added} terminals {would}added, {changed} {would}changed, {unchanged} unchanged; {refused} lines refused\n")
}

fn line(changed: &Changed) -> String {
    let added = if changed.added { " (new)" } else { "" };
    let mut text = format!("{}{added}:", cell(&changed.terminal));
    for (name, (before, after)) in &changed.attributes {
        let [before, after] =
            [before, after].map(|value| value.as_deref().map_or("-".into(), cell));
        text += &format!(" {name} {before} -> {after}");
    }
    for tag in &changed.tag {
        text += &format!(" +tag:{}", cell(tag));
    }
    for tag in &changed.untag {
        text += &format!(" -tag:{}", cell(tag));
    }
    text + "\n"
}

/// Formats terminals as a table that can be imported. Nothing fails, as it is written into memory.
pub fn export(terminals: &[Terminal]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["id"].into_iter().chain(NAMES).chain(["tags"]);
    let _ = writer.write_record(header);
    for terminal in terminals {
        let attributes: &BTreeMap<String, String> = &terminal.attributes;
        let values = NAMES
            .iter()
            .map(|name| attributes.get(*name).map_or("", String::as_str));
        let tags = terminal
            .tags
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        let record = [terminal.id.as_str()].into_iter().chain(values);
        let _ = writer.write_record(record.chain([tags.as_str()]));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
