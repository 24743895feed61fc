//! The end of the log of an OS that failed its trial: saved before the rollback, and quoted in the
//! result.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use dau_handoff::Layout;
use dau_system::durable;

/// Number of bytes saved, from the end.
const KEPT: u64 = 32 << 10;
/// Number of bytes quoted in the result.
const QUOTED: usize = 2048;
/// Most saved logs, the new one included.
const MAX_FILES: usize = 5;

/// Copies the end of the log to the job's [`Layout::trial_log`], unless an earlier run did: after a
/// power cut in the rollback the log may be the old OS's. Returns its last lines; `None` if there
/// is no log.
pub fn keep(layout: &Layout, job: i64) -> io::Result<Option<String>> {
    let kept = layout.trial_log(job);
    if !kept.exists() {
        let Some(text) = tail(&layout.os_log())? else {
            return Ok(None);
        };
        make_room(layout)?;
        durable::write(&kept, text.as_bytes(), 0o600)?;
    }
    Ok(tail(&kept)?.map(|text| quoted(&text)))
}

/// Moves the log of the OS aside before it is replaced, so that the log then holds only the new
/// one's messages. A log moved aside by an earlier run stays, unless an OS has run since.
pub fn set_aside(layout: &Layout) -> io::Result<()> {
    match durable::rename(&layout.os_log(), &layout.os_log_before()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn tail(path: &Path) -> io::Result<Option<String>> {
    let mut file = match durable::open(path) {
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

/// Returns the last complete lines.
fn quoted(text: &str) -> String {
    let text = text.trim_end();
    let mut start = text.len().saturating_sub(QUOTED);
    while !text.is_char_boundary(start) {
        start = start.saturating_add(1);
    }
    let end = text.get(start..).unwrap_or_default();
    match end.split_once('\n') {
        Some((_, whole)) if start > 0 => whole.to_owned(),
        _ => end.to_owned(),
    }
}

/// Removes the oldest logs.
fn make_room(layout: &Layout) -> io::Result<()> {
    let logs = layout.all_trial_logs()?;
    let excess = logs.len().saturating_add(1).saturating_sub(MAX_FILES);
    for path in logs.iter().take(excess) {
        durable::remove(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        (dir, layout)
    }

    #[test]
    fn the_end_is_kept_once_and_its_last_lines_are_quoted() {
        let (_dir, layout) = layout();
        assert_eq!(keep(&layout, 1).unwrap(), None);
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}")).collect();
        fs::write(layout.os_log(), lines.join("\n") + "\n").unwrap();
        let quote = keep(&layout, 1).unwrap().unwrap();
        assert!(quote.ends_with("line 4999") && quote.len() <= QUOTED);
        assert!(quote.starts_with("line "), "{quote}");
        assert_eq!(fs::metadata(layout.trial_log(1)).unwrap().len(), KEPT);
        // The old OS goes on writing.
        fs::write(layout.os_log(), "another OS").unwrap();
        assert_eq!(keep(&layout, 1).unwrap().unwrap(), quote);
    }

    #[test]
    fn a_log_is_set_aside_once() {
        let (_dir, layout) = layout();
        set_aside(&layout).unwrap();
        fs::write(layout.os_log(), "the old OS").unwrap();
        for _ in 0..2 {
            set_aside(&layout).unwrap();
            assert!(!layout.os_log().exists());
            let before = fs::read_to_string(layout.os_log_before()).unwrap();
            assert_eq!(before, "the old OS");
        }
    }

    #[test]
    fn kept_logs_are_few() {
        let (_dir, layout) = layout();
        fs::write(layout.os_log(), "断断\n").unwrap();
        for job in 0..2 * MAX_FILES as i64 {
            assert_eq!(keep(&layout, job).unwrap().unwrap(), "断断");
        }
        assert_eq!(layout.all_trial_logs().unwrap().len(), MAX_FILES);
    }
}
