//! Reasons for refusals and failures.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Word;

/// The reason for a refusal, a failure or a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For machines.
    pub word: Word,
    /// For people: what, why, and what to do.
    pub message: String,
}

impl Reason {
    /// A reason.
    pub fn new(word: Word, message: impl Into<String>) -> Self {
        Reason {
            word,
            message: message.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.word, self.message)
    }
}
