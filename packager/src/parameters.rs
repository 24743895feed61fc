//! Checks whether the parameters that a root filesystem lists can be restored on it.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use dau_handoff::parameters::{ParameterSet, ParametersError, LISTS_DIR};

use crate::tool::tool;

/// Refuses an image with parameter lists that terminals could not read, or with a link to a folder
/// at a listed path: a backup of the link would not contain the folder's files, and if an earlier
/// OS has a folder there, RecoveryOS could not restore it.
pub fn check(image: &Path) -> Result<()> {
    let copy = tempfile::tempdir()?;
    // debugfs run by an ordinary user complains of owners it cannot set; the files are complete.
    debugfs(image, &["rdump", LISTS_DIR, text(copy.path())?])?;
    let folder = Path::new("/").join(Path::new(LISTS_DIR).file_name().unwrap_or_default());
    let set = ParameterSet::load(copy.path(), &folder)?;
    for path in set.patterns() {
        if !path.to_str().is_some_and(is_plain) {
            continue;
        }
        let leads_on = is(image, path, "symlink")? && is(image, &path.join("."), "directory")?;
        if leads_on {
            bail!(ParametersError::LinkToFolder { path: path.clone() });
        }
    }
    Ok(())
}

/// Returns false for patterns, which match files of the terminal, and for paths that debugfs would
/// split.
fn is_plain(name: &str) -> bool {
    !name.contains(['*', '?', '[', '"', '\\'])
}

fn is(image: &Path, path: &Path, kind: &str) -> Result<bool> {
    let said = debugfs(image, &["stat", text(path)?])?;
    Ok(said.contains(&format!("Type: {kind}")))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is no UTF-8")
}

/// Returns debugfs's output for a request, written as on its command line. A missing file is no
/// error.
fn debugfs(image: &Path, words: &[&str]) -> Result<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let output = tool("debugfs")
        .args([OsStr::new("-R"), OsStr::new(&quoted.join(" "))])
        .arg(image)
        .env("DEBUGFS_PAGER", "cat")
        .output()
        .context("cannot run debugfs, which looks into root filesystems: install e2fsprogs")?;
    ensure!(
        output.status.success(),
        "debugfs cannot look into it: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
