//! A partition that is mounted only while something on it is used.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{mount, umount2, MntFlags, MsFlags};

use crate::partitions::{self, FindError};

/// Where the files of a partition are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A directory that stands for the mounted partition (already mounted, or a test).
    Directory(PathBuf),
    /// A partition, found by label and mounted at `mount_point` while it is open.
    Partition {
        /// GPT name.
        label: String,
        /// File system, as mount(2) names it.
        file_system: String,
        /// An existing or creatable directory.
        mount_point: PathBuf,
    },
}

/// Why a volume cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The label leads to no partition.
    #[error(transparent)]
    Find(#[from] FindError),
    /// mount(2), umount(2) or what leads to them failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An open volume; dropping it unmounts, [`Opened::close`] also says whether that worked.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    mounted: bool,
}

impl Volume {
    /// Mounts the partition read-write (a directory is just taken).
    pub fn open(&self) -> Result<Opened, VolumeError> {
        self.open_with(MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME)
    }

    /// Mounts with the flags given.
    pub fn open_with(&self, flags: MsFlags) -> Result<Opened, VolumeError> {
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
    /// The directory under which the volume's files stand.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts; when this returns without error, all that was written is on the medium.
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
