//! Measures the station while the fleet runs: the time of answers, memory, processor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Method;
use serde::Serialize;

use crate::rest::Rest;

/// Time between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(200);

/// Times of answers, ms.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    pub count: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// What was measured, by kind of request.
pub type Samples = Arc<Mutex<BTreeMap<String, Vec<f64>>>>;

/// Asks for the resources that `paths` gives, one after the other, until it is dropped.
pub async fn ask(mut rest: Rest, samples: Samples, paths: Vec<(&'static str, String)>) {
    loop {
        for (kind, path) in &paths {
            if rest.connect().await.is_err() {
                break;
            }
            let start = Instant::now();
            // While the station is away there is nothing to measure.
            let Ok((status, _)) = rest.call(Method::GET, path, None).await else {
                break;
            };
            if status.is_success() {
                let took = start.elapsed().as_secs_f64() * 1000.0;
                let mut samples = samples.lock().unwrap_or_else(|e| e.into_inner());
                samples.entry((*kind).to_owned()).or_default().push(took);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the figures of the samples.
pub fn summary(samples: &Samples) -> BTreeMap<String, Times> {
    let samples = samples.lock().unwrap_or_else(|e| e.into_inner());
    let kinds = samples.iter();
    kinds
        .map(|(kind, times)| (kind.clone(), times_of(times)))
        .collect()
}

fn times_of(times: &[f64]) -> Times {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (sorted.len() as f64 * part).ceil() as usize;
        sorted.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Times {
        count: sorted.len(),
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
}

/// Memory and processor of a program, over all its processes so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Largest resident memory, MiB.
    pub peak_mib: f64,
    /// Processor time, seconds.
    pub cpu: f64,
    #[serde(skip)]
    earlier: f64,
    #[serde(skip)]
    process: Option<u32>,
}

impl Usage {
    /// Looks at the process, unless there is none.
    pub fn look(&mut self, process: Option<u32>) {
        let Some(id) = process else { return };
        if self.process != process {
            self.earlier = self.cpu;
            self.process = process;
        }
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}"));
        let status = read("status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        self.peak_mib = self.peak_mib.max(peak.unwrap_or(0.0) / 1024.0);
        let stat = read("stat").unwrap_or_default();
        self.cpu = self.cpu.max(self.earlier + seconds(&stat, 2));
    }

    /// Returns what a process and its children have used, those that have ended included.
    pub fn of_family(leader: u32) -> Self {
        let mut all = Usage::default();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let Some(id) = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let parent = fields(&stat)
                .nth(1)
                .and_then(|text| text.parse::<u32>().ok());
            // The leader's fields have the times of ended children, too.
            let count = match (id == leader, parent == Some(leader)) {
                (true, _) => 4,
                (_, true) => 2,
                _ => continue,
            };
            let mut one = Usage::default();
            one.look(Some(id));
            all.cpu += seconds(&stat, count);
            all.peak_mib += one.peak_mib;
        }
        all
    }
}

/// Returns the fields of /proc/ID/stat from the third on, which is behind the name in parentheses.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit(") ").next().unwrap_or_default().split(' ')
}

/// Returns the sum of so many fields with times, the 14th and the following ones.
fn seconds(stat: &str, count: usize) -> f64 {
    let ticks = fields(stat).skip(11).take(count);
    let ticks: f64 = ticks.filter_map(|tick| tick.parse::<f64>().ok()).sum();
    ticks / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_not_the_slowest() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        let found = times_of(&times);
        assert_eq!((found.p50, found.p99, found.max), (50.0, 99.0, 100.0));
        assert_eq!(times_of(&[]).count, 0);
    }

    #[test]
    fn usage_of_this_process_is_found() {
        let mut usage = Usage::default();
        usage.look(Some(std::process::id()));
        assert!(usage.peak_mib > 1.0, "{usage:?}");
        assert!(Usage::of_family(std::process::id()).peak_mib > 1.0);
    }
}
