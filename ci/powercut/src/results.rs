//! The results of all states, one line of JSON each, so that an interrupted run can continue.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::crash::Kind;
use crate::step::Step;

/// The kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The disk alone.
    Cheap,
    /// Boot, and run to the end.
    Full,
}

/// The result of a state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub number: u64,
    pub check: Check,
    /// The recording's name.
    pub recording: String,
    pub kind: Kind,
    /// The step during which the power was cut.
    pub step: Step,
    /// What boots next, or the job's outcome; empty if there is a fault.
    pub lead: String,
    /// What is lost or wrong.
    pub fault: Option<String>,
    /// Duration of the check, seconds.
    pub seconds: f64,
}

/// The results of one seed on one set of recordings.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: Mutex<File>,
    done: HashSet<(Check, u64)>,
}

impl Results {
    /// Opens or creates the file. An incomplete last line is dropped.
    pub fn open(path: &Path) -> Result<Self> {
        let done = match path.exists() {
            true => load(path)?
                .iter()
                .map(|found| (found.check, found.number))
                .collect(),
            false => HashSet::new(),
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        if std::fs::read(path)?
            .last()
            .is_some_and(|byte| *byte != b'\n')
        {
            file.write_all(b"\n")?;
        }
        Ok(Results {
            path: path.to_owned(),
            file: Mutex::new(file),
            done,
        })
    }

    /// Tells whether the file held this state's result when it was opened.
    pub fn has(&self, check: Check, number: u64) -> bool {
        self.done.contains(&(check, number))
    }

    /// Adds a line.
    pub fn add(&self, outcome: &Outcome) -> Result<()> {
        let mut line = serde_json::to_vec(outcome)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(&line)?)
    }

    /// Returns all results; of several for one state, the last.
    pub fn all(&self) -> Result<Vec<Outcome>> {
        let found = load(&self.path)?;
        let latest: BTreeMap<_, _> = found
            .into_iter()
            .map(|outcome| ((outcome.check, outcome.number), outcome))
            .collect();
        Ok(latest.into_values().collect())
    }
}

fn load(path: &Path) -> Result<Vec<Outcome>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_behind_a_line_that_was_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let outcome = |number, lead: &str| Outcome {
            number,
            check: Check::Cheap,
            recording: "full".into(),
            kind: Kind::Torn,
            step: Step::Commit,
            lead: lead.into(),
            fault: None,
            seconds: 0.1,
        };
        let results = Results::open(&path).unwrap();
        results.add(&outcome(7, "old OS")).unwrap();
        results.add(&outcome(8, "old OS")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let results = Results::open(&path).unwrap();
        assert!(results.has(Check::Cheap, 7) && !results.has(Check::Cheap, 8));
        assert!(!results.has(Check::Full, 7));
        results.add(&outcome(8, "new OS")).unwrap();
        results.add(&outcome(7, "new OS")).unwrap();
        let all = results.all().unwrap();
        assert_eq!(
            all.iter()
                .map(|found| (found.number, found.lead.as_str()))
                .collect::<Vec<_>>(),
            [(7, "new OS"), (8, "new OS")]
        );
    }
}
