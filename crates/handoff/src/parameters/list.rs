//! Parameter lists: the paths that belong to the applications.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::ParametersError;
use crate::layout::ROOT;

/// The folder of the lists on a root.
pub const LISTS_DIR: &str = "/etc/dau/parameters.d";

/// Folders without parameters: the kernel's, volatile, or the upgrade's own.
const FORBIDDEN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", ROOT];

/// The paths that belong to the applications: absolute paths or shell patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterSet {
    patterns: Vec<PathBuf>,
    /// The paths that an OS must not run without.
    required: Vec<PathBuf>,
}

/// Prefix of a line: an OS must not run without this parameter.
const REQUIRED: &str = "required ";

/// Longest list, bytes.
const MAX_LIST: u64 = 1 << 20;

impl ParameterSet {
    /// Reads every `*.list` file in `lists_dir` (a path on `root`, [`LISTS_DIR`]) in the order of
    /// their names.
    ///
    /// One absolute path or pattern (`*`, `?`, `[...]`, `**`) per line; `#` starts a comment line,
    /// and `required ` before the path means that an OS must not run without it. A folder includes
    /// everything below it. A missing `lists_dir` is an empty set.
    pub fn load(root: &Path, lists_dir: &Path) -> Result<Self, ParametersError> {
        let folder = root.join(lists_dir.strip_prefix("/").unwrap_or(lists_dir));
        let mut lists = Vec::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(ParametersError::io("list", &folder))?.path();
                    if path.extension() == Some(OsStr::new("list")) {
                        lists.push(path);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ParametersError::io("list", &folder)(error)),
        }
        lists.sort();
        let mut set = Self::default();
        for list in lists {
            let text = dau_system::durable::read(&list, MAX_LIST)
                .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
                .map_err(ParametersError::io("read", &list))?;
            for (pattern, required) in parse(&list, &text)? {
                set.patterns.push(pattern.clone());
                set.required.extend(required.then_some(pattern));
            }
        }
        Ok(set)
    }

    /// Returns the patterns that an OS must not run without.
    pub fn required(&self) -> &[PathBuf] {
        &self.required
    }

    /// Returns all patterns, as listed.
    pub fn patterns(&self) -> &[PathBuf] {
        &self.patterns
    }
}

/// Parses the patterns, with their `required` marks.
fn parse(list: &Path, text: &str) -> Result<Vec<(PathBuf, bool)>, ParametersError> {
    let mut patterns = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (path, required) = match line.strip_prefix(REQUIRED) {
            Some(path) => (path.trim_start(), true),
            None => (line, false),
        };
        let path = check(path).map_err(|reason| ParametersError::List {
            list: list.to_owned(),
            line: number,
            text: line.to_owned(),
            reason,
        })?;
        patterns.push((path, required));
    }
    Ok(patterns)
}

/// Checks one line.
fn check(line: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(line);
    if !path.is_absolute() {
        return Err("a path starts with '/', or with 'required /'");
    }
    // `components` drops `//` and `/./`, which name the same file.
    let path: PathBuf = path.components().collect();
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("a path does not contain '..'");
    }
    for part in path.components() {
        let part = part.as_os_str().to_str().unwrap_or_default();
        if glob::Pattern::new(part).is_err() {
            return Err("the pattern is malformed");
        }
    }
    let first = path.components().nth(1).map(Component::as_os_str);
    if first.is_none() || first.and_then(OsStr::to_str).is_some_and(is_pattern) {
        return Err("the first folder is spelled out: a whole root filesystem is no parameter");
    }
    if forbidden(&path) {
        return Err("nothing there is a parameter (/proc, /sys, /dev, /run, /mnt/dau)");
    }
    Ok(path)
}

/// Returns true for [`FORBIDDEN`] folders and everything below them.
pub(super) fn in_forbidden_place(path: &Path) -> bool {
    FORBIDDEN.iter().any(|place| path.starts_with(place))
}

/// Returns true also for folders above such a folder.
pub(super) fn forbidden(path: &Path) -> bool {
    let above = |place: &&str| Path::new(place).starts_with(path);
    in_forbidden_place(path) || FORBIDDEN.iter().any(above)
}

pub(super) fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '['])
}
