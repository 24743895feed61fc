//! The job's file.

use std::io;
use std::path::{Path, PathBuf};

use super::Job;

/// Longest job or history file, bytes.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// A reason why the job cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file exists but cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The failed action.
        action: &'static str,
        /// The job file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no job: damaged, or of a later format.
    #[error("{path} holds no job: {source}")]
    Damaged {
        /// The job file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
}

impl Job {
    /// Reads the current job; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, JobError> {
        let bytes = match dau_system::durable::read(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("read", path, source)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| JobError::Damaged {
                path: path.to_owned(),
                source,
            })
    }

    /// Writes the job durably: after success, a power cut cannot undo it.
    pub fn save(&self, path: &Path) -> Result<(), JobError> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| io_error("encode", path, error.into()))?;
        dau_system::durable::write(path, &bytes, 0o600)
            .map_err(|source| io_error("write", path, source))
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JobError {
    JobError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
