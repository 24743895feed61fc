//! Expands a set's patterns on a root, and walks the matches.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::inroot::{self, Missing};
use super::{list, ParameterSet, ParametersError};

/// Matches as a shell does: a leading dot must be explicit.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The matches of a set's patterns.
pub(super) struct Matched {
    /// The paths in order, without paths below another folder in the list.
    pub tops: Vec<PathBuf>,
    required: BTreeSet<PathBuf>,
}

impl Matched {
    /// Returns whether an OS must not run without the file at `path`.
    pub(super) fn is_required(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.required.contains(above))
    }
}

/// Finds the matches of the patterns.
pub(super) fn matched(root: &Path, set: &ParameterSet) -> Result<Matched, ParametersError> {
    let all = paths(root, set.patterns())?;
    Ok(Matched {
        tops: tops(root, all)?,
        required: paths(root, set.required())?,
    })
}

/// Refuses a set that lists a link to a folder. Matches of patterns depend on the terminal and are
/// ignored.
pub(super) fn check_links(root: &Path, set: &ParameterSet) -> Result<(), ParametersError> {
    for path in set.patterns() {
        if list::is_pattern(&path.to_string_lossy()) {
            continue;
        }
        let is_link = look(root, path)?.is_some_and(|(_, metadata)| metadata.is_symlink());
        if is_link && inroot::folder(root, path, Missing::Fail).is_ok() {
            return Err(ParametersError::LinkToFolder { path: path.clone() });
        }
    }
    Ok(())
}

fn paths(root: &Path, patterns: &[PathBuf]) -> Result<BTreeSet<PathBuf>, ParametersError> {
    let mut matches = BTreeSet::new();
    for pattern in patterns {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern.components().skip(1) {
            let part = part.as_os_str().to_string_lossy();
            found = step(root, found, &part).map_err(ParametersError::io("list", pattern))?;
        }
        matches.extend(found);
    }
    Ok(matches)
}

fn tops(root: &Path, matches: BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, ParametersError> {
    let mut tops: Vec<PathBuf> = Vec::new();
    let mut folder: Option<PathBuf> = None;
    for path in matches {
        if folder
            .as_ref()
            .is_some_and(|folder| path.starts_with(folder))
        {
            continue;
        }
        let Some((location, metadata)) = look(root, &path)? else {
            continue;
        };
        let lies = Path::new("/").join(location.strip_prefix(root).unwrap_or(&location));
        if list::forbidden(&path) || list::forbidden(&lies) {
            log::warn!(
                "{} is passed over: no parameters are kept there",
                path.display()
            );
            continue;
        }
        if metadata.is_symlink() {
            log::info!(
                "{} is a link: the link is kept, not what it leads to",
                path.display()
            );
        }
        folder = metadata.is_dir().then(|| path.clone());
        tops.push(path);
    }
    Ok(tops)
}

/// Expands one more part of the pattern from each of `found`.
fn step(root: &Path, found: Vec<PathBuf>, part: &str) -> io::Result<Vec<PathBuf>> {
    if !list::is_pattern(part) {
        return Ok(found.into_iter().map(|path| path.join(part)).collect());
    }
    let mut next = Vec::new();
    if part == "**" {
        let mut open = found;
        while let Some(path) = open.pop() {
            let real = inroot::folder(root, &path, Missing::Fail);
            for name in names(real)? {
                let below = path.join(name);
                let location = inroot::locate(root, &below, Missing::Fail)?;
                if fs::symlink_metadata(location).is_ok_and(|metadata| metadata.is_dir()) {
                    open.push(below);
                }
            }
            next.push(path);
        }
        return Ok(next);
    }
    // The list was checked when it was read.
    let pattern = Pattern::new(part).map_err(io::Error::other)?;
    for path in found {
        for name in names(inroot::folder(root, &path, Missing::Fail))? {
            if pattern.matches_with(&name.to_string_lossy(), MATCHING) {
                next.push(path.join(name));
            }
        }
    }
    Ok(next)
}

/// Returns the names in a folder, sorted; none if it does not exist.
fn names(folder: io::Result<PathBuf>) -> io::Result<Vec<OsString>> {
    let entries = match folder.and_then(fs::read_dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Returns the real location and the kind of the entry at `path`; `None` if it does not exist.
pub(super) fn look(
    root: &Path,
    path: &Path,
) -> Result<Option<(PathBuf, Metadata)>, ParametersError> {
    let found = inroot::locate(root, path, Missing::Fail)
        .and_then(|location| fs::symlink_metadata(&location).map(|metadata| (location, metadata)));
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(ParametersError::io("look at", path)(error)),
    }
}

/// Tells whether an error means that the path does not exist: a part is missing, is no folder, or
/// is a loop of links.
fn is_absent(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Visits `top` and everything below it in the order of the paths; links are not followed.
pub(super) fn walk(
    root: &Path,
    top: &Path,
    visit: &mut dyn FnMut(&Path, &Path) -> Result<(), ParametersError>,
) -> Result<(), ParametersError> {
    let Some((location, metadata)) = look(root, top)? else {
        return Ok(());
    };
    visit(&location, top)?;
    if !metadata.is_dir() {
        return Ok(());
    }
    // One list of names per open folder, the next name last.
    let list = |location: &Path| -> Result<Vec<OsString>, ParametersError> {
        let mut names =
            names(Ok(location.to_owned())).map_err(ParametersError::io("list", location))?;
        names.reverse();
        Ok(names)
    };
    let (mut location, mut path) = (location, top.to_owned());
    let mut open = vec![list(&location)?];
    while let Some(names) = open.last_mut() {
        let Some(name) = names.pop() else {
            open.pop();
            location.pop();
            path.pop();
            continue;
        };
        location.push(&name);
        path.push(&name);
        visit(&location, &path)?;
        if fs::symlink_metadata(&location).is_ok_and(|metadata| metadata.is_dir()) {
            open.push(list(&location)?);
        } else {
            location.pop();
            path.pop();
        }
    }
    Ok(())
}
