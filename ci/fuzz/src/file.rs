//! Files in memory, for readers that need a path.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use tempfile::tempfile_in;

/// A temporary file.
#[derive(Debug)]
pub struct InMemory {
    file: File,
}

impl InMemory {
    /// Makes a file with this content.
    pub fn new(bytes: &[u8]) -> Self {
        let mut file = tempfile_in(folder()).expect("a temporary file can be made");
        file.write_all(bytes)
            .expect("a temporary file can be written");
        InMemory { file }
    }

    /// Returns its path.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Returns a folder for temporary files, in memory if possible: the fuzzer makes thousands of files
/// per second.
pub fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}
