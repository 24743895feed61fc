//! Writes the backup, in the normal OS, while the applications run.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use openssl::sha::Sha256;

use super::archive::Writer;
use super::digest::{record, ContentHash, SetDigest};
use super::entry::{Entry, Kind, Role};
use super::inroot::{self, Missing};
use super::{expand, verify, ParameterSet, ParametersError, MAX_ENTRIES, TEMPORARY};
use crate::ParametersRecord;

/// How often a file that changes is read.
const TRIES: u32 = 8;

/// A file changed as short a time ago may change again with the same time stamp: the kernel's clock for
/// files moves in steps of up to 10 ms.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// The pause after the first time; it doubles each time, 5 s in all.
const PAUSE: Duration = Duration::from_millis(40);

pub(super) fn backup(
    root: &Path,
    set: &ParameterSet,
    tar: &Path,
    digest_file: &Path,
) -> Result<ParametersRecord, ParametersError> {
    let failed = ParametersError::io("write", tar);
    let temporary = match tar.file_name() {
        Some(name) => tar.with_file_name(format!(".{}.tmp", name.to_string_lossy())),
        None => return Err(failed(io::ErrorKind::InvalidInput.into())),
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(ParametersError::io("write", &temporary))?;
    let mut capture = Capture {
        root,
        tar,
        writer: Writer::new(file),
        digest: SetDigest::new(),
        parameters: 0,
        entries: 0,
        last: PathBuf::from("/"),
        linked: HashMap::new(),
    };
    for top in expand::tops(root, set)? {
        expand::walk(root, &top, &mut |location, path| {
            capture.add(location, path)
        })?;
    }
    let record = ParametersRecord {
        digest: capture.digest.finish(),
        entries: capture.parameters,
        backup_sha256: String::new(),
    };
    let file = capture.writer.finish();
    let file = file.map_err(ParametersError::io("write", tar))?;
    file.sync_all().map_err(ParametersError::io("write", tar))?;
    let backup_sha256 = verify::sha256(&temporary)?;
    dau_system::durable::rename(&temporary, tar).map_err(ParametersError::io("write", tar))?;
    let line = verify::digest_line(&backup_sha256, tar);
    dau_system::durable::write(digest_file, line.as_bytes(), 0o600)
        .map_err(ParametersError::io("write", digest_file))?;
    Ok(ParametersRecord {
        backup_sha256,
        ..record
    })
}

struct Capture<'a> {
    root: &'a Path,
    tar: &'a Path,
    writer: Writer,
    digest: SetDigest,
    /// Parameters, without the folders above them.
    parameters: u64,
    /// All entries of the archive.
    entries: u64,
    /// The path written last: the folders above it are in the archive.
    last: PathBuf,
    /// First name of each file that has several, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
}

/// How an attempt to add a path ended.
enum Attempt {
    Added,
    /// There is nothing to add.
    Nothing,
    /// It changed meanwhile.
    Changed,
}

impl Capture<'_> {
    /// Adds what lies at `location`, with the folders above it.
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
            std::thread::sleep(PAUSE * 2_u32.pow(turn));
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
        let Kind::File { size } = entry.kind else {
            self.write(&entry, io::empty())?;
            self.count(&entry, &ContentHash::default());
            return Ok(Attempt::Added);
        };
        let mut content = Content::open(location).map_err(failed())?;
        let written = self.write(&entry, (&mut content).take(size));
        if let Some(error) = content.error {
            return Err(failed()(error));
        }
        written?;
        let after = fs::symlink_metadata(location).map_err(failed())?;
        if content.count != size || !unchanged(&before, &after, SystemTime::now()) {
            return Ok(Attempt::Changed);
        }
        if entry.role == Role::Linked {
            self.linked.insert(identity(&before), path.to_owned());
        }
        self.count(&entry, &content.hash.finish());
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
            self.write(&entry, io::empty())?;
            self.entries += 1;
            self.last = folder.to_owned();
        }
        Ok(())
    }

    fn write(&mut self, entry: &Entry, content: impl Read) -> Result<(), ParametersError> {
        if self.entries >= MAX_ENTRIES {
            return Err(ParametersError::TooMany { limit: MAX_ENTRIES });
        }
        let written = self.writer.append(entry, content);
        written.map_err(self.unwritten())
    }

    fn count(&mut self, entry: &Entry, content: &ContentHash) {
        self.digest.add(&record(entry, content));
        self.parameters += 1;
        self.entries += 1;
        self.last = entry.path.clone();
    }

    fn unwritten(&self) -> impl FnOnce(io::Error) -> ParametersError {
        ParametersError::io("write", self.tar)
    }
}

/// A file that is hashed while it is read.
struct Content {
    file: File,
    hash: Sha256,
    count: u64,
    error: Option<io::Error>,
}

impl Content {
    fn open(location: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            // Should a link or a pipe have taken its place, it is neither followed nor waited for.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(location)?;
        Ok(Content {
            file,
            hash: Sha256::new(),
            count: 0,
            error: None,
        })
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(count) => {
                self.hash.update(&buffer[..count]);
                self.count += count as u64;
                Ok(count)
            }
            // Kept apart from errors of the archive; the size that was read tells.
            Err(error) => {
                self.error = Some(error);
                Ok(0)
            }
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// True when nothing happened to a file between two looks, and nothing can have happened unseen.
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
    // A time ahead of the clock (it was set back) says nothing.
    let fresh = changed
        .and_then(|changed| now.duration_since(changed).ok())
        .is_some_and(|age| age < CLOCK_STEP);
    look(before) == look(after) && !fresh
}
