//! Writes the backup in the normal OS while the applications run.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dau_system::durable::Temporary;
use nix::libc;

use super::archive::Writer;
use super::digest::{record, ContentHash, SetDigest};
use super::entry::{Entry, Kind, Role};
use super::expand::Matched;
use super::inroot::{self, Missing};
use super::sparse::{self, Data, Hashing, Segment, MAX_FILE_SIZE};
use super::{expand, verify, ParameterSet, ParametersError, MAX_ENTRIES, TEMPORARY};
use crate::ParametersRecord;

/// Attempts at reading a file that changes.
const TRIES: u32 = 8;

/// A file may change again with the same time stamp within this time: the kernel's clock for files
/// moves in steps of up to 10 ms.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// The pause after the first attempt; it doubles each time, 5 s in total.
const PAUSE: Duration = Duration::from_millis(40);

pub(super) fn backup(
    root: &Path,
    set: &ParameterSet,
    tar: &Path,
    digest_file: &Path,
) -> Result<ParametersRecord, ParametersError> {
    expand::check_links(root, set)?;
    let (temporary, file) =
        Temporary::create(tar, 0o600).map_err(ParametersError::io("write", tar))?;
    let matched = expand::matched(root, set)?;
    let mut backup = Backup {
        root,
        tar,
        writer: Writer::new(file),
        digest: SetDigest::new(),
        parameters: 0,
        entries: 0,
        last: PathBuf::from("/"),
        linked: HashMap::new(),
        matched: &matched,
    };
    for top in &matched.tops {
        expand::walk(root, top, &mut |location, path| backup.add(location, path))?;
    }
    let record = ParametersRecord {
        digest: backup.digest.finish(),
        entries: backup.parameters,
        backup_sha256: String::new(),
    };
    let file = backup.writer.finish();
    let file = file.map_err(ParametersError::io("write", tar))?;
    file.sync_all().map_err(ParametersError::io("write", tar))?;
    let backup_sha256 = verify::sha256(temporary.path())?;
    let named = temporary.rename_to(tar);
    named.map_err(ParametersError::io("write", tar))?;
    let line = verify::digest_line(&backup_sha256, tar);
    dau_system::durable::write(digest_file, line.as_bytes(), 0o600)
        .map_err(ParametersError::io("write", digest_file))?;
    Ok(ParametersRecord {
        backup_sha256,
        ..record
    })
}

struct Backup<'a> {
    root: &'a Path,
    tar: &'a Path,
    writer: Writer,
    digest: SetDigest,
    /// Number of parameters, without the folders above them.
    parameters: u64,
    /// Number of entries of the archive.
    entries: u64,
    /// The last path written: the folders above it are in the archive.
    last: PathBuf,
    /// The first name of each file with several, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    matched: &'a Matched,
}

/// The result of an attempt to add a path.
enum Attempt {
    Added,
    /// There is nothing to add.
    Nothing,
    /// It changed meanwhile.
    Changed,
}

impl Backup<'_> {
    /// Adds the entry at `location`, with the folders above it.
    fn add(&mut self, location: &Path, path: &Path) -> Result<(), ParametersError> {
        if path.file_name().is_some_and(|name| name == TEMPORARY) {
            return Ok(());
        }
        self.add_parents(path)?;
        for turn in 0..TRIES {
            let start = self.writer.position().map_err(self.unwritten())?;
            match self.attempt(location, path) {
                Ok(Attempt::Added | Attempt::Nothing) => return Ok(()),
                Ok(Attempt::Changed) => {}
                Err(ParametersError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.writer.take_back(start).map_err(self.unwritten())?;
            std::thread::sleep(PAUSE.saturating_mul(1 << turn));
        }
        Err(ParametersError::Changing {
            path: path.to_owned(),
        })
    }

    fn attempt(&mut self, location: &Path, path: &Path) -> Result<Attempt, ParametersError> {
        let failed = || ParametersError::io("read", path);
        let before = match fs::symlink_metadata(location) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Nothing),
            Err(error) => return Err(failed()(error)),
        };
        let Some(mut entry) = Entry::read(location, path, &before).map_err(failed())? else {
            log::info!("{} is passed over: no file, folder or link", path.display());
            return Ok(Attempt::Nothing);
        };
        if entry.role == Role::Linked {
            if let Some(first) = self.linked.get(&identity(&before)) {
                entry.kind = Kind::HardLink {
                    first: first.clone(),
                };
                entry.role = Role::Parameter;
            }
        }
        entry.required = self.matched.is_required(path);
        let Kind::File { size } = entry.kind else {
            self.write(&entry, &[], io::empty())?;
            self.count(&entry, &ContentHash::default());
            return Ok(Attempt::Added);
        };
        check_size(path, size)?;
        let file = open(location).map_err(failed())?;
        let segments = sparse::segments(&file, size).map_err(failed())?;
        let data = Failing::new(Data::new(file, &segments));
        let mut content = Hashing::new(data, &segments, size);
        let written = self.write(&entry, &segments, &mut content);
        if let Some(error) = content.data_mut().error.take() {
            return Err(failed()(error));
        }
        written?;
        let after = fs::symlink_metadata(location).map_err(failed())?;
        let whole = content.count == sparse::stored(&segments);
        if !whole || !unchanged(&before, &after, SystemTime::now()) {
            return Ok(Attempt::Changed);
        }
        if entry.role == Role::Linked {
            self.linked.insert(identity(&before), path.to_owned());
        }
        self.count(&entry, &content.finish());
        Ok(Attempt::Added)
    }

    /// Adds the folders above `path` that are not in the archive yet.
    fn add_parents(&mut self, path: &Path) -> Result<(), ParametersError> {
        let parent = path.parent().unwrap_or(path);
        let mut missing: Vec<&Path> = parent
            .ancestors()
            .take_while(|folder| !self.last.starts_with(folder))
            .collect();
        missing.reverse();
        for folder in missing {
            let failed = || ParametersError::io("read", folder);
            let location = inroot::folder(self.root, folder, Missing::Fail).map_err(failed())?;
            let metadata = fs::symlink_metadata(&location).map_err(failed())?;
            let Some(mut entry) = Entry::read(&location, folder, &metadata).map_err(failed())?
            else {
                continue;
            };
            entry.role = Role::Parent;
            self.write(&entry, &[], io::empty())?;
            self.entries = self.entries.saturating_add(1);
            self.last = folder.to_owned();
        }
        Ok(())
    }

    fn write(
        &mut self,
        entry: &Entry,
        segments: &[Segment],
        content: impl Read,
    ) -> Result<(), ParametersError> {
        if self.entries >= MAX_ENTRIES {
            return Err(ParametersError::TooMany { limit: MAX_ENTRIES });
        }
        let written = self.writer.append(entry, segments, content);
        written.map_err(self.unwritten())
    }

    fn count(&mut self, entry: &Entry, content: &ContentHash) {
        self.digest.add(&record(entry, content));
        self.parameters = self.parameters.saturating_add(1);
        self.entries = self.entries.saturating_add(1);
        self.last = entry.path.clone();
    }

    fn unwritten(&self) -> impl FnOnce(io::Error) -> ParametersError {
        ParametersError::io("write", self.tar)
    }
}

/// Refuses a file that is too large for a terminal's file system.
pub(super) fn check_size(path: &Path, size: u64) -> Result<(), ParametersError> {
    match size <= MAX_FILE_SIZE {
        true => Ok(()),
        false => Err(ParametersError::TooLarge {
            path: path.to_owned(),
            size,
            limit: MAX_FILE_SIZE,
        }),
    }
}

/// Opens a file without following a link or waiting for a pipe in its place.
pub(super) fn open(location: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(location)
}

/// Distinguishes read errors from errors of the archive, by the number of bytes read.
struct Failing<R> {
    source: R,
    error: Option<io::Error>,
}

impl<R> Failing<R> {
    fn new(source: R) -> Self {
        let error = None;
        Failing { source, error }
    }
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer).or_else(|error| {
            self.error = Some(error);
            Ok(0)
        })
    }
}

pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns true if a file did not change between two looks and could not have changed unnoticed.
fn unchanged(before: &Metadata, after: &Metadata, now: SystemTime) -> bool {
    let look = |metadata: &Metadata| {
        (
            identity(metadata),
            metadata.mode(),
            metadata.len(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        )
    };
    let changed = u64::try_from(after.ctime())
        .ok()
        .zip(u32::try_from(after.ctime_nsec()).ok())
        .and_then(|(seconds, nanos)| UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)));
    // A time ahead of the clock, which was set back, says nothing.
    let fresh = changed
        .and_then(|changed| now.duration_since(changed).ok())
        .is_some_and(|age| age < CLOCK_STEP);
    look(before) == look(after) && !fresh
}
