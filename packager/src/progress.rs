use std::time::Duration;

use dau_package::make::Step;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar for the step that goes on, on standard error and only where that is a terminal.
pub struct Bar {
    bar: ProgressBar,
    step: Option<Step>,
}

impl Bar {
    pub fn new() -> Self {
        // indicatif draws to standard error, and nothing where that is no terminal.
        let bar = ProgressBar::new(0);
        bar.set_style(style());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, step: None }
    }

    /// Takes what `dau_package::make` tells.
    pub fn update(&mut self, step: Step, done: u64, total: u64) {
        if self.step != Some(step) {
            self.step = Some(step);
            self.bar.reset();
            self.bar.set_message(words(step));
        }
        self.bar.set_length(total.max(done));
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Compress => "compressing",
        Step::Digest => "computing digests",
        Step::Verify => "verifying",
        Step::Unpack => "unpacking to check",
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:18} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
