//! Shows stages as they happen: progress bars on a terminal, one line each otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Length of a bar.
const FULL: u64 = 1000;

/// The current stage and the finished ones.
#[derive(Debug)]
pub struct Show {
    live: bool,
    stage: Option<(String, Instant, ProgressBar)>,
}

impl Show {
    pub fn new() -> Self {
        Show {
            live: std::io::stderr().is_terminal(),
            stage: None,
        }
    }

    /// Begins a stage.
    pub fn begin(&mut self, name: &str) {
        self.close();
        let bar = match self.live {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        let spinner = "      {elapsed:>4} {spinner} {prefix}  {wide_msg:.dim}";
        bar.set_style(
            ProgressStyle::with_template(spinner)
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.stage = Some((name.to_owned(), Instant::now(), bar));
    }

    /// Shows a detail of the stage; `part` is its progress, 0 to 1.
    pub fn detail(&mut self, text: &str, part: Option<f64>) {
        let Some((_, _, bar)) = &self.stage else {
            return;
        };
        if let Some(part) = part.filter(|part| *part > 0.0) {
            let style = "      {elapsed:>4} {spinner} {prefix}  [{bar:30}] {msg:.dim}";
            if bar.length().is_none() {
                bar.set_length(FULL);
                let style = ProgressStyle::with_template(style);
                bar.set_style(
                    style
                        .unwrap_or_else(|_| ProgressStyle::default_bar())
                        .progress_chars("=> "),
                );
            }
            bar.set_position((part * FULL as f64) as u64);
        }
        bar.set_message(text.to_owned());
    }

    /// Ends the stage.
    pub fn end(&mut self, outcome: &str) {
        let Some((name, started, bar)) = self.stage.take() else {
            return;
        };
        bar.finish_and_clear();
        let line = format!(
            "{:6.1} s   {name:52} {outcome}",
            started.elapsed().as_secs_f64()
        );
        println!("{}", line.trim_end());
    }

    /// Clears an unfinished stage.
    pub fn close(&mut self) {
        if let Some((name, started, bar)) = self.stage.take() {
            bar.finish_and_clear();
            println!(
                "{:6.1} s   {name:52} not finished",
                started.elapsed().as_secs_f64()
            );
        }
    }
}

/// Formats a number of bytes.
pub fn bytes(count: u64) -> String {
    format!("{:.1} MB", count as f64 / 1e6)
}
