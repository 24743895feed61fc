//! The table of docs/reliability.md, from the results of actual runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::notes::Versions;
use crate::results::{Check, Outcome};

const BEGIN: &str = "<!-- written by make powercut: begin -->";
const END: &str = "<!-- written by make powercut: end -->";

/// Returns a value's serde name, as in JSON and in the table.
fn name(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}

/// Returns the table as Markdown.
pub fn table(outcomes: &[Outcome], seed: u64, versions: &Versions) -> String {
    let mut text = String::new();
    let of = |check: Check| {
        outcomes
            .iter()
            .filter(move |outcome| outcome.check == check)
    };
    let lost = |check| of(check).filter(|outcome| outcome.fault.is_some()).count();
    let _ = writeln!(
        text,
        "{} cheap states, {} lost. {} full states, {} lost. Seed {seed}.\n",
        of(Check::Cheap).count(),
        lost(Check::Cheap),
        of(Check::Full).count(),
        lost(Check::Full)
    );
    let _ = writeln!(
        text,
        "Images (SHA-256 of SHA256SUMS) {}, commit {}, {}, {}.\n",
        &versions.images[..16.min(versions.images.len())],
        versions.commit,
        versions.qemu,
        versions.checkers
    );
    let _ = writeln!(
        text,
        "| recorded | step | after | lost | reordered | torn | spoiled | full | leads to, or ended | lost states |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    );
    let mut rows: BTreeMap<_, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let key = (outcome.recording.as_str(), outcome.step);
        rows.entry(key).or_default().push(outcome);
    }
    for ((recording, step), row) in rows {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let mut leads: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in &row {
            let column = match outcome.check {
                Check::Cheap => name(outcome.kind),
                Check::Full => name(outcome.check),
            };
            *kinds.entry(column).or_default() += 1;
            if outcome.fault.is_none() {
                *leads.entry(outcome.lead.as_str()).or_default() += 1;
            }
        }
        let count = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
        let faults = row.iter().filter(|outcome| outcome.fault.is_some()).count();
        let leads: Vec<String> = leads
            .iter()
            .map(|(lead, count)| format!("{lead} {count}"))
            .collect();
        let _ = writeln!(
            text,
            "| {recording} | {} | {} | {} | {} | {} | {} | {} | {} | {faults} |",
            name(step),
            count("after"),
            count("lost"),
            count("reordered"),
            count("torn"),
            count("spoiled"),
            count("full"),
            leads.join(", ")
        );
    }
    text
}

/// Puts the table between its marks in a document.
pub fn write(document: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(document)
        .with_context(|| format!("cannot read {}", document.display()))?;
    let marks = || Some((text.find(BEGIN)? + BEGIN.len(), text.find(END)?));
    let (begin, end) =
        marks().with_context(|| format!("{} has no place for the table", document.display()))?;
    let text = format!(
        "{}\n\n{}\n{}",
        &text[..begin],
        table.trim_end(),
        &text[end..]
    );
    Ok(std::fs::write(document, text)?)
}
