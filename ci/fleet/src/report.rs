//! The figures of a run, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::check::Found;
use crate::options::Options;
use crate::probe::{Times, Usage};

/// The figures of a run. Times are seconds.
#[derive(Debug, Serialize)]
pub struct Report {
    pub options: Options,
    /// Processors of the machine, and its load in the minute before and at the end.
    pub processors: usize,
    pub load_before: String,
    pub load_after: String,
    /// From the station's start after the pause until all terminals were welcomed.
    pub link_ups: f64,
    /// Terminals that the station did not know then.
    pub unknown: u64,
    /// The answer to the order for all.
    pub post: f64,
    /// From the order.
    pub last_acceptance: f64,
    pub last_result: f64,
    /// Broker's restart until all terminals are welcomed again; `None`: not measured.
    pub reconnect: Option<f64>,
    /// Messages that the terminals sent.
    pub messages: u64,
    pub found: Found,
    pub rest: BTreeMap<String, Times>,
    pub stations: Vec<Usage>,
    pub broker: Usage,
    /// Of PostgreSQL's processes together.
    pub database: Option<Usage>,
}

impl Report {
    /// Returns what must not be, or nothing.
    pub fn complaints(&self) -> Vec<String> {
        let found = &self.found;
        let mut rules = vec![
            ("jobs lost", found.jobs_lost),
            ("results lost", found.results_lost),
            ("results doubled", found.results_doubled),
            ("states missing from the record", found.states_missing),
            ("terminals unknown", self.unknown),
        ];
        if self.options.no_faults {
            rules.push(("orders sent twice", found.orders_again));
        }
        let broken = rules.iter().filter(|(_, count)| *count != 0);
        broken
            .map(|(what, count)| format!("{count} {what}"))
            .collect()
    }

    /// Returns the table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |what: &str, figure: String| {
            let _ = writeln!(text, "{what:<52} {figure}");
        };
        let found = &self.found;
        let options = &self.options;
        let way = match options.each {
            0 | 1 => "a connection each".to_owned(),
            each => format!("{each} on a connection"),
        };
        let faults = if options.no_faults { "none" } else { "on" };
        row(
            "terminals",
            format!("{} ({way}), faults {faults}", options.terminals),
        );
        row(
            "load before, after; processors",
            format!(
                "{}, {}; {}",
                self.load_before, self.load_after, self.processors
            ),
        );
        row(
            "all linked up after the pause, s",
            format!("{:.1} (pause {} s)", self.link_ups, options.pause),
        );
        row("terminals unknown then", self.unknown.to_string());
        row(
            "answer to the order for all, s",
            format!("{:.2}", self.post),
        );
        row(
            "order to last acceptance, s",
            format!("{:.1}", self.last_acceptance),
        );
        row(
            "order to last result, s",
            format!(
                "{:.1} (floor {:.1})",
                self.last_result,
                options.floor as f64 / 1000.0
            ),
        );
        row("jobs lost", found.jobs_lost.to_string());
        row(
            "results lost, doubled",
            format!("{}, {}", found.results_lost, found.results_doubled),
        );
        let kept = found.states.saturating_sub(found.states_missing);
        row(
            "states in the record / of terminals",
            format!(
                "{kept} / {} = {:.4}",
                found.states,
                kept as f64 / found.states.max(1) as f64
            ),
        );
        row(
            "orders sent again, results sent again",
            format!("{}, {}", found.orders_again, found.results_again),
        );
        row("messages from terminals", self.messages.to_string());
        if let Some(reconnect) = self.reconnect {
            row(
                "all back after the broker's restart, s",
                format!("{reconnect:.1}"),
            );
        }
        let stations = self.stations.iter().map(|usage| ("station", usage));
        let others = [("broker", &self.broker)].into_iter();
        let database = self.database.iter().map(|usage| ("database", usage));
        for (name, usage) in stations.chain(others).chain(database) {
            row(
                &format!("{name}: processor s, peak MiB"),
                format!("{:.1}, {:.0}", usage.cpu, usage.peak_mib),
            );
        }
        for (kind, times) in &self.rest {
            row(
                &format!("REST {kind}: p50, p99, max ms"),
                format!(
                    "{:.1}, {:.1}, {:.1} ({})",
                    times.p50, times.p99, times.max, times.count
                ),
            );
        }
        for example in &found.examples {
            row("  such as", example.clone());
        }
        text
    }
}
