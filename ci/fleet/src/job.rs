//! A job of a simulated terminal: its steps, and what is noted of it to be compared with the
//! station's record.

use std::collections::VecDeque;

use dau_model::{Outcome, State, Word};
use dau_protocol::report::JobDetails;
use dau_protocol::{JobProgress, JobReport};
use fastrand::Rng;

use crate::character::Millis;

/// A step of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Enters a state and reports it with QoS 1.
    Enter(State),
    /// Reports progress with QoS 0.
    Progress(u8),
    /// Fetches the package, if the fleet does.
    Fetch,
    /// Ends.
    Finish,
}

/// The steps of a job: four states, five reports of progress, the result.
pub const STEPS: [Step; 11] = [
    Step::Enter(State::Downloading),
    Step::Progress(20),
    Step::Progress(40),
    Step::Fetch,
    Step::Progress(60),
    Step::Progress(80),
    Step::Progress(100),
    Step::Enter(State::Verifying),
    Step::Enter(State::BackingUp),
    Step::Enter(State::Armed),
    Step::Finish,
];

/// A job, and what the terminal knows of it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The station's id.
    pub id: i64,
    /// Copies of the order that arrived.
    pub orders: u32,
    /// States that it was in.
    pub states: Vec<State>,
    /// How it will end, or ended.
    pub ending: (Outcome, Word),
    /// Whether it has ended.
    pub finished: bool,
    /// How often its result was sent.
    pub results: u32,
    /// When the station acknowledged the result.
    pub acknowledged: Option<Millis>,
    /// Whether its acknowledgement was counted.
    pub counted: bool,
    /// URL and token of the package.
    pub file: (String, String),
    /// What is left to do, and the pause before each.
    pub steps: VecDeque<(Millis, Step)>,
    /// When the next step is due; `None`: it waits for its download, or has ended.
    pub due: Option<Millis>,
}

impl Job {
    /// Returns a job that was accepted now; it takes about `floor` ms.
    pub fn new(
        id: i64,
        now: Millis,
        floor: Millis,
        ending: (Outcome, Word),
        rng: &mut Rng,
    ) -> Self {
        let each = floor as f64 / STEPS.len() as f64;
        let steps: VecDeque<_> = STEPS
            .iter()
            .map(|step| ((each * (0.7 + 0.6 * rng.f64())) as Millis, *step))
            .collect();
        let first = steps.front().map_or(0, |(pause, _)| *pause);
        Job {
            id,
            orders: 1,
            states: vec![State::Accepted],
            ending,
            finished: false,
            results: 0,
            acknowledged: None,
            counted: false,
            file: Default::default(),
            steps,
            due: Some(now + first),
        }
    }

    /// Takes the step that is due, if any.
    pub fn take_step(&mut self, now: Millis) -> Option<Step> {
        self.due.filter(|due| *due <= now)?;
        let (_, step) = self.steps.pop_front()?;
        self.go_on(now);
        Some(step)
    }

    /// Begins the pause before the next step.
    pub fn go_on(&mut self, now: Millis) {
        self.due = self.steps.front().map(|(pause, _)| now + pause);
    }

    /// Returns the number of steps that were taken.
    pub fn taken(&self) -> usize {
        STEPS.len().saturating_sub(self.steps.len())
    }

    /// Returns the present state.
    pub fn state(&self) -> State {
        match (self.finished, self.states.last()) {
            (false, Some(state)) => *state,
            _ => State::Finished,
        }
    }

    /// Returns `param` of REP_JOB_PROGRESS.
    pub fn progress(&self, percent: u8, order_again: bool) -> JobProgress {
        JobProgress {
            job_id: self.id,
            state: self.state().word().to_owned(),
            progress: percent,
            bytes: Some(u64::from(percent) * 1000),
            total: Some(100_000),
            order_again,
            bytes_used: Some(u64::from(percent) * 1100),
        }
    }

    /// Returns `param` of REP_JOB_RESULT.
    pub fn report(&self) -> JobReport {
        let (outcome, word) = &self.ending;
        JobReport {
            job_id: self.id,
            code: outcome.code(),
            msg: format!("simulated: {word}"),
            details: Some(JobDetails {
                outcome: outcome.to_string(),
                word: word.to_string(),
                version_before: super::terminal::OLD.to_owned(),
                states: self
                    .states
                    .iter()
                    .map(|state| state.word().to_owned())
                    .collect(),
                bytes_used: Some(110_000),
                ..JobDetails::default()
            }),
        }
    }
}
