//! A partition that is mounted only while it is used.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{mount, umount2, MntFlags, MsFlags};

use crate::partitions::{self, FindError};

const WRITABLE: MsFlags = MsFlags::MS_NODEV
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NOATIME);
const READ_ONLY: MsFlags = MsFlags::MS_RDONLY
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NOEXEC);

/// The place of a partition's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A folder: the partition is already mounted, or this is a test.
    Directory(PathBuf),
    /// A partition, found by label and mounted at `mount_point` while open.
    Partition {
        /// GPT name.
        label: String,
        /// File system type for mount(2).
        file_system: String,
        /// A folder; it is created if it does not exist.
        mount_point: PathBuf,
    },
}

/// A reason why a volume cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The label identifies no partition.
    #[error(transparent)]
    Find(#[from] FindError),
    /// mount(2), umount(2) or their preparation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The failed action.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// An open volume. Dropping it unmounts; [`Opened::close`] also reports errors.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    mounted: bool,
}

impl Volume {
    /// Mounts the partition read-write (a folder is used as it is).
    pub fn open(&self) -> Result<Opened, VolumeError> {
        self.open_with(WRITABLE)
    }

    /// Mounts the partition read-only: Linux marks a FAT that is mounted read-write.
    pub fn open_read_only(&self) -> Result<Opened, VolumeError> {
        self.open_with(READ_ONLY)
    }

    fn open_with(&self, flags: MsFlags) -> Result<Opened, VolumeError> {
        match self {
            Volume::Directory(path) => Ok(Opened {
                path: path.clone(),
                mounted: false,
            }),
            Volume::Partition {
                label,
                file_system,
                mount_point,
            } => {
                let device = partitions::find_by_label(label)?;
                std::fs::create_dir_all(mount_point)
                    .map_err(|source| error("create", mount_point, source))?;
                mount(
                    Some(&device),
                    mount_point.as_path(),
                    Some(file_system.as_str()),
                    flags,
                    None::<&str>,
                )
                .map_err(|errno| error("mount", &device, errno.into()))?;
                Ok(Opened {
                    path: mount_point.clone(),
                    mounted: true,
                })
            }
        }
    }
}

impl Opened {
    /// Returns the folder of the volume's files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts the partition; on success all written data are on the medium.
    pub fn close(mut self) -> Result<(), VolumeError> {
        self.unmount()
    }

    fn unmount(&mut self) -> Result<(), VolumeError> {
        if !std::mem::take(&mut self.mounted) {
            return Ok(());
        }
        umount2(&self.path, MntFlags::empty())
            .map_err(|errno| error("unmount", &self.path, errno.into()))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            log::error!("{error}");
        }
    }
}

fn error(action: &'static str, path: &Path, source: io::Error) -> VolumeError {
    VolumeError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
