//! Puts a backup back, in RecoveryOS, into the root filesystem that was just written.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink, DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dau_system::clock::timespec;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{utimensat, UtimensatFlags};
use nix::sys::time::TimeSpec;

use super::digest::{record, ContentHash, SetDigest};
use super::entry::{attributes, Entry, Kind, Role};
use super::inroot::{self, Missing};
use super::verify::Hashing;
use super::{archive, expand, ParametersError, Restored, TEMPORARY};

pub(super) fn restore(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    let source = File::open(tar).map_err(ParametersError::io("read", tar))?;
    let mut target = Target {
        tar,
        root,
        folders: Vec::new(),
    };
    let mut digest = SetDigest::new();
    let mut entries = 0;
    archive::read(source, tar, |entry, content| {
        let hash = target.put(&entry, content)?;
        if entry.role != Role::Parent {
            digest.add(&record(&entry, &hash));
            entries += 1;
        }
        Ok(())
    })?;
    // The innermost first: an outer one may close the way.
    for (location, entry) in target.folders.iter().rev() {
        dress(location, entry).map_err(ParametersError::io("restore", &entry.path))?;
    }
    File::open(root)
        .and_then(|root| nix::unistd::syncfs(root).map_err(io::Error::from))
        .map_err(ParametersError::io("sync", root))?;
    Ok(Restored {
        entries,
        digest: digest.finish(),
    })
}

struct Target<'a> {
    tar: &'a Path,
    root: &'a Path,
    /// Dressed at the end: their modes may forbid, and their times would not survive, what comes into them.
    folders: Vec<(PathBuf, Entry)>,
}

impl Target<'_> {
    /// Puts one entry in its place and returns the hash of its content.
    fn put(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
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
            // Whatever the new OS has there, folder or link to one, is its own affair.
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
        // Two names of one file are left as they are by rename(2).
        remove(&temporary).map_err(failed())?;
        Ok(hash)
    }

    /// Makes a file or link, complete but for its name.
    fn make(
        &self,
        entry: &Entry,
        content: &mut dyn Read,
        temporary: &Path,
    ) -> Result<ContentHash, ParametersError> {
        let failed = || ParametersError::io("restore", &entry.path);
        let mut hash = ContentHash::default();
        match &entry.kind {
            Kind::File { size } => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(temporary)
                    .map_err(failed())?;
                let mut content = Hashing::new(content);
                if io::copy(&mut content, &mut file).map_err(failed())? != *size {
                    let reason = format!("it ends within {}", entry.path.display());
                    return Err(ParametersError::damaged(self.tar, reason));
                }
                hash = content.hash.finish();
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

/// Gives what lies at `location` the owner, mode, attributes and time of `entry`.
///
/// In this order: a change of the owner takes set-user-id and capabilities away, a change of the mode
/// changes an access control list, and all of them leave the time of modification alone.
fn dress(location: &Path, entry: &Entry) -> io::Result<()> {
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    lchown(location, Some(id(entry.uid)?), Some(id(entry.gid)?))?;
    if !matches!(entry.kind, Kind::Link { .. }) {
        fs::set_permissions(location, Permissions::from_mode(entry.mode))?;
    }
    for (name, _) in attributes(location)? {
        // Inherited from the folder, or left from the image.
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
    utimensat(
        AT_FDCWD,
        location,
        &TimeSpec::UTIME_OMIT,
        &timespec(entry.modified.seconds, entry.modified.nanos),
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}
