//! Writes a package file; an existing one is replaced only by a checked one.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use time::OffsetDateTime;

use super::unverified::Unverified;
use super::{MakeError, Progress, Step};
use crate::blocks::BLOCKING;
use crate::verify::{check_headers, read_body, verify_body};
use crate::{check_images, Form};

/// Writes a package to a temporary file, checks it as a terminal would except for the keyring, and
/// renames it.
pub(super) fn replace(
    output: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    progress: Progress<'_>,
) -> Result<(), MakeError> {
    let folder = parent(output);
    let temporary = NamedTempFile::new_in(folder).map_err(MakeError::io(folder))?;
    let file = temporary.as_file();
    let mut buffered = BufWriter::with_capacity(256 << 10, file);
    write(&mut buffered).map_err(MakeError::io(output))?;
    buffered.flush().map_err(MakeError::io(output))?;
    drop(buffered);
    fill_up(file).map_err(MakeError::io(output))?;
    let mut reader = file;
    let verify_progress = &mut |done, total| {
        progress(Step::Verify, done, total);
        Ok(())
    };
    let opened = Unverified::read(&mut reader)?;
    let manifest = &opened.manifest;
    let body = read_body(&mut reader, opened.body_offset, manifest, false)?;
    let payloads = verify_body(&mut reader, manifest, &body, verify_progress)?;
    check_headers(&mut reader, manifest, Form::AsSigned, opened.head.is_some())?;
    check_images(&mut reader, &payloads, &mut |done, total| {
        progress(Step::Unpack, done, total);
        Ok(())
    })?;
    file.sync_all().map_err(MakeError::io(output))?;
    share(file).map_err(MakeError::io(output))?;
    temporary
        .persist(output)
        .map_err(|error| MakeError::io(output)(error.error))?;
    Ok(())
}

/// Writes a file whole, or not at all.
pub(super) fn write_whole(output: &Path, bytes: &[u8]) -> Result<(), MakeError> {
    let folder = parent(output);
    let mut temporary = NamedTempFile::new_in(folder).map_err(MakeError::io(folder))?;
    temporary.write_all(bytes).map_err(MakeError::io(output))?;
    let file = temporary.as_file();
    file.sync_all().map_err(MakeError::io(output))?;
    share(file).map_err(MakeError::io(output))?;
    let kept = temporary.persist(output);
    kept.map(drop)
        .map_err(|error| MakeError::io(output)(error.error))
}

/// Pads with zeros to a multiple of 10240 bytes, as archives end.
fn fill_up(mut file: &File) -> io::Result<()> {
    let end = file.stream_position()?;
    file.set_len(end.checked_next_multiple_of(BLOCKING).unwrap_or(end))
}

/// Makes a temporary file readable by everybody, as packages are.
fn share(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Returns the seconds since 1970 by this machine's clock.
pub(super) fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Returns the folder of a file, `.` if its name has none.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
