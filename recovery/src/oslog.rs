//! The end of the log of an OS that did not prove itself: kept beside the log before the way back, and quoted in the result.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use dau_system::durable;

/// Bytes that are kept, from the end.
const KEPT: u64 = 32 << 10;
/// Bytes of these in the result.
const QUOTED: usize = 2048;
/// Kept logs, the new one included.
const MAX_FILES: usize = 5;
const PREFIX: &str = "trial-";

/// Copies the end of `log` to `kept`, unless a run before this one did so: a power cut in the rollback must not put the old
/// OS's words in the place of the new one's. Returns its last lines; `None` where there is no log.
pub fn keep(log: &Path, kept: &Path) -> io::Result<Option<String>> {
    if !kept.exists() {
        let Some(text) = tail(log)? else {
            return Ok(None);
        };
        if let Some(folder) = kept.parent() {
            make_room(folder)?;
        }
        durable::write(kept, text.as_bytes(), 0o600)?;
    }
    Ok(tail(kept)?.map(|text| quoted(&text)))
}

/// Sets the log of the OS that is about to be replaced aside: whatever is in `log` afterwards are words of the new one. A log set
/// aside by a run before this one stays, unless an OS has run since.
pub fn set_aside(log: &Path, before: &Path) -> io::Result<()> {
    match durable::rename(log, before) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn tail(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(KEPT)))?;
    let mut bytes = Vec::new();
    file.take(KEPT).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The last whole lines.
fn quoted(text: &str) -> String {
    let text = text.trim_end();
    let mut start = text.len().saturating_sub(QUOTED);
    if start > 0 {
        start += text.as_bytes()[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
    }
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// The oldest go first.
fn make_room(folder: &Path) -> io::Result<()> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            logs.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    logs.sort();
    let excess = (logs.len() + 1).saturating_sub(MAX_FILES);
    for (_, path) in &logs[..excess] {
        durable::remove(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_once_and_its_last_lines_are_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let (log, kept) = (dir.path().join("messages"), dir.path().join("trial-1.log"));
        assert_eq!(keep(&log, &kept).unwrap(), None);
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}")).collect();
        fs::write(&log, lines.join("\n") + "\n").unwrap();
        let quote = keep(&log, &kept).unwrap().unwrap();
        assert!(quote.ends_with("line 4999") && quote.len() <= QUOTED);
        assert!(quote.starts_with("line "), "{quote}");
        assert_eq!(fs::metadata(&kept).unwrap().len(), KEPT);
        // The old OS goes on writing.
        fs::write(&log, "another OS").unwrap();
        assert_eq!(keep(&log, &kept).unwrap().unwrap(), quote);
    }

    #[test]
    fn a_log_is_set_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let (log, before) = (dir.path().join("messages"), dir.path().join("before"));
        set_aside(&log, &before).unwrap();
        fs::write(&log, "the old OS").unwrap();
        for _ in 0..2 {
            set_aside(&log, &before).unwrap();
            assert!(!log.exists());
            assert_eq!(fs::read_to_string(&before).unwrap(), "the old OS");
        }
    }

    #[test]
    fn kept_logs_are_few() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("messages");
        fs::write(&log, "断断\n").unwrap();
        for job in 0..2 * MAX_FILES {
            let kept = dir.path().join(format!("trial-{job}.log"));
            assert_eq!(keep(&log, &kept).unwrap().unwrap(), "断断");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MAX_FILES + 1);
    }
}
