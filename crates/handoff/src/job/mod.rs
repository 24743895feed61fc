//! The current job: its order, its progress, its result.

#[cfg(any(test, feature = "testing"))]
use dau_model::{Outcome, Word};
use dau_model::{Reason, State};
use serde::{Deserialize, Serialize};

mod file;
mod order;
mod records;
mod result;
mod standing;
#[cfg(test)]
mod tests;

pub use file::JobError;
pub(crate) use file::MAX_FILE;
pub use order::Order;
pub use records::{Attempts, ParametersRecord, RecoveryRecord, Stage, WorkRecord, Written};
pub use result::JobResult;
use standing::Standing;
pub use standing::TransitionError;

/// Failures of an installation (power cuts do not count) after which RecoveryOS gives up.
pub const MAX_FAILURES: u32 = 3;

/// An upgrade order for this terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Job id of the station.
    pub id: i64,
    pub order: Order,
    #[serde(deserialize_with = "standing::whole")]
    state: Standing,
    /// OS version at the time of the order.
    #[serde(default)]
    pub version_before: String,
    /// Kernel release at the time of the order.
    #[serde(default)]
    pub kernel_before: String,
    /// SHA-256 of the manifest of the package that the agent verified: RecoveryOS accepts no other.
    #[serde(default)]
    pub manifest_sha256: Option<String>,
    /// The backup of the parameters.
    #[serde(default)]
    pub parameters: Option<ParametersRecord>,
    /// Number of reboots that the agent requested for this job.
    #[serde(default)]
    pub reboots: u32,
    /// RecoveryOS's attempts.
    #[serde(default)]
    pub attempts: Attempts,
    /// The agent's work in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkRecord>,
    /// The upgrade of RecoveryOS, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRecord>,
    /// Bytes that the agent has spent on the job, on all its connections, as far as was known when
    /// this was saved.
    #[serde(default)]
    pub bytes_used: u64,
    /// Words of the states that it was in, each once: the station's record gets from the result
    /// those whose reports were lost.
    #[serde(default)]
    pub states: Vec<String>,
    /// Finished stages, in order.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

impl Job {
    /// Returns a job that was just ordered.
    pub fn new(id: i64, order: Order) -> Self {
        Job {
            id,
            order,
            state: Standing::plain(State::Accepted),
            version_before: String::new(),
            kernel_before: String::new(),
            manifest_sha256: None,
            parameters: None,
            reboots: 0,
            attempts: Attempts::default(),
            work: None,
            recovery: None,
            bytes_used: 0,
            states: vec![State::Accepted.word().to_owned()],
            stages: Vec::new(),
        }
    }

    /// Notes a finished stage.
    pub fn stage(&mut self, name: &str, seconds: f64, bytes: Option<u64>) {
        self.stages.push(Stage {
            name: name.to_owned(),
            seconds,
            bytes,
        });
    }

    /// Returns the state of the job.
    pub fn state(&self) -> State {
        self.state.name
    }

    /// Returns the reason for the rollback, during one.
    pub fn rollback_reason(&self) -> Option<&Reason> {
        self.state.reason.as_ref()
    }

    /// Returns the result, if there is one.
    pub fn result(&self) -> Option<&JobResult> {
        self.state.result.as_ref()
    }

    /// Returns the result, to add details that only the running OS knows.
    pub fn result_mut(&mut self) -> Option<&mut JobResult> {
        self.state.result.as_mut()
    }

    /// Returns whether the station has acknowledged the result.
    pub fn is_acknowledged(&self) -> bool {
        self.state.acknowledged
    }

    /// Notes that the station has acknowledged the result, if there is one.
    pub fn acknowledge(&mut self) {
        self.state.acknowledged = self.state.result.is_some();
    }

    /// Moves the job to a state that needs no further data. **Does not write to the disk**, like
    /// all below.
    ///
    /// # Errors
    /// The state may not follow the present one, or is set by [`Job::roll_back`] or
    /// [`Job::finish`].
    pub fn enter(&mut self, state: State) -> Result<(), TransitionError> {
        match state {
            State::RollingBack | State::Finished => Err(TransitionError {
                from: self.state.name,
                to: state,
            }),
            _ => self.take(Standing::plain(state)),
        }
    }

    /// Notes that the previous OS must be reinstalled. The first reason stays.
    ///
    /// # Errors
    /// The job has its result.
    pub fn roll_back(&mut self, reason: Reason) -> Result<(), TransitionError> {
        let reason = self.state.reason.take().unwrap_or(reason);
        self.take(Standing {
            reason: Some(reason),
            ..Standing::plain(State::RollingBack)
        })
    }

    /// Sets the job's result. A job keeps its first result: there is exactly one.
    pub fn finish(&mut self, result: JobResult) {
        let finished = Standing {
            result: Some(result),
            ..Standing::plain(State::Finished)
        };
        if let Err(error) = self.take(finished) {
            log::debug!("job {}: {error}", self.id);
        }
    }

    /// Changes the job's state; nothing else does.
    fn take(&mut self, next: Standing) -> Result<(), TransitionError> {
        let (from, to) = (self.state.name, next.name);
        if !from.may_become(to) {
            return Err(TransitionError { from, to });
        }
        self.state = next;
        if !self.states.iter().any(|state| state == to.word()) {
            self.states.push(to.word().to_owned());
        }
        Ok(())
    }

    /// Sets a state, whatever the present one, for tests. Reason and result are samples.
    #[cfg(any(test, feature = "testing"))]
    pub fn force(&mut self, state: State) {
        self.state = Standing::plain(State::Accepted);
        let reason = Reason::new(Word::HealthPort, "nothing answers on TCP port 2404");
        match state {
            State::RollingBack => self.state.reason = Some(reason),
            State::Finished => {
                self.state.result = Some(JobResult::new(Outcome::RolledBack, reason))
            }
            _ => {}
        }
        self.state.name = state;
    }
}
