//! Why the parameters could not be captured or put back.

use std::io;
use std::path::{Path, PathBuf};

/// Why the parameters could not be captured or put back.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// A line of a parameter list is refused.
    #[error("{list}:{line}: '{text}' is refused: {reason}")]
    List {
        /// The list file.
        list: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
        /// Why.
        reason: &'static str,
    },
    /// The system refused something.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was written to each time it was read.
    #[error(
        "{path} changes all the time: stop what writes to it, or take it off its parameter list"
    )]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// More entries than a backup holds.
    #[error("the parameter lists name more than {limit} files and folders: make them name settings only")]
    TooMany {
        /// The most that a backup holds.
        limit: u64,
    },
    /// The backup is damaged, or was not written by [`super::backup`].
    #[error("{archive} is no sound backup: {reason}")]
    Damaged {
        /// The backup or its digest file.
        archive: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The backup is sound but not the one that the job recorded.
    #[error("{archive}: {what} is {found}, the job says {expected}")]
    OtherBackup {
        /// The backup or its digest file.
        archive: PathBuf,
        /// What differs.
        what: &'static str,
        /// What was recorded.
        expected: String,
        /// What is there.
        found: String,
    },
    /// What the new root filesystem holds at a parameter's path cannot give way to it.
    #[error("{path} was {was} and is {is} in this OS: this OS must be built with {was} there, or without anything")]
    InTheWay {
        /// Path in the terminal's root.
        path: PathBuf,
        /// Kind of the parameter, such as `a file`.
        was: &'static str,
        /// Kind of what is there.
        is: &'static str,
    },
}

impl ParametersError {
    /// Wraps what the system said.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| ParametersError::Io {
            action,
            path,
            source,
        }
    }

    /// The archive does not hold what a backup holds.
    pub(super) fn damaged(archive: &Path, reason: impl Into<String>) -> Self {
        ParametersError::Damaged {
            archive: archive.to_owned(),
            reason: reason.into(),
        }
    }
}
