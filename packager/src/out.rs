//! Standard output and standard error, which their readers may close: `dau-packager … | head`.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes a line to standard output. A reader that has gone is no error: the package is made, and
/// the exit status tells the verdict.
///
/// # Errors
/// The system's, for instance if the disk is full.
pub fn line(text: impl Display) -> Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error; ignores errors.
pub fn complaint(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
