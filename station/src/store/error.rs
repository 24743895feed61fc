//! Why the database did not do what was asked.

use std::fmt;

/// The cause of an [`Error`], as far as callers act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The data: the same request would fail again.
    Data,
    /// The disk of the database is full.
    DiskFull,
    /// Others use the database: it may do at once.
    Busy,
    /// The database is away, cannot be read or written, or is damaged: somebody must mend it.
    Away,
    /// Something else; a fault of the station.
    Other,
}

/// An error of the database.
#[derive(Debug)]
pub struct Error {
    cause: Cause,
    message: String,
}

/// The result of an operation of the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error with this cause.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Error {
            cause,
            message: message.into(),
        }
    }

    /// Returns the cause.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
