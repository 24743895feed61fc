//! The state of a job, with the data that belong to it.

use dau_model::{Reason, State};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::JobResult;

/// A refused change of a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot become {to}")]
pub struct TransitionError {
    /// The present state.
    pub from: State,
    /// The refused state.
    pub to: State,
}

/// A state, and the data of that state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub name: State,
    /// The reason for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// Whether the station has acknowledged the result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
}

impl Standing {
    pub fn plain(name: State) -> Self {
        Standing {
            name,
            reason: None,
            result: None,
            acknowledged: false,
        }
    }

    /// Returns whether exactly the data of the state are there.
    fn is_whole(&self) -> bool {
        self.name.is_reportable()
            && self.reason.is_some() == (self.name == State::RollingBack)
            && self.result.is_some() == (self.name == State::Finished)
            && (self.result.is_some() || !self.acknowledged)
    }
}

/// Reads a consistent standing; for `deserialize_with`.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Standing, D::Error> {
    let standing = Standing::deserialize(deserializer)?;
    match standing.is_whole() {
        true => Ok(standing),
        false => Err(D::Error::custom(format_args!(
            "state {} with what does not belong to it, or without what does",
            standing.name
        ))),
    }
}
