//! Restores a backup, in RecoveryOS, to the root filesystem that was just written.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink, DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{utimensat, AtFlags, Timespec, Timestamps, CWD, UTIME_OMIT};

use super::archive::{self, Content, CopyError};
use super::digest::{record, ContentHash, SetDigest};
use super::entry::{attributes, Entry, Kind, Role};
use super::inroot::{self, Missing};
use super::{expand, Lacking, ParametersError, Restored, MAX_CHANGED, TEMPORARY};

/// Errors of the medium or of the whole system rather than of a single file.
const NOT_OF_A_FILE: [Errno; 6] = [
    Errno::EIO,
    Errno::EROFS,
    Errno::ENODEV,
    Errno::ENXIO,
    Errno::ENOMEM,
    Errno::EMFILE,
];

pub(super) fn restore(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    pass(tar, root, |_, _| true, |error, _, _| Err(error))
}

pub(super) fn restore_what_can_be(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    let of_a_file = |error: &ParametersError| match error {
        ParametersError::Io { path, source, .. } => {
            let errno = source.raw_os_error().map(Errno::from_raw);
            path != tar && errno.is_none_or(|errno| !NOT_OF_A_FILE.contains(&errno))
        }
        ParametersError::InTheWay { .. } => true,
        _ => false,
    };
    let mut failed = BTreeSet::new();
    pass(
        tar,
        root,
        |entry, _| entry.required || entry.role == Role::Parent,
        |error, _, number| {
            // It may be a name of a file that comes later.
            failed.insert(number);
            Some(()).filter(|()| of_a_file(&error)).ok_or(error)
        },
    )?;
    let mut lacking = Lacking::default();
    let restored = pass(
        tar,
        root,
        |entry, number| !entry.required || failed.contains(&number),
        |error, entry, number| {
            if entry.required || !of_a_file(&error) {
                return Err(error);
            }
            log::error!("{error}");
            lacking.numbers.insert(number);
            if lacking.first.len() < MAX_CHANGED {
                lacking.first.push((entry.path.clone(), error.cause()));
            }
            Ok(())
        },
    )?;
    Ok(Restored {
        lacking,
        ..restored
    })
}

/// Restores the entries that are `wanted`, each with its number. The others count as restored
/// already; a failing one is left out if `left_out` says so.
fn pass(
    tar: &Path,
    root: &Path,
    wanted: impl Fn(&Entry, u64) -> bool,
    mut left_out: impl FnMut(ParametersError, &Entry, u64) -> Result<(), ParametersError>,
) -> Result<Restored, ParametersError> {
    let source = dau_system::durable::open(tar).map_err(ParametersError::io("read", tar))?;
    let mut target = Target {
        tar,
        root,
        folders: Vec::new(),
    };
    let mut digest = SetDigest::new();
    let mut entries = 0_u64;
    let mut numbers = 0..;
    archive::read(source, tar, |entry, content| {
        let number = numbers.next().unwrap_or_default();
        let hash = match wanted(&entry, number) {
            true => target.put(&entry, content),
            false => content.hash().map_err(ParametersError::io("read", tar)),
        };
        let hash = match hash {
            Ok(hash) => hash,
            Err(error) => {
                left_out(error, &entry, number)?;
                return target.clear(&entry);
            }
        };
        if entry.role != Role::Parent {
            digest.add(&record(&entry, &hash));
            entries = entries.saturating_add(1);
        }
        Ok(())
    })?;
    // The innermost first, as an outer one may deny access.
    for (location, entry) in target.folders.iter().rev() {
        dress(location, entry).map_err(ParametersError::io("restore", &entry.path))?;
    }
    File::open(root)
        .and_then(|root| nix::unistd::syncfs(root).map_err(io::Error::from))
        .map_err(ParametersError::io("sync", root))?;
    Ok(Restored {
        entries,
        digest: digest.finish(),
        lacking: Lacking::default(),
    })
}

struct Target<'a> {
    tar: &'a Path,
    root: &'a Path,
    /// Their attributes are set at the end: the mode may deny writes, and the times would change.
    folders: Vec<(PathBuf, Entry)>,
}

impl Target<'_> {
    /// Removes an attempt's remains, to free their space for the next attempt.
    fn clear(&self, entry: &Entry) -> Result<(), ParametersError> {
        match inroot::locate(self.root, &entry.path, Missing::Fail) {
            Ok(location) => remove(&location.with_file_name(TEMPORARY))
                .map_err(ParametersError::io("restore", &entry.path)),
            Err(_) => Ok(()),
        }
    }

    /// Restores one entry and returns the hash of its content.
    fn put(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
    ) -> Result<ContentHash, ParametersError> {
        let path = &entry.path;
        let failed = || ParametersError::io("restore", path);
        if path.file_name() == Some(OsStr::new(TEMPORARY)) {
            let reason = format!(
                "{} is a name that is in use while restoring",
                path.display()
            );
            return Err(ParametersError::damaged(self.tar, reason));
        }
        if entry.role == Role::Parent {
            // An existing folder, or link to one, belongs to the new OS and stays.
            if inroot::folder(self.root, path, Missing::Fail).is_err() {
                let location = inroot::folder(self.root, path, Missing::Create).map_err(failed())?;
                self.folders.push((location, entry.clone()));
            }
            return Ok(ContentHash::default());
        }
        let location = inroot::locate(self.root, path, Missing::Create).map_err(failed())?;
        let present = expand::look(self.root, path)?.map(|(_, metadata)| metadata);
        if let Kind::Folder = entry.kind {
            match present {
                Some(metadata) if metadata.is_dir() => {}
                Some(metadata) => return Err(in_the_way(entry, &metadata)),
                None => DirBuilder::new()
                    .mode(0o700)
                    .create(&location)
                    .map_err(failed())?,
            }
            self.folders.push((location, entry.clone()));
            return Ok(ContentHash::default());
        }
        if let Some(metadata) = present.filter(Metadata::is_dir) {
            return Err(in_the_way(entry, &metadata));
        }
        let temporary = location.with_file_name(TEMPORARY);
        remove(&temporary).map_err(failed())?;
        let hash = self.make(entry, content, &temporary)?;
        fs::rename(&temporary, &location).map_err(failed())?;
        // rename(2) does nothing if both names are the same file.
        remove(&temporary).map_err(failed())?;
        Ok(hash)
    }

    /// Makes a file or link, complete except for its name.
    fn make(
        &self,
        entry: &Entry,
        content: &mut Content<'_>,
        temporary: &Path,
    ) -> Result<ContentHash, ParametersError> {
        let failed = || ParametersError::io("restore", &entry.path);
        let mut hash = ContentHash::default();
        match &entry.kind {
            Kind::File { .. } => {
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(temporary)
                    .map_err(failed())?;
                hash = content.write_to(&file).map_err(|error| match error {
                    CopyError::Target(error) => failed()(error),
                    CopyError::Source(error) if error.raw_os_error().is_some() => {
                        ParametersError::io("read", self.tar)(error)
                    }
                    CopyError::Source(_) => {
                        let reason = format!("it ends within {}", entry.path.display());
                        ParametersError::damaged(self.tar, reason)
                    }
                })?;
            }
            Kind::Link { target } => symlink(target, temporary).map_err(failed())?,
            Kind::HardLink { first } => {
                let first = inroot::locate(self.root, first, Missing::Fail).map_err(failed())?;
                fs::hard_link(first, temporary).map_err(failed())?;
                return Ok(hash);
            }
            Kind::Folder => {}
        }
        dress(temporary, entry).map_err(failed())?;
        Ok(hash)
    }
}

fn in_the_way(entry: &Entry, metadata: &Metadata) -> ParametersError {
    ParametersError::InTheWay {
        path: entry.path.clone(),
        was: entry.kind.word(),
        is: Kind::word_of(metadata),
    }
}

fn remove(temporary: &Path) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Sets owner, mode, attributes and time of the file at `location` from `entry`.
///
/// The order matters: changing the owner removes set-user-id and capabilities, changing the mode
/// changes an access control list, and none of them changes the time of modification.
fn dress(location: &Path, entry: &Entry) -> io::Result<()> {
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    lchown(location, Some(id(entry.uid)?), Some(id(entry.gid)?))?;
    if !matches!(entry.kind, Kind::Link { .. }) {
        fs::set_permissions(location, Permissions::from_mode(entry.mode))?;
    }
    for (name, _) in attributes(location)? {
        // Inherited from the folder, or from the image.
        if entry.attributes.iter().all(|(wanted, _)| *wanted != name) {
            if let Err(error) = xattr::remove(location, OsStr::from_bytes(&name)) {
                let name = String::from_utf8_lossy(&name);
                log::warn!(
                    "{} keeps its attribute {name}: {error}",
                    entry.path.display()
                );
            }
        }
    }
    for (name, value) in &entry.attributes {
        xattr::set(location, OsStr::from_bytes(name), value).map_err(|error| {
            let name = String::from_utf8_lossy(name);
            io::Error::new(error.kind(), format!("extended attribute {name}: {error}"))
        })?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: entry.modified.seconds,
            tv_nsec: entry.modified.nanos.into(),
        },
    };
    utimensat(CWD, location, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
