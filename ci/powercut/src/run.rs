//! Checks many states, side by side.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};

use crate::full;
use crate::judge::Judge;
use crate::record::Studio;
use crate::results::{Check, Outcome, Results};
use crate::set::Set;
use crate::states::State;

/// Cheap states that a worker takes at once: neighbours are cheaper together.
const BATCH: usize = 50;
/// States of a whole run, of which smaller ones take a part.
pub const WHOLE: u64 = 20_000;

/// What is checked, with what.
#[derive(Debug)]
pub struct Run<'a> {
    /// Programs, images, recordings.
    pub studio: &'a Studio,
    /// The recordings.
    pub set: &'a Set,
    /// Where results go.
    pub results: &'a Results,
    /// Folder of states that failed.
    pub failed: PathBuf,
    /// Workers.
    pub jobs: usize,
}

/// The numbers of `count` states for the cheap check: the edges of all steps, then a seeded choice among those of a whole
/// run; all numbers up to `count` where that is a whole run or more.
pub fn cheap_numbers(set: &Set, count: u64, seed: u64) -> Vec<u64> {
    let whole = WHOLE.max(set.writes());
    if count >= whole {
        return (0..count).collect();
    }
    let mut chosen: std::collections::BTreeSet<u64> =
        set.edges().into_iter().map(|(number, ..)| number).collect();
    let mut rng = Rng::with_seed(seed);
    while (chosen.len() as u64) < count {
        chosen.insert(rng.u64(..whole));
    }
    chosen.into_iter().collect()
}

/// The numbers of `count` states for the full check: around the edges of steps first, each step once before any twice,
/// then a seeded choice.
pub fn full_numbers(set: &Set, count: u64, seed: u64) -> Vec<u64> {
    let mut rng = Rng::with_seed(seed);
    let mut steps: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (number, recording, step) in set.edges() {
        steps.entry((recording, step)).or_default().push(number);
    }
    let mut steps: Vec<Vec<u64>> = steps.into_values().collect();
    rng.shuffle(&mut steps);
    let mut numbers = Vec::new();
    while steps.iter().any(|step| !step.is_empty()) {
        numbers.extend(steps.iter_mut().filter_map(Vec::pop));
    }
    let whole = WHOLE.max(set.writes());
    while (numbers.len() as u64) < count {
        let number = rng.u64(..whole);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    numbers
}

impl Run<'_> {
    /// Checks states cheaply; how many faults there were.
    pub fn cheap(&self, numbers: &[u64]) -> Result<u64> {
        let left = numbers
            .iter()
            .filter(|number| !self.results.has(Check::Cheap, **number));
        let mut states: Vec<State> = left.map(|number| self.set.state(*number)).collect();
        states.sort_by_key(|state| (state.recording, state.last, state.number));
        let bar = bar("cheap", states.len());
        let mut batches: VecDeque<Vec<State>> = VecDeque::new();
        for state in states {
            match batches.back_mut() {
                Some(batch) if batch.len() < BATCH && batch[0].recording == state.recording => {
                    batch.push(state);
                }
                _ => batches.push_back(vec![state]),
            }
        }
        let faults = self.workers(&Mutex::new(batches), |worker, batch: Vec<State>| {
            let mut faults = 0;
            for state in batch {
                let started = Instant::now();
                let judge = worker.judge(self.set, state.recording)?;
                let lead = judge.judge(&state);
                faults += u64::from(lead.is_err());
                if lead.is_err() {
                    self.keep(judge, &state)?;
                }
                self.note(Check::Cheap, &state, lead, started, &bar)?;
                bar.inc(1);
            }
            Ok(faults)
        })?;
        bar.finish();
        Ok(faults)
    }

    /// Runs states to their end; how many faults there were.
    pub fn full(&self, numbers: &[u64]) -> Result<u64> {
        let left = numbers
            .iter()
            .filter(|number| !self.results.has(Check::Full, **number));
        let states: VecDeque<State> = left.map(|number| self.set.state(*number)).collect();
        let bar = bar("full", states.len());
        bar.tick();
        let faults = self.workers(&Mutex::new(states), |worker, state: State| {
            let started = Instant::now();
            let judge = worker.judge(self.set, state.recording)?;
            judge.show(&state);
            let folder = self.keep(judge, &state)?;
            let notes = &self.set.members[state.recording].recorded.notes;
            let acknowledged = judge.acknowledged()?;
            let ended = full::check(self.studio, notes, acknowledged, &folder);
            let fault = u64::from(ended.is_err());
            if ended.is_ok() {
                std::fs::remove_dir_all(&folder)?;
            }
            self.note(Check::Full, &state, ended, started, &bar)?;
            bar.inc(1);
            Ok(fault)
        })?;
        bar.finish();
        Ok(faults)
    }

    /// Gives what is in `queue` to the workers; the sum of what they return.
    fn workers<T: Send>(
        &self,
        queue: &Mutex<VecDeque<T>>,
        work: impl Fn(&mut Worker, T) -> Result<u64> + Sync,
    ) -> Result<u64> {
        let one = || -> Result<u64> {
            let mut worker = Worker::default();
            let mut faults = 0;
            loop {
                let next = lock(queue).pop_front();
                match next {
                    Some(next) => faults += work(&mut worker, next)?,
                    None => return Ok(faults),
                }
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(one)).collect();
            let mut faults = 0;
            for thread in threads {
                faults += match thread.join() {
                    Ok(found) => found?,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
            }
            Ok(faults)
        })
    }

    /// Keeps the disk of a state; its folder.
    fn keep(&self, judge: &Judge, state: &State) -> Result<PathBuf> {
        let folder = self.failed.join(state.number.to_string());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        self.save(judge, state, &folder.join("disk.img"))?;
        Ok(folder)
    }

    /// Writes the disk of the state that the judge looked at last to a file.
    pub fn save(&self, judge: &Judge, state: &State, path: &Path) -> Result<dau_e2e::disk::Disk> {
        let notes = &self.set.members[state.recording].recorded.notes;
        let base = self.studio.recording(&notes.name).base();
        judge.image().save(path, &base)
    }

    fn note(
        &self,
        check: Check,
        state: &State,
        ended: Result<String>,
        started: Instant,
        bar: &ProgressBar,
    ) -> Result<()> {
        let outcome = Outcome {
            number: state.number,
            check,
            recording: self.set.members[state.recording]
                .recorded
                .notes
                .name
                .clone(),
            kind: state.kind,
            step: self.set.step(state),
            fault: ended.as_ref().err().map(|error| format!("{error:#}")),
            lead: ended.unwrap_or_default(),
            seconds: started.elapsed().as_secs_f64(),
        };
        if let Some(fault) = &outcome.fault {
            let folder = self.failed.join(state.number.to_string());
            std::fs::write(folder.join("fault.txt"), fault)?;
            let line = format!(
                "LOST  state {} ({}, {:?} in {:?}): {fault}\n  kept in {}; again: make powercut STATE={}",
                state.number,
                outcome.recording,
                outcome.kind,
                outcome.step,
                folder.display(),
                state.number
            );
            bar.suspend(|| println!("{line}"));
        }
        self.results.add(&outcome)
    }
}

/// What a worker keeps from one state to the next.
#[derive(Debug, Default)]
struct Worker {
    judge: Option<(usize, Judge)>,
}

impl Worker {
    fn judge(&mut self, set: &Set, recording: usize) -> Result<&mut Judge> {
        if self.judge.as_ref().is_none_or(|(of, _)| *of != recording) {
            self.judge = None;
            self.judge = Some((recording, set.judge(recording)?));
        }
        let (_, judge) = self.judge.as_mut().context("there is one")?;
        Ok(judge)
    }
}

fn bar(what: &str, length: usize) -> ProgressBar {
    let style = "{msg:6} [{elapsed_precise}] {bar:40} {pos}/{len} states, {eta} left";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
