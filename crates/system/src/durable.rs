//! Files that survive a power cut whole: old or new, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};

/// Replaces `path` by `bytes`: temporary file beside it, fsync, rename, fsync of the directory.
///
/// `mode` is that of the new file. When this returns, the content is on the medium.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    rename(&temporary, path)
}

/// Renames within one file system and syncs the directories concerned.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(parent(to)?)?;
    if parent(from)? != parent(to)? {
        sync_directory(parent(from)?)?;
    }
    Ok(())
}

/// Removes a file if it is there and syncs its directory.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Overwrites a file of the same length where it stands, in one write, then syncs and reads back from the medium.
///
/// For file systems without journal (FAT): nothing but the file's own data changes on the medium.
/// A missing file, or one of another length, is first brought to the length of `bytes`.
pub fn overwrite_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if file.metadata()?.len() != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
        sync_directory(parent(path)?)?;
    }
    let written = file.write_at(bytes, 0)?;
    if written != bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("only {written} of {} bytes written", bytes.len()),
        ));
    }
    file.sync_all()?;
    let mut back = Vec::with_capacity(bytes.len());
    open_uncached(path)?.read_to_end(&mut back)?;
    if back != bytes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} reads back differently from what was written",
                path.display()
            ),
        ));
    }
    Ok(())
}

/// Opens a file to be read as it is on the medium: its pages in memory are given up first, as far as they are synced.
pub fn open_uncached(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(file)
}

/// Makes names created, renamed or removed in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The name of the temporary file that [`write`] uses; a left-over one is harmless.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| no_name(path))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(no_name(path)),
    }
}

fn no_name(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{} names no file", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        write(&path, b"old", 0o600).unwrap();
        // A directory in the temporary file's place makes the write fail before the rename.
        fs::create_dir(dir.path().join(".job.json.tmp")).unwrap();
        assert!(write(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn overwrite_keeps_the_file_and_mends_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dau-a.env");
        fs::write(&path, [1; 5000]).unwrap();
        overwrite_in_place(&path, &[2; 4096]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [2; 4096]);
        fs::remove_file(&path).unwrap();
        overwrite_in_place(&path, &[3; 4096]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [3; 4096]);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
    }
}
