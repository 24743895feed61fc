//! Attributes and tags of many terminals, from a table: first the plan, which can be looked at, then
//! all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use dau_protocol::topic::is_device_id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Change, Labels, NAMES};
use crate::store::{locks, terminals, Read, Result, Write};

/// Most lines of a table.
pub const MAX_LINES: usize = 100_000;
/// Most lines that the answer names.
const MAX_NAMED: usize = 1000;
/// The column of the terminals' ids, and that of their tags.
const ID: &str = "id";
const TAGS: &str = "tags";
/// Removes what the terminal has; an empty cell leaves it.
const NONE: &str = "-";

/// A line that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// The line in the file, from 1.
    pub line: u64,
    /// What is wrong in it.
    pub reason: String,
}

/// A terminal that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// The terminal.
    pub terminal: String,
    /// Whether it becomes known by this.
    pub added: bool,
    /// Its attributes that change: what they were, and what they become; null: there is none.
    pub attributes: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Tags that it gets.
    pub tag: Vec<String>,
    /// Tags that it loses.
    pub untag: Vec<String>,
}

/// What an import does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// Number of terminals that become known.
    pub added: u64,
    /// Number of known terminals that change.
    pub changed: u64,
    /// Number of known terminals that stay as they are.
    pub unchanged: u64,
    /// Number of lines that are refused; if there are any, nothing is imported.
    pub refused: u64,
    /// The first 1000 refused lines.
    pub refusals: Vec<Refused>,
    /// The first 1000 terminals that are added or changed.
    pub changes: Vec<Changed>,
}

/// A terminal's line.
#[derive(Debug)]
pub struct Line {
    number: u64,
    id: String,
    /// By attribute; none: it is removed.
    attributes: BTreeMap<String, Option<String>>,
    /// All its tags.
    tags: Option<BTreeSet<String>>,
}

/// Lines that can be imported, and those that cannot.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
    refused: Vec<Refused>,
}

impl Table {
    /// Reads a table of comma-separated values with a header: `id`, names of attributes, and `tags`,
    /// separated by blanks or `;`. `Err` says why none of it can be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        check_header(&header)?;
        let (mut table, mut seen) = (Table::default(), BTreeMap::new());
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let number = record.position().map_or(0, |at| first_line(text, at));
            if record.iter().all(str::is_empty) {
                continue;
            }
            if table.lines.len().saturating_add(table.refused.len()) >= MAX_LINES {
                return Err(format!(
                    "has more than {MAX_LINES} terminals: import it in parts"
                ));
            }
            let line = line(&header, &record, number).and_then(|line| {
                match seen.insert(line.id.clone(), number) {
                    None => Ok(line),
                    Some(first) => Err(format!("'{}' is in line {first} already", line.id)),
                }
            });
            match line {
                Ok(line) => table.lines.push(line),
                Err(reason) => table.refused.push(Refused {
                    line: number,
                    reason,
                }),
            }
        }
        Ok(table)
    }
}

/// Returns the line in which a record begins: behind the empty ones, which the reader passes over.
fn first_line(text: &str, at: &csv::Position) -> u64 {
    let rest = usize::try_from(at.byte())
        .ok()
        .and_then(|byte| text.as_bytes().get(byte..));
    let ends = rest.unwrap_or_default().iter();
    let ends = ends.take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let empty = ends.filter(|byte| **byte == b'\n').count();
    at.line().saturating_add(empty as u64)
}

fn check_header(header: &csv::StringRecord) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in header {
        if ![ID, TAGS].contains(&name) && !NAMES.contains(&name) {
            return Err(format!(
                "line 1: '{}' is no column: there are {ID}, {TAGS}, {}",
                dau_protocol::shortened(name, 64).escape_debug(),
                NAMES.join(", ")
            ));
        }
        if !seen.insert(name) {
            return Err(format!("line 1: the column '{name}' is there twice"));
        }
    }
    match seen.contains(ID) {
        true => Ok(()),
        false => Err(format!("line 1: there is no column '{ID}'")),
    }
}

fn line(
    header: &csv::StringRecord,
    record: &csv::StringRecord,
    number: u64,
) -> Result<Line, String> {
    if record.len() != header.len() {
        let (has, wants) = (record.len(), header.len());
        return Err(format!("has {has} cells, the header has {wants}"));
    }
    let mut line = Line {
        number,
        id: String::new(),
        attributes: BTreeMap::new(),
        tags: None,
    };
    for (name, cell) in header
        .iter()
        .zip(record)
        .filter(|(_, cell)| !cell.is_empty())
    {
        let value = Some(cell).filter(|cell| *cell != NONE);
        match name {
            ID => line.id = cell.to_owned(),
            TAGS => {
                let is_between = |letter: char| letter.is_whitespace() || letter == ';';
                let tags = value.into_iter().flat_map(|cell| cell.split(is_between));
                let tags = tags.filter(|tag| !tag.is_empty());
                line.tags = Some(tags.map(str::to_owned).collect());
            }
            name => {
                line.attributes
                    .insert(name.to_owned(), value.map(str::to_owned));
            }
        }
    }
    match is_device_id(&line.id) {
        true => Ok(line),
        false => Err(format!(
            "'{}' is no terminal id: 1 to 64 letters, digits, '-', '_' or '.'",
            dau_protocol::shortened(&line.id, 64).escape_debug()
        )),
    }
}

/// A terminal as it is and as it becomes.
#[derive(Debug)]
struct Step {
    id: String,
    is_known: bool,
    before: Labels,
    after: Labels,
}

/// Returns what a table would do.
pub fn plan(r: &Read<'_>, table: &Table) -> Result<Imported> {
    steps(r, table).map(|(imported, _)| imported)
}

/// Imports a table, unless it has a line that is refused.
pub fn import(w: &Write<'_>, now: i64, table: &Table, by: &str) -> Result<Imported> {
    locks::terminals(w, table.lines.iter().map(|line| line.id.as_str()))?;
    let (imported, steps) = steps(w, table)?;
    if imported.refused == 0 {
        for step in steps {
            terminals::register(w, now, &step.id)?;
            super::replace(w, now, &step.id, &step.before, &step.after, by)?;
        }
    }
    Ok(imported)
}

fn steps(r: &Read<'_>, table: &Table) -> Result<(Imported, Vec<Step>)> {
    let mut imported = Imported::default();
    let (mut refused, mut steps) = (table.refused.clone(), Vec::new());
    for line in &table.lines {
        let is_known = terminals::candidate(r, &line.id)?.is_some();
        let before = match is_known {
            true => super::of(r, &line.id)?,
            false => Labels::default(),
        };
        let keep = |tag: &&String| line.tags.as_ref().is_none_or(|tags| tags.contains(*tag));
        let change = Change {
            attributes: line.attributes.clone(),
            tag: line.tags.iter().flatten().cloned().collect(),
            untag: before
                .tags
                .iter()
                .filter(|tag| !keep(tag))
                .cloned()
                .collect(),
        };
        let after = match change.applied(&before) {
            Ok(after) => after,
            Err(reason) => {
                let line = line.number;
                refused.push(Refused { line, reason });
                continue;
            }
        };
        let count = match (is_known, before == after) {
            (false, _) => &mut imported.added,
            (true, false) => &mut imported.changed,
            (true, true) => &mut imported.unchanged,
        };
        *count = count.saturating_add(1);
        let id = line.id.clone();
        let step = Step {
            id,
            is_known,
            before,
            after,
        };
        if imported.changes.len() < MAX_NAMED && (!is_known || step.before != step.after) {
            imported.changes.push(step.changed());
        }
        steps.push(step);
    }
    refused.sort_by_key(|refused| refused.line);
    imported.refused = refused.len() as u64;
    refused.truncate(MAX_NAMED);
    imported.refusals = refused;
    Ok((imported, steps))
}

impl Step {
    fn changed(&self) -> Changed {
        let (before, after) = (&self.before, &self.after);
        let pair = |name: &&str| {
            let values = [before, after].map(|labels| labels.attributes.get(*name).cloned());
            let [old, new] = values;
            (old != new).then(|| ((*name).to_owned(), (old, new)))
        };
        Changed {
            terminal: self.id.clone(),
            added: !self.is_known,
            attributes: NAMES.iter().filter_map(pair).collect(),
            tag: after.tags.difference(&before.tags).cloned().collect(),
            untag: before.tags.difference(&after.tags).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
