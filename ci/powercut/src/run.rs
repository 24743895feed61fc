//! Checks many states in parallel.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use dau_rig::disk::Disk;
use indicatif::{ProgressBar, ProgressStyle};

use crate::crash::State;
use crate::full_check;
use crate::judge::Judge;
use crate::record::Studio;
use crate::recordings::Recordings;
use crate::results::{Check, Outcome, Results};

/// Cheap states per batch: neighbours share work.
const BATCH: usize = 50;
/// A run over many states.
#[derive(Debug)]
pub struct Run<'a> {
    pub studio: &'a Studio,
    pub recordings: &'a Recordings,
    pub results: &'a Results,
    /// Folder for the disks of failed states.
    pub failed: PathBuf,
    /// Number of workers.
    pub jobs: usize,
}

impl Run<'_> {
    /// Checks states on the disk alone and returns the number of faults.
    pub fn cheap(&self, numbers: &[u64]) -> Result<u64> {
        let left = numbers
            .iter()
            .filter(|number| !self.results.has(Check::Cheap, **number));
        let mut states: Vec<State> = left.map(|number| self.recordings.state(*number)).collect();
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
                let judge = worker.judge(self.recordings, state.recording)?;
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

    /// Boots states, runs them to the end and returns the number of faults.
    pub fn full(&self, numbers: &[u64]) -> Result<u64> {
        let left = numbers
            .iter()
            .filter(|number| !self.results.has(Check::Full, **number));
        let states: VecDeque<State> = left.map(|number| self.recordings.state(*number)).collect();
        let bar = bar("full", states.len());
        bar.tick();
        let faults = self.workers(&Mutex::new(states), |worker, state: State| {
            let started = Instant::now();
            let judge = worker.judge(self.recordings, state.recording)?;
            judge.show(&state);
            let folder = self.keep(judge, &state)?;
            let notes = &self.recordings.members[state.recording].recorded.notes;
            let acknowledged = judge.acknowledged()?;
            let ended = full_check::check(self.studio, notes, acknowledged, &folder);
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

    /// Hands out `queue` to the workers and returns the sum of their faults.
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

    /// Saves the disk of a state and returns its folder.
    fn keep(&self, judge: &Judge, state: &State) -> Result<PathBuf> {
        let folder = self.failed.join(state.number.to_string());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        self.save(judge, state, &folder.join("disk.img"))?;
        Ok(folder)
    }

    /// Writes the disk of the judge's current state to a file.
    fn save(&self, judge: &Judge, state: &State, path: &Path) -> Result<Disk> {
        let notes = &self.recordings.members[state.recording].recorded.notes;
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
            recording: self.recordings.members[state.recording]
                .recorded
                .notes
                .name
                .clone(),
            kind: state.kind,
            step: self.recordings.step(state),
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

/// A worker's resources, reused from state to state.
#[derive(Debug, Default)]
struct Worker {
    judge: Option<(usize, Judge)>,
}

impl Worker {
    fn judge(&mut self, recordings: &Recordings, recording: usize) -> Result<&mut Judge> {
        if self.judge.as_ref().is_none_or(|(of, _)| *of != recording) {
            self.judge = None;
            self.judge = Some((recording, recordings.judge(recording)?));
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
