//! What RecoveryOS says: on the console, and on mnt while that is mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use env_logger::{Builder, Target};
use log::LevelFilter;

/// Logs that are kept on mnt, the current one included.
const MAX_FILES: usize = 10;
/// Bytes of one log; what is more is left out.
const MAX_BYTES: usize = 256 << 10;
/// Bytes that wait in memory for mnt.
const MAX_WAITING: usize = 64 << 10;
const PREFIX: &str = "recovery-";
const SUFFIX: &str = ".log";

/// What was said while mnt was not mounted, and the log that is open while it is.
#[derive(Debug)]
struct Kept {
    waiting: Vec<u8>,
    file: Option<File>,
    path: Option<PathBuf>,
    written: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    waiting: Vec::new(),
    file: None,
    path: None,
    written: 0,
});

/// Starts logging to standard error and, as soon as [`keep_in`] was called, to mnt.
pub fn start() {
    let filter = std::env::var("DAU_LOG").ok();
    let level = filter.and_then(|word| word.parse().ok());
    Builder::new()
        .filter_level(level.unwrap_or(LevelFilter::Info))
        .format(|buffer, record| {
            writeln!(
                buffer,
                "[{:>9.3}] dau-recovery: {}{}",
                uptime(),
                label(record.level()),
                record.args()
            )
        })
        .target(Target::Pipe(Box::new(Tee)))
        .init();
}

/// Keeps the log in this folder on mnt, what was said before included.
pub fn keep_in(folder: &Path) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = kept.open(folder) {
        drop(kept);
        log::warn!("no log is kept in {}: {error}", folder.display());
    }
}

/// Closes the log on mnt, so that mnt can be unmounted.
pub fn keep_in_memory() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = kept.file.take() {
        let _ = file.sync_all();
    }
}

impl Kept {
    fn open(&mut self, folder: &Path) -> io::Result<()> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => next_name(folder)?,
        };
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&self.waiting)?;
        self.written += self.waiting.len();
        self.waiting.clear();
        self.file = Some(file);
        self.path = Some(path);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            if self.waiting.len() + bytes.len() <= MAX_WAITING {
                self.waiting.extend_from_slice(bytes);
            }
            return;
        };
        if self.written + bytes.len() <= MAX_BYTES && file.write_all(bytes).is_ok() {
            self.written += bytes.len();
        }
    }
}

/// Makes room for one more log and names it: numbers grow, the oldest go first.
fn next_name(folder: &Path) -> io::Result<PathBuf> {
    let mut numbers: Vec<u64> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| number(&entry.file_name().to_string_lossy()))
        .collect();
    numbers.sort_unstable();
    let excess = (numbers.len() + 1).saturating_sub(MAX_FILES);
    for old in &numbers[..excess] {
        fs::remove_file(folder.join(name(*old)))?;
    }
    Ok(folder.join(name(numbers.last().map_or(1, |last| last + 1))))
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:06}{SUFFIX}")
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()
}

/// Writes to both.
struct Tee;

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A console that is not there stops nobody.
        let _ = io::stderr().write_all(bytes);
        KEPT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn label(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "error: ",
        log::Level::Warn => "warning: ",
        _ => "",
    }
}

/// Seconds since the system started: the clock of a terminal may say 1970.
fn uptime() -> f64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map_or(0.0, |time| std::time::Duration::from(time).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_logs_go_and_numbers_grow() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "a technician's").unwrap();
        for _ in 0..25 {
            fs::write(next_name(dir.path()).unwrap(), "").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), MAX_FILES + 1);
        assert_eq!(names[0], "notes.txt");
        assert_eq!(names[1], "recovery-000016.log");
        assert_eq!(names[MAX_FILES], "recovery-000025.log");
    }

    #[test]
    fn a_log_is_bounded_and_begins_with_what_waited() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept {
            waiting: Vec::new(),
            file: None,
            path: None,
            written: 0,
        };
        kept.write(b"before mnt\n");
        kept.open(dir.path()).unwrap();
        for _ in 0..MAX_BYTES {
            kept.write(b"again and again\n");
        }
        let text = fs::read(kept.path.unwrap()).unwrap();
        assert!(text.starts_with(b"before mnt\nagain"));
        assert!(text.len() <= MAX_BYTES && text.len() > MAX_BYTES - 100);
    }
}
