//! The result of a job.

use dau_model::{Outcome, Reason, Word};
use serde::{Deserialize, Serialize};

/// The only result of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    pub outcome: Outcome,
    /// The reason; [`Word::Success`] if nothing went wrong.
    #[serde(flatten)]
    pub reason: Reason,
    /// Version of the OS after the job.
    #[serde(default)]
    pub version_after: Option<String>,
    /// Kernel release after the job.
    #[serde(default)]
    pub kernel_after: Option<String>,
    /// Digest of the parameters after the job.
    #[serde(default)]
    pub parameters_after: Option<String>,
    /// The end of the log of an OS that failed its trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl JobResult {
    /// Returns a result without the details that only the running OS knows.
    pub fn new(outcome: Outcome, reason: Reason) -> Self {
        JobResult {
            outcome,
            reason,
            version_after: None,
            kernel_after: None,
            parameters_after: None,
            log: None,
        }
    }

    /// Returns a success, with a text for people.
    pub fn success(message: impl Into<String>) -> Self {
        Self::new(Outcome::Success, Reason::new(Word::Success, message))
    }
}
