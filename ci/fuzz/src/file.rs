//! Files in memory, for readers that are given a path.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use tempfile::tempfile_in;

/// A file that is gone with this value.
#[derive(Debug)]
pub struct InMemory {
    file: File,
}

impl InMemory {
    /// A file of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut file = tempfile_in(folder()).expect("a temporary file can be made");
        file.write_all(bytes)
            .expect("a temporary file can be written");
        InMemory { file }
    }

    /// Where readers find it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// A folder in memory where there is one: the fuzzer makes thousands of files a second.
pub fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}
