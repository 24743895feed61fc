//! The kernel and RecoveryOS slots on boot: written, and read back from the medium.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dau_system::durable;
use dau_system::volume::{Volume, VolumeError};
use nix::mount::MsFlags;

use crate::fit;

const CHUNK: usize = 256 << 10;
/// For looking only: Linux marks a FAT that is mounted for writing.
pub const READ_ONLY: MsFlags = MsFlags::MS_RDONLY
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NOEXEC);

/// A FIT image within a file.
#[derive(Debug)]
pub struct Image<'a> {
    /// The file, such as a verified package.
    pub file: &'a File,
    /// Where in it the image begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: &'a str,
}

/// Why a slot could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The partition cannot be mounted or unmounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was read is not what was written.
    #[error("{0} reads back differently from what was written: the medium is failing")]
    Differs(String),
}

/// Writes an image to the slot of this name, and reads it back from the medium.
///
/// A slot at least as long as the image keeps its length, so that nothing of the FAT changes but the file's own data (docs/adr/0008);
/// U-Boot goes by the size that the image itself states. `step` is called before every write.
pub fn write(
    boot: &Volume,
    name: &str,
    image: &Image<'_>,
    step: &mut dyn FnMut(),
) -> Result<(), SlotError> {
    let opened = boot.open()?;
    let path = opened.path().join(name);
    log::info!("writing {name} ({} bytes)", image.len);
    if let Err(error) = copy(image, &path, step) {
        // The slot is unused: a new file may help where the old one cannot be extended or overwritten.
        log::warn!("{error}; making {name} anew");
        step();
        durable::remove(&path).map_err(|source| io_error("remove", &path, source))?;
        copy(image, &path, step)?;
    }
    // Unmounting drops what is cached: what is read next comes from the medium.
    opened.close()?;
    let opened = boot.open_with(READ_ONLY)?;
    let same = holds(&opened.path().join(name), image.len, image.sha256)?;
    opened.close()?;
    match same {
        true => Ok(()),
        false => Err(SlotError::Differs(name.to_owned())),
    }
}

fn copy(image: &Image<'_>, path: &Path, step: &mut dyn FnMut()) -> Result<(), SlotError> {
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
    let mut done = 0;
    while done < image.len {
        let piece = (image.len - done).min(CHUNK as u64) as usize;
        image
            .file
            .read_exact_at(&mut buffer[..piece], image.offset + done)
            .map_err(|source| io_error("read the image for", path, source))?;
        step();
        file.write_all_at(&buffer[..piece], done).map_err(failed)?;
        done += piece as u64;
    }
    file.sync_all().map_err(failed)
}

/// Whether the file begins with an image of this size and SHA-256; read from the medium as far as the system allows.
pub fn holds(path: &Path, size: u64, sha256: &str) -> Result<bool, SlotError> {
    let failed = |source| io_error("read", path, source);
    // Where a directory stands for the partition, nothing was unmounted.
    let file = match durable::open_uncached(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() < size {
        return Ok(false);
    }
    Ok(hex(&fit::digest(&file, 0, size).map_err(failed)?) == sha256)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        let sha256 = hex(&openssl::sha::sha256(&content));
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
        let other = "0".repeat(64);
        let error = write(&boot, "recovery-b.itb", &image(&other), &mut || {}).unwrap_err();
        assert!(matches!(error, SlotError::Differs(_)), "{error}");
    }
}
