//! The reasons for which a job ends without success.

use dau_handoff::JobResult;
use dau_model::{Outcome, Reason, Word};
use dau_package::PackageError;

/// The end of a job that is refused, given up or called off; it becomes the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub outcome: Outcome,
    pub reason: Reason,
}

impl Failure {
    /// The order or its package is not acceptable.
    pub fn refused(word: Word, message: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, word, message)
    }

    /// Begun and given up.
    pub fn failed(word: Word, message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, word, message)
    }

    /// Called off.
    pub fn cancelled(word: Word, message: impl Into<String>) -> Self {
        Self::new(Outcome::Cancelled, word, message)
    }

    /// The terminal itself cannot store what the job needs.
    pub fn storage(what: &str, error: impl std::fmt::Display) -> Self {
        let text = format!("{what}: {error}; check the partition mnt");
        Self::failed(Word::Storage, text)
    }

    fn new(outcome: Outcome, word: Word, message: impl Into<String>) -> Self {
        Failure {
            outcome,
            reason: Reason::new(word, message),
        }
    }

    /// Returns the result that the station gets.
    pub fn result(self) -> JobResult {
        JobResult::new(self.outcome, self.reason)
    }
}

/// A refusal where the package is at fault, a failure where reading or checking it was.
impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        match error.is_refusal() {
            true => Failure::refused(error.word(), error.to_string()),
            false => Failure::failed(error.word(), error.to_string()),
        }
    }
}
