//! Files that survive a power cut as either the old or the new version, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{posix_fadvise, OFlag, PosixFadviseAdvice};

/// Replaces the content of `path` by `bytes`: temporary file beside it, fsync, rename, fsync of the
/// folder.
///
/// `mode` is the new file's. On success the content is on the medium. On failure the old content
/// stays, and no space is left occupied.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (temporary, mut file) = Temporary::create(path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    temporary.rename_to(path)
}

/// An incomplete file beside the one that it will become. Dropping it removes it.
#[derive(Debug)]
pub struct Temporary {
    /// Empty after the rename.
    path: PathBuf,
}

impl Temporary {
    /// Creates the file that will become `path`, and opens it for writing. Anything under its name
    /// is removed first, without waiting for a pipe or following a link.
    pub fn create(path: &Path, mode: u32) -> io::Result<(Self, File)> {
        let path = temporary_name(path)?;
        let create = || {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(mode).open(&path)
        };
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_whatever(&path)?;
                create()?
            }
            created => created?,
        };
        Ok((Temporary { path }, file))
    }

    /// Returns the temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it durably; its content must be synced before.
    pub fn rename_to(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.path.clear();
        sync_directory(parent(path)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Removes the temporary files (`.NAME.tmp`) of interrupted writers in `directory`, of whatever
/// type. Returns their number.
///
/// Must not be called while a writer is at work there.
pub fn remove_temporaries(directory: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0_usize;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_bytes();
        if name.starts_with(b".") && name.ends_with(b".tmp") {
            remove_whatever(&entry.path())?;
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

fn remove_whatever(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// Opens a regular file for reading. A pipe or device is refused without waiting; links are
/// followed.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is no file", path.display()))),
    }
}

/// Reads a regular file of at most `limit` bytes; refuses a longer one without reading it.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    let more = limit.saturating_add(1);
    if file.metadata()?.len() <= limit && file.take(more).read_to_end(&mut bytes)? as u64 <= limit {
        return Ok(bytes);
    }
    let reason = format!("{} has more than {limit} bytes", path.display());
    Err(io::Error::other(reason))
}

/// Renames within a file system and syncs the folders concerned.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(parent(to)?)?;
    if parent(from)? != parent(to)? {
        sync_directory(parent(from)?)?;
    }
    Ok(())
}

/// Removes a file if it exists and syncs its folder.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Overwrites a file in place in one write, then syncs it and reads it back from the medium.
///
/// For file systems without journal (FAT): nothing but the file's own data changes on the medium. A
/// missing file, or one of another length, is first brought to the length of `bytes`.
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

/// Opens a file as [`open`] does, to read it from the medium: drops its synced pages from memory
/// first.
pub fn open_uncached(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(file)
}

/// Makes the creation, renaming or removal of names in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Returns the name of the temporary file that [`write()`] uses; see [`remove_temporaries`].
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
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

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
    fn a_failed_write_keeps_the_old_content_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        // A folder in the file's place makes the rename fail after everything was written.
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"new", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Returns paths with anything but a regular file.
    fn hostile_places(dir: &Path, name: &str) -> Vec<PathBuf> {
        type Make = fn(&Path);
        let kinds: [Make; 5] = [
            |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
            |path| fs::create_dir_all(path.join("full")).unwrap(),
            |path| symlink(path.with_file_name("victim"), path).unwrap(),
            |path| symlink(path, path).unwrap(),
            |path| fs::write(path, "torn").unwrap(),
        ];
        let places = kinds.iter().enumerate().map(|(number, make)| {
            let folder = dir.join(number.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("victim"), "untouched").unwrap();
            make(&folder.join(name));
            folder
        });
        places.collect()
    }

    #[test]
    fn whatever_stands_in_the_temporary_files_place_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        for folder in hostile_places(dir.path(), ".job.json.tmp") {
            let path = folder.join("job.json");
            write(&path, b"new", 0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::read(folder.join("victim")).unwrap(), b"untouched");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        }
        fs::create_dir(dir.path().join("b")).unwrap();
        for folder in hostile_places(&dir.path().join("b"), ".job.json.tmp") {
            assert_eq!(remove_temporaries(&folder).unwrap(), 1);
            assert_eq!(fs::read(folder.join("victim")).unwrap(), b"untouched");
        }
        assert_eq!(remove_temporaries(&dir.path().join("none")).unwrap(), 0);
    }

    #[test]
    fn pipes_and_huge_files_are_refused_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        assert!(read(&pipe, 10).is_err());
        assert!(open_uncached(&pipe).is_err());
        assert!(read(dir.path(), 10).is_err());
        let huge = dir.path().join("huge");
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        let text = read(&huge, 10).unwrap_err().to_string();
        assert!(text.ends_with("huge has more than 10 bytes"), "{text}");
        fs::write(&huge, "0123456789").unwrap();
        assert_eq!(read(&huge, 10).unwrap(), b"0123456789");
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
