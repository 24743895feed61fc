//! Errors of backing up and restoring the parameters.

use std::io;
use std::path::{Path, PathBuf};

/// A reason why the parameters could not be backed up or restored.
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
        /// The reason.
        reason: &'static str,
    },
    /// A list names a link to a folder: a backup of the link would not hold what is in the folder,
    /// and RecoveryOS could not put back the folder that another OS has there.
    #[error(
        "{path}, which a parameter list names, is a link to a folder: list the folder that it \
         leads to, or make it a \
         folder as in earlier versions"
    )]
    LinkToFolder {
        /// As listed.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The failed action.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's error.
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
    /// A file is larger than a file system of a terminal takes, most likely by holes.
    #[error("{path} has {size} bytes, more than {limit}: make it smaller, or take it off its parameter list")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, holes included.
        size: u64,
        /// The largest size.
        limit: u64,
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
        /// The fault.
        reason: String,
    },
    /// The backup is sound but not the one that the job recorded.
    #[error("{archive}: {what} is {found}, the job says {expected}")]
    OtherBackup {
        /// The backup or its digest file.
        archive: PathBuf,
        /// The differing property.
        what: &'static str,
        /// The recorded value.
        expected: String,
        /// The found value.
        found: String,
    },
    /// The new root filesystem holds something at a parameter's path that cannot give way to it.
    #[error(
        "{path} was {was} and is {is} in this OS: this OS must be built with {was} there, or \
        without anything"
    )]
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

    /// Returns the cause, without the path where that is said already.
    pub(super) fn cause(&self) -> String {
        match self {
            ParametersError::Io { source, .. } => source.to_string(),
            ParametersError::InTheWay { was, is, .. } => format!("was {was}, is {is}"),
            other => other.to_string(),
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
