//! Compares what the terminals know with the station's record.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use dau_model::State;
use serde::Serialize;
use serde_json::Value;

use crate::job::Job;
use crate::rest::Rest;
use crate::terminal::Terminal;

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Jobs of the order that did not end, at the station or at the terminal.
    pub jobs_lost: u64,
    /// Results that the station does not have as the terminal sent them.
    pub results_lost: u64,
    /// Results that the station recorded more than once, or beside another one.
    pub results_doubled: u64,
    /// States that terminals were in.
    pub states: u64,
    /// Of these, those that are not in the record.
    pub states_missing: u64,
    /// Orders that were sent again.
    pub orders_again: u64,
    /// Results that were sent again.
    pub results_again: u64,
    /// The first differences, for people.
    pub examples: Vec<String>,
}

/// Most examples.
const EXAMPLES: usize = 10;

impl Found {
    /// Adds what another part of the fleet found.
    pub fn add(&mut self, other: Found) {
        self.jobs_lost += other.jobs_lost;
        self.results_lost += other.results_lost;
        self.results_doubled += other.results_doubled;
        self.states += other.states;
        self.states_missing += other.states_missing;
        self.orders_again += other.orders_again;
        self.results_again += other.results_again;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    fn wrong(&mut self, job: i64, what: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("job {job}: {what}"));
        }
    }

    /// Compares a job with its record at the station.
    pub fn compare(&mut self, job: &Job, record: &Value) {
        let events = record["events"].as_array().map_or(&[][..], Vec::as_slice);
        let of = |kind: &'static str| events.iter().filter(move |event| event["kind"] == kind);
        let states: BTreeSet<&str> = of("state")
            .filter_map(|event| event["detail"]["state"].as_str())
            .collect();
        let was_in: BTreeSet<&str> = job.states.iter().map(|state| State::word(*state)).collect();
        self.states += was_in.len() as u64;
        let missing: Vec<_> = was_in.difference(&states).collect();
        if !missing.is_empty() {
            self.states_missing += missing.len() as u64;
            self.wrong(
                job.id,
                format!("the record misses {missing:?} of {was_in:?}"),
            );
        }
        let sent = of("sent").filter(|event| event["detail"]["command"] == "order");
        let sent = (sent.count() as u64).max(u64::from(job.orders));
        self.orders_again += sent.saturating_sub(1);
        self.results_again += u64::from(job.results.saturating_sub(1));
        if !job.finished || record["state"] != "finished" {
            self.jobs_lost += 1;
            self.wrong(
                job.id,
                format!(
                    "{} at the station, {} at the terminal",
                    record["state"],
                    job.state()
                ),
            );
            return;
        }
        let (outcome, word) = &job.ending;
        let result = &record["result"];
        let same = result["outcome"] == outcome.word() && result["word"] == word.as_str();
        let results = of("result").count() as u64;
        let late = of("late-result").count() as u64;
        if job.acknowledged.is_none() || !same || results + late == 0 {
            self.results_lost += 1;
            self.wrong(
                job.id,
                format!(
                    "ended with {outcome}, {word}; the station has {result}, {results} results and \
                     {late} late ones in the record"
                ),
            );
        }
        if results + late > 1 {
            self.results_doubled += results + late - 1;
            self.wrong(
                job.id,
                format!("{results} results and {late} late ones in the record"),
            );
        }
    }
}

/// Compares all jobs of these terminals.
pub async fn check(mut rest: Rest, terminals: &[Terminal]) -> Result<Found> {
    let mut found = Found::default();
    for terminal in terminals {
        for job in &terminal.jobs {
            let record = rest.get(&format!("jobs/{}", job.id)).await;
            found.compare(job, &record.context("the record")?);
        }
        if terminal.jobs.is_empty() {
            found.jobs_lost += 1;
            found.wrong(0, format!("{} got none", terminal.id));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_model::{Outcome, Word};
    use serde_json::json;

    fn job() -> Job {
        let mut rng = fastrand::Rng::with_seed(1);
        let ending = (Outcome::Success, Word::Success);
        let mut job = Job::new(7, 0, 5000, ending, &mut rng);
        job.states.push(State::Downloading);
        job.finished = true;
        job.acknowledged = Some(1);
        job.results = 1;
        job
    }

    fn record(states: &[&str], results: usize, word: &str, orders: usize) -> Value {
        let state = |state: &&str| json!({"kind": "state", "detail": {"state": state}});
        let mut events: Vec<Value> = states.iter().map(state).collect();
        events.extend((0..results).map(|_| json!({"kind": "result", "detail": {}})));
        events.extend((0..orders).map(|_| json!({"kind": "sent", "detail": {"command": "order"}})));
        json!({"state": "finished", "result": {"outcome": word, "word": word}, "events": events})
    }

    #[test]
    fn each_difference_is_found() {
        let good = ["accepted", "downloading"];
        for (record, jobs, lost, doubled, missing, again) in [
            (record(&good, 1, "success", 1), 0, 0, 0, 0, 0),
            (record(&good[..1], 1, "success", 1), 0, 0, 0, 1, 0),
            (record(&good, 2, "success", 1), 0, 0, 1, 0, 0),
            (record(&good, 1, "failed", 1), 0, 1, 0, 0, 0),
            (record(&good, 0, "success", 1), 0, 1, 0, 0, 0),
            (record(&good, 1, "success", 3), 0, 0, 0, 0, 2),
            (json!({"state": "ordered"}), 1, 0, 0, 2, 0),
        ] {
            let mut found = Found::default();
            found.compare(&job(), &record);
            let numbers = (
                found.jobs_lost,
                found.results_lost,
                found.results_doubled,
                found.states_missing,
                found.orders_again,
            );
            assert_eq!(numbers, (jobs, lost, doubled, missing, again), "{record}");
        }
    }

    #[test]
    fn a_result_that_nobody_acknowledged_is_lost() {
        let mut found = Found::default();
        let job = Job {
            acknowledged: None,
            ..job()
        };
        found.compare(&job, &record(&["accepted", "downloading"], 1, "success", 1));
        assert_eq!(found.results_lost, 1);
    }
}
