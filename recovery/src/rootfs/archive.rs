//! An archive of the root filesystem, unpacked into a fresh ext4 with owner, mode, times and extended attributes, then
//! read back from the medium and compared.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use dau_package::PayloadLocation;
use dau_system::volume::Volume;
use nix::sys::stat::{major, makedev, minor, mknod, Mode, SFlag};
use nix::unistd::{chown, Gid, Uid};
use tar::{Archive, Entry, EntryType};

use super::ext4;
use crate::terminal::Terminal;
use crate::verify::Accepted;

const CHUNK: usize = 128 << 10;
/// As GNU tar, bsdtar and star write the names of extended attributes.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

type Stored<'a> = zstd::Decoder<'static, BufReader<Part<'a>>>;

/// Unpacks the archive in `payload` to the device at `path`. Returns the bytes of the archive.
pub fn write(
    terminal: &Terminal,
    package: &Accepted,
    payload: &PayloadLocation,
    path: &Path,
) -> Result<u64> {
    if matches!(terminal.rootfs_files, Volume::Partition { .. }) {
        terminal.cut.point();
        ext4::make(path)?;
    }
    let root = terminal.rootfs_files.open()?;
    terminal.cut.point();
    empty(root.path())?;
    let mut archive = open(package, payload)?;
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry.context("cannot read the archive")?;
        terminal.cut.point();
        unpack(&mut entry, root.path(), &mut folders)?;
        (terminal.progress)();
    }
    finish(archive)?;
    // Files that are put into a folder change its times: folders last, the inner ones first.
    for (path, header) in folders.iter().rev() {
        set_time(path, header.mtime().unwrap_or(0))?;
    }
    nix::unistd::sync();
    // Unmounted and mounted again: what is compared comes from the medium.
    root.close()?;
    if matches!(terminal.rootfs_files, Volume::Partition { .. }) {
        ext4::check(path)?;
    }
    let root = terminal.rootfs_files.open()?;
    let mut archive = open(package, payload)?;
    for entry in archive.entries()? {
        compare(&mut entry.context("cannot read the archive")?, root.path())?;
        (terminal.progress)();
    }
    root.close()?;
    Ok(payload.payload.image_size)
}

/// A payload of the package, read once in its order.
#[derive(Debug)]
struct Part<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.end - self.offset).min(buffer.len() as u64) as usize;
        let count = self.file.read_at(&mut buffer[..left], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn open<'a>(package: &'a Accepted, payload: &PayloadLocation) -> Result<Archive<Stored<'a>>> {
    let part = Part {
        file: &package.file,
        offset: payload.offset,
        end: payload.offset + payload.len,
    };
    let reader = BufReader::with_capacity(CHUNK, part);
    let mut archive = Archive::new(zstd::Decoder::with_buffer(reader)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(nix::unistd::geteuid().is_root());
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    Ok(archive)
}

/// Reads on to the end, so that a torn archive is noticed.
fn finish(archive: Archive<Stored<'_>>) -> Result<()> {
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("cannot read the archive")?;
    Ok(())
}

/// A fresh file system holds `lost+found`; a directory that stands for one may hold anything.
fn empty(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn unpack<R: Read>(
    entry: &mut Entry<'_, R>,
    root: &Path,
    folders: &mut Vec<(PathBuf, tar::Header)>,
) -> Result<()> {
    let path = target(entry, root)?;
    let context = || format!("cannot unpack {}", path.display());
    match entry.header().entry_type() {
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            special(entry, &path).with_context(context)?;
        }
        kind => {
            let done = entry.unpack_in(root).with_context(context)?;
            ensure!(
                done,
                "the archive holds {}, which leads out of it",
                path.display()
            );
            if kind == EntryType::Directory {
                folders.push((path, entry.header().clone()));
            }
        }
    }
    Ok(())
}

/// A device or a pipe, which the tar crate would make a file.
fn special<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<()> {
    let header = entry.header();
    let (kind, device) = match header.entry_type() {
        EntryType::Fifo => (SFlag::S_IFIFO, 0),
        kind => {
            let number =
                |part: io::Result<Option<u32>>| part.map(|part| u64::from(part.unwrap_or(0)));
            let device = makedev(
                number(header.device_major())?,
                number(header.device_minor())?,
            );
            match kind {
                EntryType::Char => (SFlag::S_IFCHR, device),
                _ => (SFlag::S_IFBLK, device),
            }
        }
    };
    let mode = Mode::from_bits_truncate(header.mode()? & 0o7777);
    mknod(path, kind, mode, device)?;
    // mknod goes by the umask.
    fs::set_permissions(
        path,
        std::os::unix::fs::PermissionsExt::from_mode(mode.bits()),
    )?;
    let (uid, gid) = (header.uid()? as u32, header.gid()? as u32);
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    set_time(path, header.mtime()?)
}

fn set_time(path: &Path, seconds: u64) -> Result<()> {
    let time = dau_system::clock::timespec(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &time,
        &time,
        nix::sys::stat::UtimensatFlags::NoFollowSymlink,
    )
    .with_context(|| format!("cannot set the time of {}", path.display()))
}

/// Compares an entry with what stands on the medium.
fn compare<R: Read>(entry: &mut Entry<'_, R>, root: &Path) -> Result<()> {
    let path = target(entry, root)?;
    let differs = |what: &str| {
        format!(
            "{} reads back with another {what} than was written: the medium is failing",
            path.display()
        )
    };
    let found = fs::symlink_metadata(&path)
        .with_context(|| format!("{} does not read back", path.display()))?;
    let kind = entry.header().entry_type();
    if kind == EntryType::Link {
        return Ok(());
    }
    let kind_holds = match kind {
        EntryType::Directory => found.is_dir(),
        EntryType::Symlink => found.is_symlink(),
        EntryType::Char | EntryType::Block => {
            let device = (
                entry.header().device_major()?,
                entry.header().device_minor()?,
            );
            device
                == (
                    Some(major(found.rdev()) as u32),
                    Some(minor(found.rdev()) as u32),
                )
        }
        EntryType::Fifo => found.mode() & 0o170_000 == 0o010_000,
        _ => found.is_file(),
    };
    ensure!(kind_holds, differs("kind"));
    if kind != EntryType::Symlink {
        ensure!(
            found.mode() & 0o7777 == entry.header().mode()? & 0o7777,
            differs("mode")
        );
    }
    if nix::unistd::geteuid().is_root() {
        let owner = (u64::from(found.uid()), u64::from(found.gid()));
        ensure!(
            owner == (entry.header().uid()?, entry.header().gid()?),
            differs("owner")
        );
    }
    compare_xattrs(entry, &path)?;
    match kind {
        EntryType::Symlink => {
            let link = fs::read_link(&path)?;
            let wanted = entry.link_name_bytes().unwrap_or_default();
            ensure!(
                link.as_os_str().as_bytes() == &wanted[..],
                differs("target")
            );
        }
        _ if found.is_file() => {
            ensure!(same_content(entry, &path)?, differs("content"));
        }
        _ => {}
    }
    Ok(())
}

/// Extended attributes stand in a pax header before their entry.
fn compare_xattrs<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> Result<()> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key_bytes().strip_prefix(XATTR_PREFIX) else {
            continue;
        };
        let found = xattr::get(path, OsStr::from_bytes(name))?;
        ensure!(
            found.as_deref() == Some(extension.value_bytes()),
            "{} reads back without its attribute {}: the medium is failing",
            path.display(),
            String::from_utf8_lossy(name)
        );
    }
    Ok(())
}

fn same_content(archive: &mut impl Read, path: &Path) -> Result<bool> {
    let mut file = File::open(path)?;
    let (mut wanted, mut found) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let count = fill(archive, &mut wanted)?;
        if fill(&mut file, &mut found)? != count || wanted[..count] != found[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match from.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Where an entry goes.
fn target<R: Read>(entry: &Entry<'_, R>, root: &Path) -> Result<PathBuf> {
    let name = entry.path()?;
    let mut path = root.to_owned();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!(
                    "the archive holds {}, which leads out of it",
                    name.display()
                )
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
