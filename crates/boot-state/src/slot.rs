//! The kernel and RecoveryOS slots on boot: written, and read back from the medium.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dau_model::hex;
use dau_system::durable;
use dau_system::volume::{Volume, VolumeError};
use openssl::sha::Sha256;

use crate::fit;

const CHUNK: usize = 256 << 10;

/// A FIT image within a file.
#[derive(Debug)]
pub struct Image<'a> {
    /// The file, such as a verified package.
    pub file: &'a File,
    /// Offset of the image in it, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: &'a str,
}

/// A reason why a slot could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The partition cannot be mounted or unmounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The failed action.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The image to be written is not the one that was verified.
    #[error("the image for {0} is not the one that was verified: its file has changed since")]
    OtherImage(String),
    /// The slot does not hold what was written, and reads the same each time.
    #[error("{0} does not hold what was written to it: is the boot partition write-protected or damaged?")]
    Differs(String),
    /// The slot reads differently from one time to the next.
    #[error("the medium is failing: {0} reads differently each time: replace it")]
    Failing(String),
}

/// Writes an image to the slot of this name, and reads it back from the medium.
///
/// A slot at least as long as the image keeps its length, so that nothing of the FAT changes but
/// the file's own data (docs/adr/0008); U-Boot goes by the size that the image itself states.
/// `step` is called before every write.
pub fn write(
    boot: &Volume,
    name: &str,
    image: &Image<'_>,
    step: &mut dyn FnMut(),
) -> Result<(), SlotError> {
    let opened = boot.open()?;
    let path = opened.path().join(name);
    log::info!("writing {name} ({} bytes)", image.len);
    let written = copy(image, &path, step).or_else(|error| {
        // The slot is unused: a new file may help where the old one cannot be extended or
        // overwritten.
        log::warn!("{error}; making {name} anew");
        step();
        durable::remove(&path).map_err(|source| io_error("remove", &path, source))?;
        copy(image, &path, step)
    })?;
    // Unmounting drops what is cached: what is read next comes from the medium.
    opened.close()?;
    if written != image.sha256 {
        return Err(SlotError::OtherImage(name.to_owned()));
    }
    let read = || -> Result<Option<String>, SlotError> {
        let opened = boot.open_read_only()?;
        let found = digest(&opened.path().join(name), image.len)?;
        opened.close()?;
        Ok(found)
    };
    compare(name, image.sha256, read()?, read)
}

/// Compares the slot with what was written; if they differ, a second look tells what is at fault.
fn compare(
    name: &str,
    wanted: &str,
    first: Option<String>,
    again: impl FnOnce() -> Result<Option<String>, SlotError>,
) -> Result<(), SlotError> {
    if first.as_deref() == Some(wanted) {
        return Ok(());
    }
    match again()? == first {
        true => Err(SlotError::Differs(name.to_owned())),
        false => Err(SlotError::Failing(name.to_owned())),
    }
}

/// Returns the SHA-256 of what was written.
fn copy(image: &Image<'_>, path: &Path, step: &mut dyn FnMut()) -> Result<String, SlotError> {
    let failed = |source| io_error("write", path, source);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.len() < image.len {
        step();
        file.set_len(image.len).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        if let Some(folder) = path.parent() {
            durable::sync_directory(folder).map_err(failed)?;
        }
    }
    let mut buffer = vec![0; CHUNK];
    let mut done = 0_u64;
    let mut hash = Sha256::new();
    while done < image.len {
        let left = usize::try_from(image.len.saturating_sub(done)).unwrap_or(CHUNK);
        let piece = buffer.get_mut(..left.min(CHUNK)).unwrap_or_default();
        image
            .file
            .read_exact_at(piece, image.offset.saturating_add(done))
            .map_err(|source| io_error("read the image for", path, source))?;
        step();
        file.write_all_at(piece, done).map_err(failed)?;
        hash.update(piece);
        done = done.saturating_add(piece.len() as u64);
    }
    file.sync_all().map_err(failed)?;
    Ok(hex::encode(hash.finish()))
}

/// Returns whether the file begins with an image of this size and SHA-256; it is read from the
/// medium as far as the system allows.
pub fn holds(path: &Path, size: u64, sha256: &str) -> Result<bool, SlotError> {
    Ok(digest(path, size)?.as_deref() == Some(sha256))
}

/// SHA-256 of the first `size` bytes; `None` where there are not so many.
fn digest(path: &Path, size: u64) -> Result<Option<String>, SlotError> {
    let failed = |source| io_error("read", path, source);
    // Where a directory stands for the partition, nothing was unmounted.
    let file = match durable::open_uncached(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() < size {
        return Ok(None);
    }
    let found = fit::digest(&file, 0, size).map_err(failed)?;
    Ok(Some(hex::encode(found)))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SlotError {
    SlotError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_written_read_back_and_keeps_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let boot = Volume::Directory(dir.path().to_owned());
        let source = dir.path().join("source");
        let content: Vec<u8> = (0..CHUNK + 700).map(|index| (index / 3) as u8).collect();
        std::fs::write(&source, [&[9; 5][..], &content].concat()).unwrap();
        let file = File::open(&source).unwrap();
        let sha256 = hex::encode(openssl::sha::sha256(&content));
        let image = |sha256| Image {
            file: &file,
            offset: 5,
            len: content.len() as u64,
            sha256,
        };
        let slot = dir.path().join("recovery-b.itb");
        for before in [None, Some(10), Some(CHUNK + 5000)] {
            if let Some(length) = before {
                std::fs::write(&slot, vec![7; length]).unwrap();
            }
            write(&boot, "recovery-b.itb", &image(&sha256), &mut || {}).unwrap();
            let written = std::fs::read(&slot).unwrap();
            assert!(written.starts_with(&content), "{before:?}");
            assert_eq!(written.len(), before.unwrap_or(0).max(content.len()));
        }
        // What changed since it was verified is no fault of the medium.
        let other = "0".repeat(64);
        let error = write(&boot, "recovery-b.itb", &image(&other), &mut || {}).unwrap_err();
        assert!(matches!(error, SlotError::OtherImage(_)), "{error}");
    }

    #[test]
    fn the_medium_is_blamed_only_where_two_looks_differ() {
        let found = |text: &str| Some(text.to_owned());
        for (first, second, expected) in [
            (found("right"), None, None),
            (found("wrong"), found("wrong"), Some("does not hold")),
            (None, None, Some("does not hold")),
            (
                found("wrong"),
                found("right"),
                Some("the medium is failing"),
            ),
            (
                found("wrong"),
                found("other"),
                Some("the medium is failing"),
            ),
        ] {
            let compared = compare("kernel-b.itb", "right", first, || Ok(second));
            match (compared, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{error}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
