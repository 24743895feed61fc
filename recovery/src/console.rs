//! RecoveryOS's log: on the console, and on mnt while it is mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use dau_handoff::Layout;
use env_logger::{Builder, Target};
use log::LevelFilter;
use nix::errno::Errno;
use nix::sys::termios::{tcgetattr, tcsetattr, InputFlags, SetArg};

/// Most logs kept on mnt, the current one included.
const MAX_FILES: usize = 10;
/// Most bytes of a log; the rest is left out.
const MAX_BYTES: usize = 256 << 10;
/// Most bytes that wait in memory for mnt.
const MAX_WAITING: usize = 64 << 10;

/// The log's text while mnt is not mounted, and its file while it is mounted.
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

/// Turns off flow control on standard error: a noisy line that picks up an XOFF (0x13) would block
/// every message, and with it the work, for ever.
pub fn ignore_flow_control() {
    if let Err(error) = without_flow_control(io::stderr().as_fd()) {
        // Files and pipes have no flow control.
        if error != Errno::ENOTTY {
            eprintln!("dau-recovery: the console can be stopped by what it receives: {error}");
        }
    }
}

fn without_flow_control(terminal: BorrowedFd) -> nix::Result<()> {
    let mut settings = tcgetattr(terminal)?;
    settings.input_flags.remove(InputFlags::IXON);
    tcsetattr(terminal, SetArg::TCSANOW, &settings)
}

/// Keeps the log on mnt, including earlier messages.
pub fn keep_in(layout: &Layout) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = kept.open(layout) {
        drop(kept);
        log::warn!("no log is kept in {}: {error}", layout.logs().display());
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
    fn open(&mut self, layout: &Layout) -> io::Result<()> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => next_log(layout)?,
        };
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&self.waiting)?;
        self.written = self.written.saturating_add(self.waiting.len());
        self.waiting.clear();
        self.file = Some(file);
        self.path = Some(path);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            if self.waiting.len().saturating_add(bytes.len()) <= MAX_WAITING {
                self.waiting.extend_from_slice(bytes);
            }
            return;
        };
        let written = self.written.saturating_add(bytes.len());
        if written <= MAX_BYTES && file.write_all(bytes).is_ok() {
            self.written = written;
        }
    }
}

/// Removes the oldest logs to make room for one more, and returns its name; numbers grow.
fn next_log(layout: &Layout) -> io::Result<PathBuf> {
    let numbers = layout.recovery_logs()?;
    let excess = numbers.len().saturating_add(1).saturating_sub(MAX_FILES);
    for old in numbers.iter().take(excess) {
        fs::remove_file(layout.recovery_log(*old))?;
    }
    let next = numbers.last().map_or(1, |last| last.wrapping_add(1));
    Ok(layout.recovery_log(next))
}

/// A writer to both.
struct Tee;

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A missing console must not stop the work.
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

/// Returns the seconds since the system started, as a terminal's clock may be wrong.
fn uptime() -> f64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map_or(0.0, |time| std::time::Duration::from(time).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::{Duration, Instant};

    use nix::fcntl::{fcntl, FcntlArg, OFlag};
    use nix::pty::openpty;

    /// Writes to a serial line that has received an XOFF and has no reader.
    fn after_xoff(prepare: fn(BorrowedFd)) -> io::Result<usize> {
        let line = openpty(None, None).unwrap();
        prepare(line.slave.as_fd());
        nix::unistd::write(&line.master, b"\x13").unwrap();
        fcntl(&line.slave, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        // The kernel handles the byte asynchronously.
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            let written = nix::unistd::write(&line.slave, b"verifying\n").map_err(io::Error::from);
            if written.is_err() || Instant::now() > end {
                return written;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn an_xoff_on_the_line_stops_no_message() {
        let blocked = after_xoff(|_| ()).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        let written = after_xoff(|terminal| without_flow_control(terminal).unwrap());
        assert_eq!(written.unwrap(), b"verifying\n".len());
    }

    #[test]
    fn the_oldest_logs_go_and_numbers_grow() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        fs::write(layout.logs().join("notes.txt"), "a technician's").unwrap();
        for _ in 0..25 {
            fs::write(next_log(&layout).unwrap(), "").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(layout.logs())
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
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        kept.open(&layout).unwrap();
        for _ in 0..MAX_BYTES {
            kept.write(b"again and again\n");
        }
        let text = fs::read(kept.path.unwrap()).unwrap();
        assert!(text.starts_with(b"before mnt\nagain"));
        assert!(text.len() <= MAX_BYTES && text.len() > MAX_BYTES - 100);
    }
}
