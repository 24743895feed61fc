//! Measures a set of parameters before anything is written.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::backup::{check_size, identity, open};
use super::entry::{Entry, Kind};
use super::inroot::{self, Missing};
use super::{expand, sparse, ParameterSet, ParametersError, MAX_ENTRIES, TEMPORARY};

/// Blocks of a tar archive, and of the file systems of a terminal.
const TAR_BLOCK: u64 = 512;
const DISK_BLOCK: u64 = 4096;

/// A link's target of this length has a block of its own on ext4.
const LONG_TARGET: u64 = 60;

/// The room that a set of parameters takes: upper bounds, but for files that grow meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of the backup.
    pub archive: u64,
    /// Bytes on the root filesystem into which they are put back, if that has none of them yet.
    pub rootfs: u64,
    /// Inodes there.
    pub inodes: u64,
    /// The file that takes most of [`Measured::rootfs`], and its bytes of it.
    pub largest: Option<(PathBuf, u64)>,
}

pub(super) fn measure(root: &Path, set: &ParameterSet) -> Result<Measured, ParametersError> {
    let matched = expand::matched(root, set)?;
    let mut measuring = Measuring {
        root,
        last: PathBuf::from("/"),
        linked: HashSet::new(),
        // Two blocks of zeros.
        measured: Measured {
            archive: TAR_BLOCK.saturating_mul(2),
            ..Measured::default()
        },
    };
    for top in &matched.tops {
        expand::walk(root, top, &mut |location, path| {
            measuring.visit(location, path)
        })?;
    }
    Ok(measuring.measured)
}

struct Measuring<'a> {
    root: &'a Path,
    /// The path visited last: the folders above it are counted.
    last: PathBuf,
    /// Files with several names that were counted.
    linked: HashSet<(u64, u64)>,
    measured: Measured,
}

impl Measuring<'_> {
    fn visit(&mut self, location: &Path, path: &Path) -> Result<(), ParametersError> {
        if path.file_name().is_some_and(|name| name == TEMPORARY) {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(path).to_owned();
        let last = std::mem::replace(&mut self.last, path.to_owned());
        for folder in parent
            .ancestors()
            .take_while(|folder| !last.starts_with(folder))
        {
            let location = inroot::folder(self.root, folder, Missing::Fail)
                .map_err(ParametersError::io("read", folder))?;
            self.add(&location, folder)?;
        }
        self.add(location, path)
    }

    fn add(&mut self, location: &Path, path: &Path) -> Result<(), ParametersError> {
        let failed = || ParametersError::io("read", path);
        let found = fs::symlink_metadata(location)
            .and_then(|data| Ok((Entry::read(location, path, &data)?, data)));
        let (entry, data) = match found {
            Ok((Some(entry), data)) => (entry, data),
            Ok((None, _)) => return Ok(()),
            // Applications are at work.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed()(error)),
        };
        let measured = &mut self.measured;
        measured.entries = measured.entries.saturating_add(1);
        if measured.entries > MAX_ENTRIES {
            return Err(ParametersError::TooMany { limit: MAX_ENTRIES });
        }
        let mut records = length(path).saturating_add(TAR_BLOCK);
        let mut disk = 0_u64;
        for (name, value) in &entry.attributes {
            let attribute = name.len().saturating_mul(3).saturating_add(value.len());
            records = records.saturating_add(attribute as u64).saturating_add(64);
            disk = DISK_BLOCK;
        }
        let mut content = 0;
        let mut inodes = 1;
        match &entry.kind {
            Kind::File { .. } if data.nlink() > 1 && !self.linked.insert(identity(&data)) => {
                (disk, inodes) = (0, 0);
            }
            Kind::File { size } => {
                check_size(path, *size)?;
                let segments = match data.blocks().saturating_mul(512) >= *size {
                    true => sparse::dense(*size),
                    false => open(location)
                        .and_then(|file| sparse::segments(&file, *size))
                        .map_err(failed())?,
                };
                let map = (segments.len() as u64).saturating_add(2).saturating_mul(40);
                let map = up(map, TAR_BLOCK);
                content = up(sparse::stored(&segments), TAR_BLOCK).saturating_add(map);
                for segment in &segments {
                    let end = up(segment.end(), DISK_BLOCK);
                    let start = segment.offset.saturating_sub(segment.offset % DISK_BLOCK);
                    disk = disk.saturating_add(end.saturating_sub(start));
                }
            }
            Kind::Folder => disk = disk.saturating_add(DISK_BLOCK.max(data.len())),
            Kind::Link { target } => {
                records = records.saturating_add(length(target));
                if length(target) >= LONG_TARGET {
                    disk = disk.saturating_add(DISK_BLOCK);
                }
            }
            Kind::HardLink { .. } => {}
        }
        // An extended header with its content, the header, the content.
        let archive = TAR_BLOCK.saturating_mul(2).saturating_add(content);
        let archive = archive.saturating_add(up(records, TAR_BLOCK));
        measured.archive = measured.archive.saturating_add(archive);
        measured.rootfs = measured.rootfs.saturating_add(disk);
        measured.inodes = measured.inodes.saturating_add(inodes);
        if measured
            .largest
            .as_ref()
            .is_none_or(|(_, most)| *most < disk)
        {
            measured.largest = Some((path.to_owned(), disk));
        }
        Ok(())
    }
}

fn up(bytes: u64, block: u64) -> u64 {
    bytes.checked_next_multiple_of(block).unwrap_or(u64::MAX)
}

fn length(path: &Path) -> u64 {
    path.as_os_str().len() as u64
}
