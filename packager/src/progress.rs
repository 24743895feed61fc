use std::io::{stderr, IsTerminal, Write};
use std::time::{Duration, Instant};

use dau_package::make::Step;

/// A progress line on standard error, if that is a terminal.
pub struct Bar {
    shown: bool,
    step: Option<Step>,
    drawn: Option<Instant>,
}

impl Bar {
    pub fn new() -> Self {
        Self {
            shown: stderr().is_terminal(),
            step: None,
            drawn: None,
        }
    }

    /// Shows progress as reported by `dau_package::make`.
    pub fn update(&mut self, step: Step, done: u64, total: u64) {
        let recent = self
            .drawn
            .is_some_and(|drawn| drawn.elapsed() < Duration::from_millis(200));
        if !self.shown || (recent && self.step == Some(step)) {
            return;
        }
        self.step = Some(step);
        self.drawn = Some(Instant::now());
        write(&format!("\r{CLEAR}{}", line(step, done, total)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            write(&format!("\r{CLEAR}"));
        }
    }
}

/// Clears a terminal's line from the cursor on.
const CLEAR: &str = "\x1b[K";

/// Writes to standard error; ignores errors.
fn write(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

/// Returns the line: step, percent, MiB done and in total.
fn line(step: Step, done: u64, total: u64) -> String {
    const MIB: u64 = 1 << 20;
    let total = total.max(done);
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
    format!(
        "{:18} {percent:3} %  {} of {} MiB",
        words(step),
        done / MIB,
        total / MIB
    )
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Compress => "compressing",
        Step::Digest => "computing digests",
        Step::Sign => "signing",
        Step::Verify => "verifying",
        Step::Unpack => "unpacking to check",
        Step::Compare => "comparing",
        Step::Apply => "applying to check",
    }
}
