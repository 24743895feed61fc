//! What becomes of a job when something is heard of it: decided here, done by [`crate::link::inbound`].

use dau_protocol::{code, JobProgress, JobReport, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

/// Where a job stands. Everything after `Ordered` is the terminal's word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for the terminal's earlier job.
    Queued,
    /// The order was sent, or is about to be.
    Ordered,
    /// The terminal has taken the order.
    Accepted,
    /// It fetches the package.
    Downloading,
    /// It verifies the package.
    Verifying,
    /// It backs up the parameters.
    BackingUp,
    /// It is about to reboot into RecoveryOS.
    Armed,
    /// RecoveryOS is at work.
    Installing,
    /// The new OS proves itself.
    Trial,
    /// It replaces RecoveryOS.
    UpdatingRecovery,
    /// The old OS is put back.
    RollingBack,
    /// There is a result.
    Finished,
}

impl State {
    const ALL: [(State, &'static str); 12] = [
        (State::Queued, "queued"),
        (State::Ordered, "ordered"),
        (State::Accepted, "accepted"),
        (State::Downloading, "downloading"),
        (State::Verifying, "verifying"),
        (State::BackingUp, "backing-up"),
        (State::Armed, "armed"),
        (State::Installing, "installing"),
        (State::Trial, "trial"),
        (State::UpdatingRecovery, "updating-recovery"),
        (State::RollingBack, "rolling-back"),
        (State::Finished, "finished"),
    ];

    /// The word in database, REST and REP_JOB_PROGRESS.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, word)| word)
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(state, _)| *state)
    }

    /// The state that a terminal names in REP_JOB_PROGRESS.
    fn reported(word: &str) -> Option<Self> {
        Self::from_word(word).filter(|state| !matches!(state, State::Queued | State::Ordered))
    }

    /// The numbers of the reply to CMD_STATUS_QUERY (see `dau_protocol::StatusState`) tell less than the words: the state
    /// to show where the present one does not fit the number.
    fn refined(self, number: u8) -> Option<Self> {
        use State::{
            Accepted, Armed, BackingUp, Downloading, Installing, RollingBack, Trial,
            UpdatingRecovery, Verifying,
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
        Some(if fits.contains(&self) {
            self
        } else {
            otherwise
        })
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// `success`, `refused`, `failed`, `rolled-back`, `cancelled`, `expired`.
    pub outcome: String,
    /// One of `dau_protocol::code`.
    pub code: u16,
    /// For machines.
    pub word: String,
    /// For people.
    pub message: String,
    /// The terminal's additions, as received.
    pub details: Value,
}

impl Ending {
    /// The station ends the job itself.
    pub fn by_station(outcome: &str, code: u16, word: &str, message: &str) -> Self {
        Ending {
            outcome: outcome.to_owned(),
            code,
            word: word.to_owned(),
            message: message.to_owned(),
            details: Value::Null,
        }
    }

    /// Nobody answered in time.
    pub fn expired() -> Self {
        let message = "the terminal did not take the order before it expired";
        Self::by_station(outcome::EXPIRED, code::TIMEOUT, "expired", message)
    }

    /// Called off before the terminal knew of it.
    pub fn cancelled() -> Self {
        let message = "called off before the terminal had taken the order";
        Self::by_station(outcome::CANCELLED, code::TIMEOUT, "cancelled", message)
    }

    /// The terminal's own report.
    pub fn reported(report: &JobReport, cancel_requested: bool) -> Self {
        let by_code = match report.code {
            code::OK => outcome::SUCCESS,
            code::REFUSED => outcome::REFUSED,
            code::TIMEOUT if cancel_requested => outcome::CANCELLED,
            code::TIMEOUT => outcome::EXPIRED,
            _ => outcome::FAILED,
        };
        let said = report.details.as_ref();
        let text = |value: Option<&String>, otherwise: &str| {
            let value = value.filter(|text| !text.is_empty());
            value.map_or(otherwise.to_owned(), Clone::clone)
        };
        let outcome = text(said.map(|details| &details.outcome), by_code);
        Ending {
            word: text(said.map(|details| &details.word), &outcome),
            outcome,
            code: report.code,
            message: report.msg.clone(),
            details: said.map_or(Value::Null, |details| json!(details)),
        }
    }
}

/// Words for how jobs end.
pub mod outcome {
    /// The new OS runs.
    pub const SUCCESS: &str = "success";
    /// The terminal did not take the order.
    pub const REFUSED: &str = "refused";
    /// Begun and given up.
    pub const FAILED: &str = "failed";
    /// Called off.
    pub const CANCELLED: &str = "cancelled";
    /// Not taken in time.
    pub const EXPIRED: &str = "expired";
}

/// Something heard of a job.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// The reply to the order.
    OrderReply {
        /// Its code.
        code: u16,
        /// Its text.
        msg: &'a str,
        /// Whether it names another job that the terminal is busy with.
        busy: bool,
    },
    /// The reply to CMD_JOB_CANCEL.
    CancelReply {
        /// Its code.
        code: u16,
    },
    /// The reply to CMD_STATUS_QUERY.
    QueryReply {
        /// Its code.
        code: u16,
        /// Its content, if there is one.
        status: Option<&'a JobStatus>,
    },
    /// REP_JOB_PROGRESS, or the job in EVENT_LINKUP.
    Progress(&'a JobProgress),
    /// REP_JOB_RESULT.
    Result(&'a JobReport),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing changes.
    Stay,
    /// The job is in this state now (it may have been before).
    Enter(State),
    /// Back into the queue for a while.
    Wait,
    /// Send the order again with a new token; the state may have changed too.
    OrderAgain(Option<State>),
    /// The job is over.
    Finish(Ending),
    /// The terminal refuses the order. It may have ended the job earlier, and then sends that result again: the job is over
    /// with this ending unless the result comes at once.
    FinishSoon(Ending),
    /// The terminal works on a job that is over for the station: tell it to stop.
    CallOff,
    /// A result for a job that has one: for the record.
    Late,
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Where the job stands.
    pub state: State,
    /// Whether somebody called it off.
    pub cancel_requested: bool,
    /// Whether its result, if there is one, came as REP_JOB_RESULT.
    pub reported: bool,
}

/// Decides.
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
            // An order sent again may be refused for being old while the first one is being carried out.
            _ if answered => Step::Stay,
            _ if busy => Step::Wait,
            code::TIMEOUT => Step::FinishSoon(Ending::expired()),
            _ => Step::FinishSoon(Ending::by_station(outcome::REFUSED, code, "refused", msg)),
        },
        Heard::CancelReply { code } => match code {
            code::BAD_REQUEST | code::NOT_FOUND if !answered => Step::Finish(Ending::cancelled()),
            _ => Step::Stay,
        },
        Heard::QueryReply { code, status } => match (code, status) {
            (code::BAD_REQUEST | code::NOT_FOUND, _) if answered => {
                Step::Finish(Ending::by_station(
                    outcome::FAILED,
                    code,
                    "unknown-to-terminal",
                    "the terminal had taken the order but does not know the job any more",
                ))
            }
            (..=399, Some(status)) => job
                .state
                .refined(status.state)
                .map_or(Step::Stay, Step::Enter),
            _ => Step::Stay,
        },
        // The terminal told of a job that it had refused as busy: it waits for its turn.
        Heard::Progress(_) if job.state == State::Queued => Step::Stay,
        Heard::Progress(progress) => {
            let state = State::reported(&progress.state).filter(|state| *state != State::Finished);
            match (progress.order_again, state) {
                (true, state) => Step::OrderAgain(state),
                (false, Some(state)) => Step::Enter(state),
                // Finished, or a word of a later agent: the result will come.
                (false, None) => Step::Stay,
            }
        }
    }
}

fn decide_finished(job: Standing, heard: Heard<'_>) -> Step {
    match heard {
        Heard::Result(_) => Step::Late,
        Heard::Progress(progress)
            if !job.reported && State::reported(&progress.state) != Some(State::Finished) =>
        {
            Step::CallOff
        }
        _ => Step::Stay,
    }
}

#[cfg(test)]
mod tests;
