//! The serial console: a log file with times, and the text so far for those who wait for a line.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Written into the log where the power went.
pub(super) const POWER_OFF: &str = "\n---- power off ----\n";

/// A place in the console's text: what came before it is not looked at again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark(usize);

/// The console of a terminal, over all its power cycles.
#[derive(Debug)]
pub struct Console {
    log: PathBuf,
    text: Arc<Mutex<String>>,
    file: Arc<Mutex<File>>,
    input: Mutex<Option<ChildStdin>>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    pub(super) fn new(log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        Ok(Console {
            log: log.to_owned(),
            text: Arc::default(),
            file: Arc::new(Mutex::new(file)),
            input: Mutex::new(None),
            reader: None,
        })
    }

    /// Reads what QEMU prints until it ends.
    pub(super) fn attach(&mut self, input: ChildStdin, mut output: ChildStdout) {
        *lock(&self.input) = Some(input);
        let (text, file) = (self.text.clone(), self.file.clone());
        self.reader = Some(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let _ = lock(&file).write_all(&buffer[..length]);
                let printable = buffer[..length]
                    .iter()
                    .filter(|byte| !matches!(byte, 0 | b'\r'));
                let printable: String = printable.map(|byte| char::from(*byte)).collect();
                lock(&text).push_str(&printable);
            }
        }));
    }

    /// Waits for the last words of a QEMU that has ended.
    pub(super) fn detach(&mut self) {
        *lock(&self.input) = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let _ = lock(&self.file).write_all(POWER_OFF.as_bytes());
        lock(&self.text).push_str(POWER_OFF);
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of the text so far.
    pub fn mark(&self) -> Mark {
        Mark(lock(&self.text).len())
    }

    /// What came after `mark`.
    pub fn since(&self, mark: Mark) -> String {
        lock(&self.text)[mark.0..].to_owned()
    }

    /// Looks for `text` after `mark`. Where it is found, `mark` moves behind it and the rest of its line, as far as it has
    /// come, is returned.
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

    /// How often `text` stands after `mark`.
    pub fn count(&self, mark: Mark, text: &str) -> usize {
        lock(&self.text)[mark.0..].matches(text).count()
    }

    /// What came since one of `texts` was printed last; all of it where none ever was.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
