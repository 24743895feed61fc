//! The serial console: a log file with times, and the text so far for waits.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result};

use super::noise::{Noise, PAUSE};

/// Mark in the log for a power cut.
pub(super) const POWER_OFF: &str = "\n---- power off ----\n";

/// A position in the console's text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark(usize);

/// When some of the text came.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Length of the text by then.
    length: usize,
    at: Instant,
    /// Seconds of processor that the emulator had used since it started.
    worked: f64,
}

/// A terminal's console, over all power cycles.
#[derive(Debug)]
pub struct Console {
    log: PathBuf,
    text: Arc<Mutex<String>>,
    moments: Arc<Mutex<Vec<Moment>>>,
    file: Arc<Mutex<File>>,
    input: Arc<Mutex<Option<ChildStdin>>>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    pub(super) fn new(log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        Ok(Console {
            log: log.to_owned(),
            text: Arc::default(),
            moments: Arc::default(),
            file: Arc::new(Mutex::new(file)),
            input: Arc::default(),
            reader: None,
        })
    }

    /// Starts reading the output of QEMU, the process `id`, until it ends.
    pub(super) fn attach(&mut self, id: u32, input: ChildStdin, mut output: ChildStdout) {
        *lock(&self.input) = Some(input);
        let (text, moments, file) = (self.text.clone(), self.moments.clone(), self.file.clone());
        self.reader = Some(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let _ = lock(&file).write_all(&buffer[..length]);
                let printable = buffer[..length]
                    .iter()
                    .filter(|byte| !matches!(byte, 0 | b'\r'));
                let printable: String = printable.map(|byte| char::from(*byte)).collect();
                let mut text = lock(&text);
                text.push_str(&printable);
                lock(&moments).push(Moment {
                    length: text.len(),
                    at: Instant::now(),
                    worked: worked(id),
                });
            }
        }));
    }

    /// Starts making noise on the line until QEMU ends.
    pub(super) fn make_noise(&self) {
        let input = self.input.clone();
        std::thread::spawn(move || {
            let mut noise = Noise::new();
            let mut send = || {
                let mut line = lock(&input);
                let line = line.as_mut()?;
                line.write_all(&noise.burst()).ok()?;
                line.flush().ok()
            };
            while send().is_some() {
                std::thread::sleep(PAUSE);
            }
        });
    }

    /// Waits for the rest of the output after QEMU has ended.
    pub(super) fn detach(&mut self) {
        *lock(&self.input) = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let _ = lock(&self.file).write_all(POWER_OFF.as_bytes());
        lock(&self.text).push_str(POWER_OFF);
    }

    /// Returns the log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the end of the text so far.
    pub fn mark(&self) -> Mark {
        Mark(lock(&self.text).len())
    }

    /// Returns the text after `mark`.
    pub fn since(&self, mark: Mark) -> String {
        lock(&self.text)[mark.0..].to_owned()
    }

    /// Searches for `text` after `mark`. If found, moves `mark` behind its line and returns the
    /// rest of that line as printed so far.
    pub fn find(&self, mark: &mut Mark, text: &str) -> Option<String> {
        let all = lock(&self.text);
        let at = mark.0 + all[mark.0..].find(text)? + text.len();
        *mark = Mark(at);
        Some(
            all[at..]
                .lines()
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        )
    }

    /// Returns when `text` came in after `mark`, and moves `mark` behind it.
    pub fn time_of(&self, mark: &mut Mark, text: &str) -> Option<Instant> {
        self.find(mark, text)?;
        let moments = lock(&self.moments);
        let came = moments.partition_point(|moment| moment.length < mark.0);
        moments.get(came).map(|moment| moment.at)
    }

    /// Returns the seconds of processor that the emulator had used by `at`, since it was started for
    /// the last time: unlike time, it hardly depends on what else this machine does.
    pub fn worked(&self, at: Instant) -> f64 {
        let moments = lock(&self.moments);
        let next = moments.partition_point(|moment| moment.at < at);
        let neighbours = next.checked_sub(1).and_then(|last| moments.get(last));
        match (neighbours, moments.get(next)) {
            (Some(last), Some(next)) => {
                let part = (at - last.at).as_secs_f64() / (next.at - last.at).as_secs_f64();
                last.worked + part * (next.worked - last.worked)
            }
            (Some(only), None) | (None, Some(only)) => only.worked,
            (None, None) => 0.0,
        }
    }

    /// Counts `text` after `mark`.
    pub fn count(&self, mark: Mark, text: &str) -> usize {
        lock(&self.text)[mark.0..].matches(text).count()
    }

    /// Returns the output since the last of any of `texts`; all of it if there is none.
    pub(super) fn since_last(&self, texts: &[&str]) -> String {
        let all = lock(&self.text);
        let last = texts.iter().filter_map(|text| all.rfind(text)).max();
        all[last.unwrap_or(0)..].to_owned()
    }

    pub(super) fn type_in(&self, text: &str) -> Result<()> {
        let mut input = lock(&self.input);
        let input = input.as_mut().context("the terminal has no power")?;
        input.write_all(text.as_bytes())?;
        input.flush().context("the console takes no input")
    }
}

/// Returns the seconds of processor of a process (proc_pid_stat(5): utime and stime).
fn worked(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    ticks as f64 / second.ok().flatten().unwrap_or(100) as f64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
