//! The configuration files, later ones over earlier ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::fragment::Fragment;
use super::SettingsError;

/// Files and what each of them says.
#[derive(Debug, Default)]
pub struct Layers {
    layers: Vec<(PathBuf, Table)>,
}

impl Layers {
    /// Reads a file that must be there.
    pub fn add(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        })?;
        // Judged file by file, so that the error names the file; the parser's text names line and
        // key.
        let parsed = toml::from_str::<Fragment>(&text).and_then(|_| toml::from_str::<Table>(&text));
        let table = parsed.map_err(|error| SettingsError::Parse {
            path: path.to_owned(),
            reason: describe(&text, &error),
        })?;
        self.layers.push((path.to_owned(), table));
        Ok(())
    }

    /// Reads a file if it is there.
    pub fn add_optional(&mut self, path: &Path) -> Result<(), SettingsError> {
        match path.try_exists() {
            Ok(false) => Ok(()),
            _ => self.add(path),
        }
    }

    /// Reads every `*.toml` in a folder, by name; a missing folder is empty.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), SettingsError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(SettingsError::Read {
                    path: folder.to_owned(),
                    source,
                })
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        });
        paths.sort();
        paths.iter().try_for_each(|path| self.add(path))
    }

    /// Returns all files together: keys of later ones replace those of earlier ones.
    pub fn merged(&self) -> Result<Fragment, SettingsError> {
        let mut all = Table::new();
        for (_, table) in &self.layers {
            for (section, keys) in table {
                match (all.get_mut(section), keys) {
                    (Some(Value::Table(known)), Value::Table(keys)) => known.extend(keys.clone()),
                    _ => drop(all.insert(section.clone(), keys.clone())),
                }
            }
        }
        all.try_into().map_err(|error| SettingsError::Parse {
            path: PathBuf::from("all files together"),
            reason: error.to_string(),
        })
    }

    /// Returns the last file that sets `section.key`.
    pub fn origin(&self, section: &str, key: &str) -> Option<&Path> {
        let sets = |table: &Table| {
            table
                .get(section)
                .and_then(Value::as_table)
                .is_some_and(|keys| keys.contains_key(key))
        };
        let found = self.layers.iter().rev().find(|(_, table)| sets(table));
        found.map(|(path, _)| path.as_path())
    }
}

/// Returns line and reason; the parser's own text would quote several lines.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count();
    let content = text.lines().nth(line).unwrap_or_default().trim();
    let number = line.saturating_add(1);
    format!("line {number} ({content}): {}", error.message())
}
