//! Decides the effect of a terminal's message on a job; [`crate::link::inbound`] applies it.

use dau_model::{Outcome, Reason, State, Word};
use dau_protocol::{code, JobProgress, JobReport, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

/// Returns the state that a terminal names in REP_JOB_PROGRESS; `None` for a state of a later
/// agent.
fn named(progress: &JobProgress) -> Option<State> {
    let state: Option<State> = progress.state.parse().ok();
    state.filter(|state| state.is_reportable())
}

/// Returns the state to show after a reply to CMD_STATUS_QUERY with this number (see
/// `dau_protocol::StatusState`): the present one if it matches, as numbers are coarser than states.
fn refined(present: State, number: u8) -> Option<State> {
    use State::{
        Accepted, Armed, BackingUp, Downloading, Installing, RollingBack, Trial, UpdatingRecovery,
        Verifying,
    };
    let (fits, otherwise): (&[State], State) = match number {
        1 => (&[Accepted], Accepted),
        2 => (&[Downloading], Downloading),
        3 => (&[Verifying, BackingUp, Armed], Verifying),
        4 => (
            &[Installing, Trial, UpdatingRecovery, RollingBack],
            Installing,
        ),
        _ => return None,
    };
    Some(match fits.contains(&present) {
        true => present,
        false => otherwise,
    })
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub outcome: Outcome,
    /// A code of `dau_protocol::code`.
    pub code: u16,
    #[serde(flatten)]
    pub reason: Reason,
    /// The terminal's additions, as received.
    pub details: Value,
}

impl Ending {
    /// Returns the result of a job that the station ends.
    pub fn by_station(outcome: Outcome, code: u16, word: Word, message: &str) -> Self {
        Ending {
            outcome,
            code,
            reason: Reason::new(word, message),
            details: Value::Null,
        }
    }

    /// Returns the result of an order that was not accepted in time.
    pub fn expired() -> Self {
        let message = "the terminal did not accept the order before it expired";
        Self::by_station(Outcome::Expired, code::TIMEOUT, Word::Expired, message)
    }

    /// Returns the result of a job that was cancelled before the terminal knew of it.
    pub fn cancelled() -> Self {
        let message = "cancelled before the terminal had accepted the order";
        Self::by_station(Outcome::Cancelled, code::TIMEOUT, Word::Cancelled, message)
    }

    /// Returns the result in a terminal's report. Other makes report a code only.
    pub fn reported(report: &JobReport, cancel_requested: bool) -> Self {
        let by_code = match report.code {
            code::OK => Outcome::Success,
            code::REFUSED => Outcome::Refused,
            code::TIMEOUT if cancel_requested => Outcome::Cancelled,
            code::TIMEOUT => Outcome::Expired,
            _ => Outcome::Failed,
        };
        let said = report.details.as_ref();
        let outcome = said.and_then(|details| details.outcome.parse().ok());
        let outcome = outcome.unwrap_or(by_code);
        let word = said.map(|details| details.word.as_str());
        let word = word.filter(|word| !word.is_empty());
        Ending {
            reason: Reason::new(word.map_or(outcome.into(), Word::from), &report.msg),
            outcome,
            code: report.code,
            details: said.map_or(Value::Null, |details| json!(details)),
        }
    }
}

/// A terminal's message about a job.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// The reply to the order.
    OrderReply {
        code: u16,
        msg: &'a str,
        /// Whether the reply names another job that the terminal is busy with.
        busy: bool,
    },
    /// The reply to CMD_JOB_CANCEL.
    CancelReply { code: u16 },
    /// The reply to CMD_STATUS_QUERY.
    QueryReply {
        code: u16,
        /// The reply's content, if any.
        status: Option<&'a JobStatus>,
    },
    /// REP_JOB_PROGRESS, or the job in EVENT_LINKUP.
    Progress(&'a JobProgress),
    /// REP_JOB_RESULT.
    Result(&'a JobReport),
}

/// The effect of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing changes.
    Stay,
    /// The job is in this state, perhaps as before.
    Enter(State),
    /// The job goes back into the queue for a while.
    Wait,
    /// The order must be sent again with a new token; the state may have changed too.
    OrderAgain(Option<State>),
    /// The job has ended.
    Finish(Ending),
    /// The terminal refuses the order. It may have ended the job earlier, and then sends that
    /// result again: the job ends with this result unless another arrives at once.
    FinishSoon(Ending),
    /// The terminal works on a job that has ended at the station: it must be told to stop.
    Cancel,
    /// A result of a job that has one already: for the record.
    Late,
}

/// The input of a decision about a job.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub state: State,
    /// Whether its cancellation was requested.
    pub cancel_requested: bool,
    /// Whether its result, if any, came as REP_JOB_RESULT.
    pub reported: bool,
}

/// Decides the effect of a message on a job.
pub fn decide(job: Standing, heard: Heard<'_>) -> Step {
    if job.state == State::Finished {
        return decide_finished(job, heard);
    }
    let answered = !matches!(job.state, State::Queued | State::Ordered);
    match heard {
        Heard::Result(report) => Step::Finish(Ending::reported(report, job.cancel_requested)),
        Heard::OrderReply { code, msg, busy } => match code {
            ..=399 if job.state == State::Ordered => Step::Enter(State::Accepted),
            ..=399 => Step::Stay,
            // An order sent again may be refused as outdated while the first one is executed.
            _ if answered => Step::Stay,
            _ if busy => Step::Wait,
            code::TIMEOUT => Step::FinishSoon(Ending::expired()),
            _ => Step::FinishSoon(Ending::by_station(
                Outcome::Refused,
                code,
                Word::Refused,
                msg,
            )),
        },
        Heard::CancelReply { code } => match code {
            code::BAD_REQUEST | code::NOT_FOUND if !answered => Step::Finish(Ending::cancelled()),
            _ => Step::Stay,
        },
        Heard::QueryReply { code, status } => match (code, status) {
            (code::BAD_REQUEST | code::NOT_FOUND, _) if answered => {
                Step::Finish(Ending::by_station(
                    Outcome::Failed,
                    code,
                    Word::UnknownToTerminal,
                    "the terminal had accepted the order but does not know the job any more",
                ))
            }
            (..=399, Some(status)) => {
                refined(job.state, status.state).map_or(Step::Stay, Step::Enter)
            }
            _ => Step::Stay,
        },
        // A job that the terminal refused as busy waits for its turn.
        Heard::Progress(_) if job.state == State::Queued => Step::Stay,
        Heard::Progress(progress) => {
            let state = named(progress).filter(|state| *state != State::Finished);
            match (progress.order_again, state) {
                (true, state) => Step::OrderAgain(state),
                (false, Some(state)) => Step::Enter(state),
                // Finished, or a state of a later agent: the result will follow.
                (false, None) => Step::Stay,
            }
        }
    }
}

fn decide_finished(job: Standing, heard: Heard<'_>) -> Step {
    match heard {
        Heard::Result(_) => Step::Late,
        Heard::Progress(progress) if !job.reported && named(progress) != Some(State::Finished) => {
            Step::Cancel
        }
        _ => Step::Stay,
    }
}

#[cfg(test)]
mod tests;
