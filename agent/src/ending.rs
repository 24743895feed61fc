//! Why a job ends without success.

use dau_handoff::{JobResult, Outcome};

/// How a job ends: becomes its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub outcome: Outcome,
    /// A word for machines.
    pub word: String,
    /// For people: what, why, and what to do.
    pub message: String,
}

impl Ending {
    /// The order or its package is not acceptable.
    pub fn refused(word: &str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, word, message)
    }

    /// Begun and given up.
    pub fn failed(word: &str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, word, message)
    }

    /// Called off.
    pub fn cancelled(word: &str, message: impl Into<String>) -> Self {
        Self::new(Outcome::Cancelled, word, message)
    }

    /// The terminal itself cannot store what the job needs.
    pub fn storage(what: &str, error: impl std::fmt::Display) -> Self {
        let text = format!("{what}: {error}; check the partition mnt");
        Self::failed("storage", text)
    }

    fn new(outcome: Outcome, word: &str, message: impl Into<String>) -> Self {
        Ending {
            outcome,
            word: word.to_owned(),
            message: message.into(),
        }
    }

    /// The result that the station gets.
    pub fn result(&self) -> JobResult {
        JobResult::new(self.outcome, &self.word, self.message.clone())
    }
}
